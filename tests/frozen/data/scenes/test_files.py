"""A user's own images: tables of three kinds, splits, vocabularies, priors, and tables that must be refused."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from binding._cell_measuring import row_of
from binding.fit import FitConfig
from binding.measurement import measure_samples
from binding.samples import MeasureConfig, Samples, SplitSamples
from binding.search import ProbeSpace, SearchConfig
from frozen.data.scenes import SPLITS, DataError, Files
from frozen.intervals import IntervalConfig
from frozen.problems import ConfigurationError
from frozen.testing import SceneConformance
from tests.frozen.data.scenes.bad_images import BadImages, ReaderOf, complaint
from tests.frozen.data.scenes.folders import random_image

COLORS, SHAPES = ("blue", "red"), ("cube", "disc", "ring")
N_IMAGES = 50


@pytest.fixture(scope="module")
def rows(folder: Path) -> list[dict[str, str]]:
    """Rows of a table: images of 0 to 3 objects, some of them twice."""
    rng = np.random.default_rng(0)
    (folder / "photos").mkdir()
    found = []
    for number in range(N_IMAGES):
        file = f"photos/{number}.png"
        random_image(rng).save(folder / file)
        split = ("train", "val", "test")[0 if number < 30 else 1 if number < 38 else 2]
        objects = [(str(rng.choice(COLORS)), str(rng.choice(SHAPES))) for _ in range(rng.integers(4))] or [("", "")]
        found += [{"image": file, "color": color, "shape": shape, "part": split} for color, shape in objects]
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("own")


@pytest.fixture(scope="module", params=["csv", "jsonl", "parquet"])
def table(folder: Path, rows: list[dict[str, str]], request: pytest.FixtureRequest) -> Path:
    return written(folder / f"objects.{request.param}", rows)


def written(path: Path, rows: list[dict[str, str]]) -> Path:
    empty = [{name: value or None for name, value in row.items()} for row in rows]
    if path.suffix == ".csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, empty)) + "\n")
    else:
        pq.write_table(pa.Table.from_pylist(empty), path)
    return path


def scene_of(table: Path, **settings: object) -> Files:
    given = {"groups": ("color", "shape"), "split_column": "part", "image_size": 16}
    return Files(table=str(table), **(given | settings))  # type: ignore[arg-type]


class TestUniform(SceneConformance):
    @pytest.fixture
    def scene(self, table: Path) -> Files:
        return scene_of(table)

    def test_samples_have_the_exact_entropy_on_average(self, split) -> None:
        """The images do not follow the uniform prior."""


def test_codes_are_those_of_the_table(table: Path, rows: list[dict[str, str]]) -> None:
    scene = scene_of(table)
    assert scene.space.sizes == (2, 3)
    for name, part in zip(SPLITS, ("train", "val", "test"), strict=True):
        split = scene.open(name)
        names = np.array(split.space.object_names)
        expected: dict[str, set[str]] = {}
        for row in rows:
            if row["part"] == part:
                expected.setdefault(row["image"], set()).update({f"{row['color']} {row['shape']}".strip()} - {""})
        found = {f"photos/{p.name}": set(names[c == 1]) for p, c in zip(split.paths, split.object_codes, strict=True)}
        assert found == expected
        assert scene.size(name) == len(split) == len(expected)


@pytest.mark.parametrize(
    ("suffix", "nothing"),
    [
        *(("csv", word) for word in ("", " ", "nan", "NaN", "NA", "N/A", "<NA>", "None", "NULL")),
        *(("jsonl", value) for value in (float("nan"), None, "nan")),
        *(("parquet", value) for value in (float("nan"), None)),
    ],
)
def test_a_missing_label_is_no_value(folder: Path, suffix: str, nothing: object) -> None:
    """Whatever stands for it in the file; where another group of the object has a value, the row is refused."""
    images = ["photos/0.png", "photos/1.png", "photos/2.png"]
    path = folder / f"missing.{suffix}"
    _write(path, [{"image": name, "size": value} for name, value in zip(images, (2.5, 1.5, nothing), strict=True)])
    scene = Files(table=str(path), groups=("size",))
    assert scene.space.groups[0].values == ("1.5", "2.5")
    assert [image.objects for image in scene.contents()] == [(("2.5",),), (("1.5",),), ()]
    whole, half = (
        {"image": image, "size": size, "color": "red"} for image, size in zip(images, (2.5, nothing), strict=False)
    )
    _write(path, [whole, half])
    with pytest.raises(DataError, match="row 2 has no size; give it one"):
        Files(table=str(path), groups=("size", "color")).contents()


def _write(path: Path, rows: list[dict[str, object]]) -> None:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
        path.write_text("\n".join(lines) + "\n")


def test_a_word_of_missing_values_is_a_value_where_the_study_lists_it(folder: Path) -> None:
    path = folder / "patterns.csv"
    _write(path, [{"image": "photos/0.png", "pattern": "none"}, {"image": "photos/1.png", "pattern": "dots "}])
    scene = Files(table=str(path), groups=("pattern",), values=(("none", "dots"),))
    assert [image.objects for image in scene.contents()] == [(("none",),), (("dots",),)]


def test_a_list_is_no_label(folder: Path) -> None:
    path = folder / "lists.jsonl"
    _write(path, [{"image": "photos/0.png", "color": ["red", "blue"]}])
    with pytest.raises(DataError, match=r"row 1 has \['red', 'blue'\] as color"):
        Files(table=str(path), groups=("color",)).contents()


def test_a_vocabulary_can_be_given(table: Path) -> None:
    scene = scene_of(table, values=(("green", *COLORS), SHAPES), max_objects=5)
    assert scene.space.sizes == (3, 3)
    assert scene.code_prior.max_objects == 5
    np.testing.assert_array_equal(scene.open("test").object_codes[:, 3:], scene_of(table).open("test").object_codes)


def test_splits_by_chance_are_disjoint_and_follow_the_seed(table: Path) -> None:
    scenes = [scene_of(table, split_column=None, seed=seed) for seed in (0, 0, 1)]
    names = [[[path.name for path in scene.open(name).paths] for name in SPLITS] for scene in scenes]
    assert names[0] == names[1] != names[2]
    assert [len(part) for part in names[0]] == [32, 8, 10]
    assert len({name for part in names[0] for name in part}) == N_IMAGES


def test_without_a_prior_only_v_information_is_measured(table: Path) -> None:
    scene = scene_of(table, prior="none")
    rng = np.random.default_rng(0)
    parts = []
    for name in SPLITS:
        split = scene.open(name)
        z = rng.normal(size=(len(split), 8)).astype(np.float32)
        parts.append(Samples(z, split.object_codes, split.conditional_entropy_bits(), split.prior_log_odds()))
    config = MeasureConfig(
        fit=FitConfig(epochs=2),
        search=SearchConfig(suggestions=1),
        n_seeds=2,
        intervals=IntervalConfig(resamples=100),
    )
    found = measure_samples(SplitSamples(scene.space, *parts), ProbeSpace.of("linear"), config)
    row = row_of(found)
    for name in ("binding_information_bits", "binding_ratio", "direct_binding_ratio", "object_information_ratio"):
        assert row[name] is None
    assert row["conditional_entropy_bits"] is None
    assert np.isfinite([row["v_information_bits"], row["object_loss_bits"], row["direct_loss_bits"]]).all()
    json.dumps(row, allow_nan=False)


class TestBadImages(BadImages):
    @pytest.fixture
    def reader(self, folder: Path, rows: list[dict[str, str]], tmp_path: Path) -> ReaderOf:
        shutil.copytree(folder / "photos", tmp_path / "photos")
        return partial(scene_of, written(tmp_path / "objects.csv", rows), prior="none")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "image,color,shape,part\n",
            "has no row; it needs one for each object, with the columns image, color, shape",
        ),
        ("image,color,part\na.png,red,train\n", "row 1 has no column 'shape'; there are image, color, part"),
        (
            "image,color,shape,part\na.png,red,,train\n",
            "row 1 has no shape; give it one, or leave all of color, shape",
        ),
        ("image,color,shape,part\na.png,red,cube,dev\n", "row 1 has the split 'dev'; there are train, validation"),
        (
            "image,color,shape,part\na.png,red,cube,train\na.png,red,disc,test\n",
            "row 2 puts a.png in test, an earlier one in train",
        ),
        ('image,color,shape,part\n"a.png,red', "cannot be read as a table"),
    ],
)
def test_a_table_of_another_shape_is_named(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "objects.csv"
    path.write_text(text)
    assert complaint(scene_of(path)).startswith(f"{path}: {expected}")


@pytest.mark.parametrize(("name", "text"), [("a.jsonl", "[1]\n"), ("a.jsonl", "{"), ("a.parquet", "no")])
def test_what_is_no_table_is_named(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert complaint(scene_of(tmp_path / name)).startswith(f"{tmp_path / name}: cannot be read as a table (")


def test_a_value_outside_the_vocabulary_is_named(folder: Path, rows: list[dict[str, str]]) -> None:
    path = written(folder / "other.csv", rows)
    message = complaint(scene_of(path, values=(("red",), SHAPES)))
    assert message.startswith(f"{path}: color 'blue' of photos/")
    assert message.endswith("is not among its values (red)")


def test_a_split_without_images_and_a_missing_image(folder: Path, rows: list[dict[str, str]]) -> None:
    path = written(folder / "some.csv", [row for row in rows if row["part"] != "train"])
    assert complaint(scene_of(path)).startswith("the train split has no sample: it lists no image; correct the table")
    path = written(
        folder / "more.csv", [*rows, {"image": "photos/no.png", "color": "", "shape": "", "part": "train"}]
    )
    assert complaint(scene_of(path)).startswith(
        f"{folder / 'photos/no.png'}: no such image (1 of 31 images are not there); "
    )


def test_a_plan_needs_no_data(tmp_path: Path) -> None:
    scene = scene_of(tmp_path / "none.csv")
    assert (scene.size("train"), scene.space.sizes) == (None, (1, 1))
    assert str(scene.missing()).startswith(f"{tmp_path / 'none.csv'} is not there; put it there")
    with pytest.raises(DataError, match="no such file"):
        replace(scene, prior="none").open("train")


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Files(table="a.txt", groups=("a", "a"), values=(("b",),), fractions=(1.0, 0.0, 0.0), seed=-1, max_objects=0)
    fields = [problem.field for problem in caught.value.problems]
    assert fields == ["seed", "max_objects", "groups", "values", "fractions", "table"]
