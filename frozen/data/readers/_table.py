"""A table of images with any labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np

from frozen.data.dataset import DataError, Missing
from frozen.data.rasters import FileRasters, read_numbers
from frozen.data.readers._base import IS_PATH, Listing, PhotoDataset, named_places, split_problems
from frozen.data.tables import TABLE_ENDINGS, read_table
from frozen.problems import Problem, at_least

CATEGORIES = ("class", "group")
"""Labels whose values are whole numbers, or are numbered in sorted order."""
MASKS = ("mask", "class_mask")
"""Labels whose values are files: images with one number a pixel."""


@dataclass(frozen=True, kw_only=True)
class Table(PhotoDataset):
    """Images of any kind, and a table (csv, parquet or jsonl) with a row for each: its file and its labels."""

    table: str = field(metadata=IS_PATH)
    """The table."""
    labels: tuple[str, ...]
    """Columns that are labels, LABEL or LABEL=COLUMN, such as [class=species, group=habitat, caption]. class and
    group are whole numbers, or are numbered by their sorted values; mask and class_mask name image files with one
    number a pixel; others are numbers where all their values are, else texts."""
    images: str | None = field(default=None, metadata=IS_PATH)
    """Folder that the names of images and masks are relative to; null takes that of the table."""
    image_column: str = "image"
    """Column with the file of an image."""
    split_column: str | None = None
    """Column that says the split; null splits by chance."""
    split_values: tuple[str, ...] = ("train", "validation", "test")
    """Splits, NAME or NAME=VALUE of the column, such as [train=0, test=2]."""
    fractions: tuple[float, ...] = (0.64, 0.16, 0.2)
    """Share of each split, where there is no split_column."""
    seed: int = 0
    """Seed of the split by chance; in a study, by default with its seed."""

    label_meanings: ClassVar[Mapping[str, str]] = {
        "class": "a column of whole numbers, or numbered by its sorted values",
        "group": "the same",
        "mask": "a column of image files",
        "class_mask": "a column of image files",
        "any column": "as numbers or texts",
    }

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        yield from split_problems("split_values", self.split_values)
        if not self.labels or "" in self.label_names or len(set(self.label_names)) < len(self.labels):
            yield Problem("labels", f"must be different names, each LABEL or LABEL=COLUMN, got {list(self.labels)}")
        if not self.table.endswith(TABLE_ENDINGS):
            yield Problem("table", f"must end in {', '.join(TABLE_ENDINGS)}, got {self.table!r}")
        yield from at_least("seed", self.seed, 0)
        if self.split_column is None:
            if len(self.fractions) != len(self.split_values):
                yield Problem("fractions", f"needs one for each of the {len(self.split_values)} splits")
            if min(self.fractions, default=0) <= 0 or abs(sum(self.fractions) - 1) > 1e-9:
                yield Problem("fractions", f"must be > 0 and sum to 1, got {list(self.fractions)}")

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(named_places(self.split_values))

    @property
    def label_names(self) -> tuple[str, ...]:
        """The labels that the study names."""
        return tuple(named_places(self.labels))

    @property
    def remedy(self) -> str:
        return "correct the table, or the settings of the data set that name its columns"

    @property
    def folder(self) -> Path:
        """What the names of images are relative to."""
        return Path(self.table).parent if self.images is None else Path(self.images)

    def missing(self) -> Missing | None:
        for path in (Path(self.table), self.folder):
            if not path.exists():
                return Missing(f"{path} is not there", "put it there, or change the settings of the data set")
        return None

    def listing(self, name: str) -> Listing:
        columns = named_places(self.labels)
        wanted = (self.image_column, *columns.values(), *([self.split_column] if self.split_column else ()))
        path = Path(self.table)
        rows = _rows(path, path.stat().st_mtime_ns, tuple(dict.fromkeys(wanted)))
        for label, column in columns.items():
            if label in (*CATEGORIES, *MASKS) and (empty := [row for row in rows if not row[column]]):
                raise DataError(
                    f"{path}: {empty[0][self.image_column]} has no {column}; give it one, or remove the row"
                )
        places = self._places(rows, name)
        labels, names, masks = dict[str, np.ndarray](), dict[str, tuple[str, ...]](), dict[str, FileRasters]()
        for label, column in columns.items():
            texts = [row[column] for row in rows]
            if label in MASKS:
                masks[label] = FileRasters(self.folder, [texts[i] for i in places], read_numbers)
                continue
            if label in CATEGORIES:
                names[label] = _categories(texts)
            labels[label] = _values(texts, names.get(label))[places]
        return Listing(FileRasters(self.folder, [rows[i][self.image_column] for i in places]), labels, names, masks)

    def _places(self, rows: Sequence[Mapping[str, str]], name: str) -> list[int]:
        """Rows of a split, in the order of the table."""
        places = named_places(self.split_values)
        if self.split_column is not None:
            return [i for i, row in enumerate(rows) if row[self.split_column] == places[name]]
        order = np.random.default_rng(self.seed).permutation(len(rows))
        ends = np.rint(np.cumsum((0, *self.fractions)) * len(rows)).astype(int)
        number = list(places).index(name)
        return sorted(order[ends[number] : ends[number + 1]].tolist())


@lru_cache(maxsize=8)
def _rows(path: Path, changed_at: int, columns: tuple[str, ...]) -> tuple[Mapping[str, str], ...]:
    del changed_at
    return tuple(read_table(path, columns, frozenset()))


def _categories(texts: Sequence[str]) -> tuple[str, ...]:
    """Names of the values 0, 1, .. of a column: the numbers themselves, or its sorted values."""
    if texts and all(text.isdecimal() and str(int(text)) == text and len(text) < 7 for text in texts):
        return tuple(map(str, range(max(map(int, texts)) + 1)))
    return tuple(sorted(set(texts)))


def _values(texts: Sequence[str], names: tuple[str, ...] | None) -> np.ndarray:
    """A column as numbers, or as texts where it has others."""
    if names is not None:
        numbers = {name: number for number, name in enumerate(names)}
        return np.array([numbers[text] for text in texts], dtype=np.int64)
    if texts and all(map(_is_whole, texts)):
        return np.array(list(map(int, texts)), dtype=np.int64)
    if texts and all(map(_is_number, texts)):
        return np.array(list(map(float, texts)), dtype=np.float64)
    return np.array(texts, dtype=str)


def _is_whole(text: str) -> bool:
    return text.removeprefix("-").isdecimal() and len(text) < 18


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
