"""Tables of images with any labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from frozen.data.dataset import DataError
from frozen.data.readers import Table
from frozen.data.transform import Transform
from frozen.problems import ConfigurationError
from frozen.testing import DatasetConformance
from tests.frozen.data.readers.photos import photo, save_photo

SMALL = Transform(size=16)
LABELS = ("class=species", "group", "mask=pixels", "caption", "weight", "year")


@pytest.fixture
def table(tmp_path: Path) -> Table:
    rows = []
    for i in range(12):
        save_photo(tmp_path / f"{i}.png", i)
        mask = np.zeros((20, 30), np.uint8)
        mask[:, : 15 + i % 2] = i + 1
        Image.fromarray(mask).save(tmp_path / f"mask{i}.png")
        rows.append(
            {
                "image": f"{i}.png",
                "part": ("train", "test")[i % 3 == 0],
                "species": ("owl", "cat", "dog")[i % 3],
                "group": 2 + i % 2,
                "pixels": f"mask{i}.png",
                "caption": f"photo {i}" if i else "7",
                "weight": i / 2,
                "year": 2000 + i,
            }
        )
    pd.DataFrame(rows).to_csv(tmp_path / "photos.csv", index=False)
    pd.DataFrame(rows).to_parquet(tmp_path / "photos.parquet")
    return Table(
        table=str(tmp_path / "photos.csv"),
        labels=LABELS,
        split_column="part",
        split_values=("train", "test"),
        transform=SMALL,
    )


class TestTable(DatasetConformance):
    @pytest.fixture
    def dataset(self, table: Table) -> Table:
        return table


def test_labels_have_the_kinds_that_their_values_say(table: Table) -> None:
    split, own = table.open("test"), np.arange(4)
    assert split.label_names == ("class", "group", "mask", "caption", "weight", "year")
    assert split.labels("class", own).tolist() == [2, 2, 2, 2]
    assert split.class_names == ("cat", "dog", "owl")
    assert split.labels("group", own).tolist() == [2, 3, 2, 3]
    assert split.labels("caption", own).tolist() == ["7", "photo 3", "photo 6", "photo 9"]
    assert split.labels("weight", own).tolist() == [0.0, 1.5, 3.0, 4.5]
    assert split.labels("year", own).dtype == np.int64
    np.testing.assert_array_equal(split.pixels(3), photo(9))


def test_masks_follow_their_image(table: Table) -> None:
    masks = table.open("test").labels("mask", np.arange(2))
    assert masks.dtype == np.int32
    assert (masks[0][:, :8] == 1).all()
    assert (masks[0][:, 8:] == 0).all()
    assert (masks[1][:, :8] == 4).all()


def test_parquet_gives_the_same(table: Table, tmp_path: Path) -> None:
    other = replace(table, table=str(tmp_path / "photos.parquet"))
    assert other.open("train").fingerprint == table.open("train").fingerprint


def test_without_a_column_of_splits_chance_decides_once_for_all(table: Table) -> None:
    by_chance = replace(table, split_column=None, split_values=("a", "b"), fractions=(0.5, 0.5))
    years = [by_chance.open(name).labels("year", np.arange(6)).tolist() for name in ("a", "b")]
    assert sorted(years[0] + years[1]) == list(range(2000, 2012))
    assert years[0] == sorted(years[0])
    assert replace(by_chance, seed=1).open("a").labels("year", np.arange(6)).tolist() != years[0]


def test_an_empty_class_is_refused_by_the_image_that_has_none(table: Table, tmp_path: Path) -> None:
    text = (tmp_path / "photos.csv").read_text()
    (tmp_path / "photos.csv").write_text(text.replace("4.png,train,cat", "4.png,train,"))
    with pytest.raises(DataError, match=r"photos.csv: 4.png has no species"):
        _ = table.open("train").fingerprint


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"labels: must be different.*; table: must end.*; fractions: "):
        Table(table="x.xlsx", labels=("a", "a=b"), fractions=(1.0,))
    with pytest.raises(ConfigurationError, match="per_class: is for data sets with classes"):
        Table(table="x.csv", labels=("caption",), per_class=3)
