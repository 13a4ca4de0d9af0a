"""The Visual Genome reader: layout, codes, both entropies, and folders that are not as they should be."""

from __future__ import annotations

import json
import math
import shutil
from collections import Counter
from dataclasses import replace
from functools import partial
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest

from frozen.data.scenes import SPLITS, DataError, VgColor, VgTopAttr
from frozen.data.scenes._disk import SplitSizes
from frozen.testing import SceneConformance
from tests.frozen.data.scenes.bad_images import BadImages, ReaderOf, complaint
from tests.frozen.data.scenes.folders import write_genome

SIZES = SplitSizes(train=30, validation=14, test=16)
METADATA = "deprecated/meta_filtered_color_coco/attributes_filtered_color.json"
STATISTICS = "deprecated/meta_filtered_color_coco/vg_stats_filtered_color.json"
SPLIT = "deprecated/meta_filtered_color_coco/split_dataset.json"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "genome"
    write_genome(root, 60, split=(30, 14, 16))
    return root


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(written, tmp_path / "genome"))


def scene_of(root: Path, **settings: object) -> VgColor:
    return VgColor(root=str(root), image_size=16, split=SIZES, **settings)  # type: ignore[arg-type]


class TestCodes(SceneConformance):
    @pytest.fixture
    def scene(self, written: Path) -> VgColor:
        return scene_of(written)


class TestAssignments(SceneConformance):
    @pytest.fixture
    def scene(self, written: Path) -> VgColor:
        return scene_of(written, entropy="assignments")


def entropy_bits(weights: list[float]) -> float:
    total = sum(weights)
    return -sum(w / total * math.log2(w / total) for w in weights if w)


class Listed:
    """Everything by hand: what the reader must come to."""

    def __init__(self, root: Path) -> None:
        statistics = json.loads((root / STATISTICS).read_text())
        counts = statistics["selected_object_occurrences"]
        colors = {**statistics["selected_attribute_occurrences"], "no_color": 0}
        self.classes = sorted(counts, key=lambda name: (-counts[name], name))
        self.colors = sorted(colors, key=lambda name: (-colors[name], name))
        pairs = statistics["object_to_color_attribute_occurrences"]
        total = sum(sum(row.values()) for row in pairs.values())
        self.p = {(c, a): pairs[c].get(a, 0) / total + 1e-12 for c in self.classes for a in self.colors}
        ids = json.loads((root / SPLIT).read_text())
        metadata = json.loads((root / METADATA).read_text())
        self.images = {
            name: [self.instances(image) for image in metadata if image["image_id"] in ids[key]]
            for name, key in zip(SPLITS, ("train", "val", "test"), strict=True)
        }
        train = self.images["train"]
        self.per_image = sum(map(len, train)) / len(train)

    def instances(self, image: dict) -> list[tuple[str, str]]:
        return [
            (
                o["object_class"],
                next((c for c in o["attributes_color"] if c in self.colors and c != "no_color"), "no_color"),
            )
            for o in image["attributes"]
            if o["object_class"] in self.classes
        ]

    def assignment_bits(self, instances: list[tuple[str, str]]) -> float:
        ways = set(permutations(color for _, color in instances))
        return entropy_bits(
            [math.prod(self.p[c, a] for (c, _), a in zip(instances, way, strict=True)) for way in ways]
        )

    def codes(self, instances: list[tuple[str, str]]) -> dict[frozenset[tuple[str, str]], float]:
        classes, colors = ({pair[i] for pair in instances} for i in (0, 1))
        pairs = list(product(classes, colors))
        chosen = [
            frozenset(p for p, bit in zip(pairs, bits, strict=True) if bit)
            for bits in product((0, 1), repeat=len(pairs))
        ]
        return {
            code: math.prod(math.expm1(self.per_image * self.p[pair]) for pair in code)
            for code in chosen
            if {c for c, _ in code} == classes and {a for _, a in code} == colors
        }


