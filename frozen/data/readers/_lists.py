"""Data sets that come with lists of their files: Places365, CUB-200-2011, Waterbirds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from frozen.data.dataset import DataError, Missing
from frozen.data.rasters import FileRasters
from frozen.data.readers._base import IS_PATH, Listing, PhotoDataset, find_root
from frozen.data.tables import read_table


@dataclass(frozen=True, kw_only=True)
class Places365(PhotoDataset):
    """Places365-Standard, small images: data_256_standard/, val_256/ and the three lists."""

    root: str = field(metadata=IS_PATH)
    """The folder of the lists and of both folders of images."""

    label_meanings: ClassVar[Mapping[str, str]] = {"class": "number of the scene category"}
    lists: ClassVar[Mapping[str, tuple[str, str]]] = {
        "train": ("places365_train_standard.txt", "data_256_standard"),
        "val": ("places365_val.txt", "val_256"),
    }

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(self.lists)

    @property
    def remedy(self) -> str:
        return "get the lists and the 256 px images from http://places2.csail.mit.edu/download-private.html"

    def missing(self) -> Missing | None:
        return find_root(self.root, ["categories_places365.txt", *sum(self.lists.values(), ())], self.remedy)

    def known_size(self, name: str) -> int | None:
        return {"train": 1_803_460, "val": 36_500}[name]

    def listing(self, name: str) -> Listing:
        file, folder = self.lists[name]
        root = Path(self.root)
        categories = read_pairs(root / "categories_places365.txt")
        names = [""] * len(categories)
        for place, number in categories:
            if number >= len(names):
                raise DataError(f"{root}/categories_places365.txt: {place} has number {number} of {len(names)}")
            names[number] = place[3:].replace("_", " ").replace("/", " ").capitalize()
        rows = read_pairs(root / file)
        return Listing(
            FileRasters(root / folder, [path.lstrip("/") for path, _ in rows]),
            {"class": np.array([number for _, number in rows], dtype=np.int64)},
            {"class": tuple(names)},
        )


@dataclass(frozen=True, kw_only=True)
class Cub(PhotoDataset):
    """CUB-200-2011: birds of 200 species, with the lists of the release."""

    root: str = field(metadata=IS_PATH)
    """The folder CUB_200_2011."""

    label_meanings: ClassVar[Mapping[str, str]] = {"class": "number of the species, from 0"}
    lists: ClassVar[Sequence[str]] = ("images.txt", "image_class_labels.txt", "classes.txt", "train_test_split.txt")

    @property
    def splits(self) -> tuple[str, ...]:
        return ("train", "test")

    @property
    def remedy(self) -> str:
        return "get CUB_200_2011.tgz from https://data.caltech.edu/records/65de6-vp158 and unpack it"

    def missing(self) -> Missing | None:
        return find_root(self.root, ["images", *self.lists], self.remedy)

    def known_size(self, name: str) -> int | None:
        return {"train": 5_994, "test": 5_794}[name]

    def listing(self, name: str) -> Listing:
        files, classes, names, parts = (dict(read_numbered(Path(self.root) / file)) for file in self.lists)
        if not files.keys() == classes.keys() == parts.keys():
            raise DataError(f"{self.root}: its lists name different images; {self.remedy}")
        own = [image for image, part in parts.items() if part == ("1" if name == "train" else "0")]
        numbers = {number: place for place, number in enumerate(names)}
        return Listing(
            FileRasters(Path(self.root) / "images", [files[image] for image in own]),
            {"class": np.array([numbers[classes[image]] for image in own], dtype=np.int64)},
            {"class": tuple(text.partition(".")[2].replace("_", " ") for text in names.values())},
        )


@dataclass(frozen=True, kw_only=True)
class Waterbirds(PhotoDataset):
    """Waterbirds: birds of land and water before land and water, by the release's metadata.csv."""

    root: str = field(metadata=IS_PATH)
    """The folder of metadata.csv, such as waterbird_complete95_forest2water2."""

    label_meanings: ClassVar[Mapping[str, str]] = {
        "class": "0 landbird, 1 waterbird",
        "place": "0 land, 1 water",
        "group": "2 * class + place",
    }

    @property
    def splits(self) -> tuple[str, ...]:
        return ("train", "validation", "test")

    @property
    def remedy(self) -> str:
        return "get waterbird_complete95_forest2water2.tar.gz of Sagawa et al. (group_DRO) and unpack it"

    def missing(self) -> Missing | None:
        return find_root(self.root, ["metadata.csv"], self.remedy)

    def known_size(self, name: str) -> int | None:
        return {"train": 4_795, "validation": 1_199, "test": 5_794}[name]

    def listing(self, name: str) -> Listing:
        path = Path(self.root) / "metadata.csv"
        rows = list(read_table(path, ("img_filename", "y", "split", "place"), frozenset()))
        own = [row for row in rows if row["split"] == str(self.splits.index(name))]
        try:
            birds, places = (np.array([int(row[column]) for row in own], np.int64) for column in ("y", "place"))
        except ValueError as error:
            raise DataError(f"{path}: y and place must be 0 or 1 ({error}); {self.remedy}") from error
        kinds, grounds = ("landbird", "waterbird"), ("land", "water")
        groups = tuple(f"{kind} on {ground}" for kind in kinds for ground in grounds)
        return Listing(
            FileRasters(Path(self.root), [row["img_filename"] for row in own]),
            {"class": birds, "place": places, "group": 2 * birds + places},
            {"class": kinds, "place": grounds, "group": groups},
        )


def read_pairs(path: Path) -> list[tuple[str, int]]:
    """Lines `NAME NUMBER`.

    Raises:
        DataError: no such file, or a line of another form.
    """
    rows = list[tuple[str, int]]()
    for number, line in enumerate(_lines(path), start=1):
        name, _, value = line.rpartition(" ")
        if not name or not value.isdecimal():
            raise DataError(f"{path}:{number}: expected a name and a number, got {line!r}")
        rows.append((name, int(value)))
    return rows


def read_numbered(path: Path) -> list[tuple[str, str]]:
    """Lines `NUMBER TEXT`.

    Raises:
        DataError: no such file, or a line of another form.
    """
    rows = list[tuple[str, str]]()
    for number, line in enumerate(_lines(path), start=1):
        name, _, value = line.partition(" ")
        if not value:
            raise DataError(f"{path}:{number}: expected a number and a text, got {line!r}")
        rows.append((name, value))
    return rows


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
