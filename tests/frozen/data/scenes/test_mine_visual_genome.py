"""The miner: a release of 24 images made by hand, to metadata, to the reader, to a measurement."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from binding.fit import FitConfig
from binding.measurement import measure_samples
from binding.samples import MeasureConfig, Samples, SplitSamples
from binding.search import ProbeSpace, SearchConfig
from frozen.data.scenes import SPLITS, VgColor, VgTopAttr
from frozen.data.scenes._genome_vocabulary import COCO_CLASSES
from frozen.data.scenes.mine_visual_genome import Mining, main, mine, split_of
from frozen.intervals import IntervalConfig
from tests.frozen.data.scenes.folders import random_image

# of each image: objects as they stand in the release, name and attributes
OBJECTS = [
    [("Person", ["tall", "Grey"]), ("dog", ["brown"]), ("cloud", ["white"])],
    [("man", ["black"]), ("dog", ["black", "wet"]), ("car", None)],
    [("car", ["red"]), ("car", ["red", "shiny"]), ("person", ["red"])],
    [("person", ["white"]), ("person", ["black"]), ("dog", ["white"])],
    [("car", ["black"]), ("dog", [])],
    [("tree", ["green"])],
]
N_IMAGES = 24


@pytest.fixture
def release(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    images, attributes = [], []
    for number in range(N_IMAGES):
        place = f"VG_100K{'_2' * (number % 2)}/{number}.jpg"
        (tmp_path / place).parent.mkdir(exist_ok=True)
        random_image(rng).save(tmp_path / place)
        images.append({"image_id": number, "url": f"https://example.org/rak/{place}", "width": 24, "coco_id": None})
        objects = OBJECTS[number % len(OBJECTS)]
        listed = [
            {"object_id": 10 * number + i, "names": [name], "x": 1, "synsets": []}
            | ({} if values is None else {"attributes": values})
            for i, (name, values) in enumerate(objects)
        ]
        attributes.append({"image_id": number, "attributes": listed})
    (tmp_path / "image_data.json").write_text(json.dumps(images))
    (tmp_path / "attributes.json").write_text(json.dumps(attributes))
    (tmp_path / "object_alias.txt").write_text("person,man,woman\nautomobile, auto\n")
    return tmp_path


def run(release: Path, *more: str) -> int:
    files = {
        "--image-data": "image_data.json",
        "--objects": "attributes.json",
        "--object-aliases": "object_alias.txt",
    }
    named = [text for option, name in files.items() for text in (option, str(release / name))]
    shares = ["--validation-percent", "25", "--test-percent", "25"]
    return main([*named, "--output", str(release), *shares, *more])


def content(release: Path, kind: str = "color_coco") -> dict[str, object]:
    folder = release / "deprecated" / f"meta_filtered_{kind}"
    return {path.name: json.loads(path.read_text()) for path in sorted(folder.iterdir())}


def test_the_classes_of_coco() -> None:
    assert len(set(COCO_CLASSES)) == 80
    assert all(name == " ".join(name.split()) for name in COCO_CLASSES)


def test_statistics_are_those_of_the_training_images(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(release) == 0
    files = content(release)
    assert sorted(files) == [
        "attributes_filtered_color.json",
        "mining.json",
        "split_dataset.json",
        "vg_stats_filtered_color.json",
    ]
    mining = Mining(validation_percent=25, test_percent=25)
    splits = files["split_dataset.json"]
    assert (
        sum(map(len, splits.values())) == len({i for ids in splits.values() for i in ids}) == N_IMAGES - N_IMAGES // 6
    )
    assert all(split_of(i, mining) == name for name, ids in splits.items() for i in ids)
    pairs: Counter[tuple[str, str]] = Counter()
    words = {"Grey": "gray", "brown": "brown", "white": "white", "black": "black", "red": "red"}
    for number in splits["train"]:
        for name, values in OBJECTS[number % 6]:
            name = {"Person": "person", "man": "person"}.get(name, name)
            if name in ("person", "dog", "car"):
                pairs[name, next((words[v] for v in values or () if v in words), "no_color")] += 1
    statistics = files["vg_stats_filtered_color.json"]
    found = statistics["object_to_color_attribute_occurrences"]
    assert {(c, a): n for c, row in found.items() for a, n in row.items()} == dict(pairs)
    assert sum(statistics["selected_object_occurrences"].values()) == pairs.total()
    assert "no_color" in statistics["selected_color_attributes"]
    assert set(statistics["selected_object_classes"]) == {"person", "dog", "car"}
    assert f"{len(splits['train'])} train" in capsys.readouterr().out


def test_the_reader_reads_what_the_miner_writes(release: Path) -> None:
    assert run(release) == 0
    scene = VgColor(root=str(release), image_size=16)
    assert scene.missing() is None
    splits = content(release)["split_dataset.json"]
    for name, key in zip(SPLITS, ("train", "val", "test"), strict=True):
        split = scene.open(name)
        assert [path.name for path in split.paths] == [f"{number}.jpg" for number in splits[key]]
        names = np.array(split.space.object_names)
        for number, code in zip(splits[key], split.object_codes, strict=True):
            expected = {
                0: {"person gray", "dog brown"},
                2: {"car red", "person red"},
                4: {"car black", "dog no_color"},
            }
            assert set(names[code == 1]) == expected.get(number % 6, set(names[code == 1]))
    assert np.isfinite(scene.open("train").conditional_entropy_bits()).all()


def test_a_measurement_from_the_release_on(release: Path) -> None:
    """Without exact entropies B_O stays empty; everything else is there."""
    assert run(release) == 0
    scene = VgColor(root=str(release), image_size=16)
    parts = []
    for name in SPLITS:
        split = scene.open(name)
        pixels = split.images(np.arange(len(split))).reshape(len(split), -1)[:, ::16].astype(np.float32)
        parts.append(Samples(pixels, split.object_codes, split.conditional_entropy_bits(), split.prior_log_odds()))
    config = MeasureConfig(
        fit=FitConfig(epochs=2, batch_size=8),
        search=SearchConfig(suggestions=1),
        n_seeds=1,
        intervals=IntervalConfig(resamples=100),
    )
    found = measure_samples(SplitSamples(scene.space, *parts), ProbeSpace.of("linear"), config)
    assert found.object_information_bits is None
    assert found.object_information_ratio is None
    assert found.direct_binding_ratio.high <= 1
    assert np.isfinite(found.binding_information_bits.value)


def test_equal_input_gives_equal_files(release: Path) -> None:
    assert run(release) == 0
    before = content(release)
    attributes = json.loads((release / "attributes.json").read_text())
    (release / "attributes.json").write_text(json.dumps(attributes[::-1]))
    assert run(release, "--overwrite") == 0
    after = content(release)
    assert before.pop("mining.json") != after.pop("mining.json")  # it has the digest of the input
    assert before == after


def test_top_classes_and_attributes(release: Path) -> None:
    more = ["--top-classes", "2", "--top-attributes", "3", "--least-objects", "2"]
    assert run(release, "--kind", "topattr", "--vocabulary", "top50", *more) == 0
    files = content(release, "topattr_top50")
    statistics = files["vg_stats_filtered_topattr.json"]
    assert len(statistics["selected_object_classes"]) == 2
    assert len(statistics["selected_topattr_attributes"]) == 4
    assert all(len(image["attributes"]) >= 2 for image in files["attributes_filtered_topattr.json"])
    scene = VgTopAttr(root=str(release), vocabulary="top50", image_size=16)
    assert scene.space.sizes == (2, 4)
    assert len(scene.open("test").object_codes) == len(files["split_dataset.json"]["test"])


def test_the_seed_moves_images() -> None:
    splits = [[split_of(i, Mining(seed=seed)) for i in range(2000)] for seed in (0, 1)]
    assert splits[0] != splits[1]
    for names in splits:
        assert 0.07 < names.count("test") / 2000 < 0.13
        assert 0.07 < names.count("val") / 2000 < 0.13


def test_nothing_half_written_is_left(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(release) == 0
    before = content(release)
    monkeypatch.setattr("frozen.data.scenes.mine_visual_genome.mine", lambda *_: {"a.json": {1j}})
    with pytest.raises(TypeError):
        run(release, "--overwrite")
    assert content(release) == before
    assert [path.name for path in (release / "deprecated").iterdir()] == ["meta_filtered_color_coco"]


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("image_data.json", "{", "image_data.json: not of the expected shape, at the file: Invalid JSON"),
        (
            "image_data.json",
            '[{"image_id": 1}]',
            "image_data.json: not of the expected shape, at 0.url: Field required",
        ),
        ("image_data.json", "[]", "attributes.json: image 0 is not in "),
        ("attributes.json", '[{"image_id": 1}]', "attributes.json: not of the expected shape, at 0.attributes"),
        ("attributes.json", "[]", "no object class occurs 1 times in training; lower the threshold"),
        ("attributes.json", '[{"image_id": 1, "objects": []}, {"image_id": 1, "objects": []}]', "1 occurs twice"),
    ],
)
def test_a_release_of_another_shape_is_named(
    release: Path, capsys: pytest.CaptureFixture[str], file: str, text: str, expected: str
) -> None:
    (release / file).write_text(text)
    assert run(release) == 2
    assert expected in capsys.readouterr().err
    assert not (release / "deprecated").exists()


def test_mistakes_of_the_user_are_one_line(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for more, expected in [
        (["--object-aliases", str(release / "none.txt")], "none.txt: cannot be read as aliases"),
        (["--test-percent", "0"], "test_percent: validation and test need 1 percent each"),
        (["--least-class-count", "99"], "no object class occurs 99 times in training"),
        (["--least-attribute-count", "99"], "no attribute occurs 99 times with these classes"),
        (["--least-objects", "9"], "split has no image with 9 objects of the vocabulary"),
    ]:
        assert run(release, *more) == 2
        error = capsys.readouterr().err
        assert expected in error
        assert error.count("\n") == 1
    assert run(release) == 0
    assert run(release) == 2
    assert "is there already; give --overwrite" in capsys.readouterr().err


def test_counts_need_no_files() -> None:
    images = {number: f"https://example.org/VG_100K/{number}.jpg" for number in range(200)}
    objects = {number: [("dog", ["red"]), ("cat", [])] for number in images}
    statistics = mine(images, objects, Mining())["vg_stats_filtered_color.json"]
    n_train = sum(split_of(number, Mining()) == "train" for number in images)
    assert statistics["object_to_color_attribute_occurrences"] == {
        "cat": {"no_color": n_train},
        "dog": {"red": n_train},
    }


def test_a_release_may_name_the_no_value_beside_a_value() -> None:
    images = {number: f"https://example.org/VG_100K/{number}.jpg" for number in range(200)}
    objects = {number: [("dog", ["no_attribute", "wet"]), ("cat", ["no_attribute"])] for number in images}
    statistics = mine(images, objects, Mining(kind="topattr"))["vg_stats_filtered_topattr.json"]
    assert statistics["selected_topattr_attributes"] == ["wet", "no_attribute"]
    for name, value in (("dog", "wet"), ("cat", "no_attribute")):
        assert list(statistics["object_to_topk_attribute_occurrences"][name]) == [value]