@pytest.mark.parametrize("name", SPLITS)
def test_codes_and_both_entropies_are_those_of_listing_everything(written: Path, name) -> None:
    listed = Listed(written)
    codes, deals = scene_of(written).open(name), scene_of(written, entropy="assignments").open(name)
    assert codes.space.groups[0].values == tuple(listed.classes)
    assert codes.space.groups[1].values == tuple(listed.colors)
    names = codes.space.object_names
    for i, instances in enumerate(listed.images[name]):
        assert {names[k] for k in np.flatnonzero(codes.object_codes[i])} == {f"{c} {a}" for c, a in instances}
        if len(set(instances)) <= 4:  # listing more takes too long
            expected = entropy_bits(list(listed.codes(instances).values())) if instances else 0
            assert codes.conditional_entropy_bits()[i] == pytest.approx(expected, abs=1e-9)
        expected = listed.assignment_bits(instances) if instances else 0
        assert deals.conditional_entropy_bits()[i] == pytest.approx(expected, abs=1e-9)


def test_odds_are_those_of_the_weighted_codes(written: Path) -> None:
    listed, split = Listed(written), scene_of(written).open("test")
    names, odds = split.space.object_names, split.prior_log_odds()
    for code, row, instances in zip(split.object_codes, odds, listed.images["test"], strict=True):
        weights = listed.codes(instances) if 0 < len(set(instances)) <= 3 else {}
        vectors = {tuple(int(tuple(n.split()) in c) for n in names): w for c, w in weights.items()}
        for k in range(len(code) if weights else 0):
            prefix = tuple(code[:k].tolist())
            taken, left = (sum(w for v, w in vectors.items() if v[: k + 1] == (*prefix, bit)) for bit in (1, 0))
            expected = math.inf if not left else math.log(taken / left) if taken else -math.inf
            assert row[k] == pytest.approx(expected, abs=1e-8)


def test_a_value_beside_the_no_value_is_the_value(folder: Path) -> None:
    expected = [scene_of(folder).open(name).object_codes for name in SPLITS]
    metadata = json.loads((folder / METADATA).read_text())
    for image in metadata:
        for instance in image["attributes"]:
            instance["attributes_color"].insert(0, "no_color")
    (folder / METADATA).write_text(json.dumps(metadata))
    found = [scene_of(folder).open(name).object_codes for name in SPLITS]
    for before, after in zip(expected, found, strict=True):
        np.testing.assert_array_equal(after, before)


def test_without_a_split_file_splits_are_consecutive(folder: Path) -> None:
    (folder / SPLIT).unlink()
    metadata = json.loads((folder / METADATA).read_text())
    paths = [path for name in SPLITS for path in scene_of(folder).open(name).paths]
    assert [path.name for path in paths] == [f"{image['image_id']}.jpg" for image in metadata]
    assert scene_of(folder).size("validation") == 14


def with_top_attributes(folder: Path) -> VgTopAttr:
    """The same images and metadata under the names of the other kind."""
    source, target = (folder / f"deprecated/meta_filtered_{kind}" for kind in ("color_coco", "topattr_top50"))
    target.mkdir()
    renamed = {
        "attributes_filtered_color.json": "attributes_filtered_topattr.json",
        "vg_stats_filtered_color.json": "vg_stats_filtered_topattr.json",
        "split_dataset.json": "split_dataset.json",
    }
    for old, new in renamed.items():
        text = (source / old).read_text().replace("attributes_color", "attributes_topattr")
        text = text.replace("selected_color_attributes", "selected_topattr_attributes")
        (target / new).write_text(text.replace("object_to_color_attribute", "object_to_topk_attribute"))
    return VgTopAttr(root=str(folder), image_size=16, vocabulary="top50", split=SIZES)


def test_top_attributes_have_the_same_layout(folder: Path) -> None:
    scene = with_top_attributes(folder)
    assert scene.space.groups[1].values[-1] == "no_attribute"
    np.testing.assert_array_equal(scene.open("test").object_codes, scene_of(folder).open("test").object_codes)


class TestTopAttributes(SceneConformance):
    @pytest.fixture
    def scene(self, folder: Path) -> VgTopAttr:
        return with_top_attributes(folder)


@pytest.mark.parametrize("entropy", ["codes", "assignments"])
def test_images_with_too_many_states_are_left_out_and_counted(written: Path, entropy) -> None:
    whole = scene_of(written, entropy=entropy).open("train")
    few = scene_of(written, entropy=entropy, max_states=8).open("train")
    counts = [Counter(a for _, a in image).values() for image in Listed(written).images["train"]]
    states = [max(2 ** (len(c) + 1), math.prod(n + 1 for n in c) if entropy == "assignments" else 0) for c in counts]
    kept = [i for i, n in enumerate(states) if n <= 8]
    assert 0 < len(kept) < len(whole) == 30
    assert (len(few), few.n_skipped) == (len(kept), 30 - len(kept))
    np.testing.assert_array_equal(few.object_codes, whole.object_codes[kept])
    np.testing.assert_allclose(few.conditional_entropy_bits(), whole.conditional_entropy_bits()[kept])


def test_the_largest_image_that_is_kept_by_default_can_be_computed() -> None:
    """13 attributes and 6 classes: 16,384 states a cell."""
    from frozen.data.scenes._genome_entropy import code_entropy_bits, n_code_states

    assert n_code_states(13) == VgColor().max_states
    bits = code_entropy_bits(np.random.default_rng(0).normal(-4, 1, size=(1, 13, 13)))
    assert 10 < bits[0] < 169


def test_folders_come_from_the_environment(written: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("VG_100K", "VG_100K_2"):
        shutil.copytree(written / name, tmp_path / name)
    monkeypatch.setenv("VG_DATA_DIR", str(written))
    monkeypatch.setenv("VG_IMG_ROOT", str(tmp_path))
    split = VgColor(image_size=16).open("train")
    assert split.paths[0].is_relative_to(tmp_path)
    assert split.fingerprint == scene_of(written).open("train").fingerprint


def test_a_plan_needs_no_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("VG_DATA_DIR", raising=False)
    scene = VgColor()
    assert [scene.size(name) for name in SPLITS] == [None] * 3
    assert scene.space.sizes == (1, 1)
    assert str(scene.missing()).startswith("the environment variable VG_DATA_DIR is not set; set it or `root`")
    assert "mine_visual_genome" in str(scene.missing())
    with pytest.raises(DataError, match="VG_DATA_DIR is not set"):
        len(scene.open("test"))
    assert str(replace(scene, root=str(tmp_path)).missing()).startswith(f"{tmp_path / METADATA} is not there; ")


def test_images_that_are_not_unpacked_are_said(folder: Path) -> None:
    for name in ("VG_100K", "VG_100K_2"):
        shutil.rmtree(folder / name)
    assert str(scene_of(folder).missing()).startswith(f"{folder} has no folder VG_100K or VG_100K_2; unpack")
    assert scene_of(folder).size("test") == 16


class TestBadImages(BadImages):
    @pytest.fixture
    def reader(self, folder: Path) -> ReaderOf:
        return partial(scene_of, folder)


def changed(path: Path, change) -> Path:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))
    return path


def test_an_image_listed_twice_is_named(folder: Path) -> None:
    path = changed(folder / METADATA, lambda images: images.append(images[3]))
    assert complaint(scene_of(folder)).startswith(f"{path}: image_id 4 occurs twice (1 ids do); ")


def test_an_image_in_two_splits_is_named(folder: Path) -> None:
    path = changed(folder / SPLIT, lambda ids: ids["test"].append(ids["train"][0]))
    assert "occurs twice" in complaint(scene_of(folder))
    assert complaint(scene_of(folder)).startswith(f"{path}: image_id")


def test_a_split_without_images_is_named(folder: Path) -> None:
    changed(folder / SPLIT, lambda ids: ids.update(train=[]))
    assert complaint(scene_of(folder)).startswith("the train split has no sample: it lists no image; ")


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        (METADATA, '{"images": []}', "not of the expected shape, at the file: Input should be a valid array"),
        (METADATA, '[{"image_id": 1}]', "not of the expected shape, at 0.image_url: Field required"),
        (METADATA, '[{"image_id": 1, "image_url": "1.jpg"}]', "image_url '1.jpg' of image 1 must end in FOLDER/NAME"),
        (STATISTICS, "[]", "not of the expected shape, at the file: Input should be an object"),
        (STATISTICS, '{"selected_object_classes": ["a"], "selected_color_attributes": ["b"]}', "not of the expected"),
        (SPLIT, '{"train": []}', "not of the expected shape, at validation: Field required"),
    ],
)
def test_another_shape_of_json_is_named(folder: Path, file: str, text: str, expected: str) -> None:
    (folder / file).write_text(text)
    assert complaint(scene_of(folder)).startswith(f"{folder / file}: {expected}")


def test_statistics_without_counts_are_named(folder: Path) -> None:
    path = changed(folder / STATISTICS, lambda s: s.update(object_to_color_attribute_occurrences={}))
    assert complaint(scene_of(folder)).startswith(f"{path}: counts no object of the vocabulary with an attribute; ")
