"""A user's own images, with a table that lists their objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float64, UInt8

from frozen.data.scenes._base import SPLITS, DataError, Entropies, Missing, SplitName
from frozen.data.scenes._disk import IS_PATH, DiskScene, DiskSplit
from frozen.data.scenes.codes import FeatureGroup, FeatureSpace
from frozen.data.scenes.priors import (
    CountsPrior,
    FeatureDistribution,
    PriorSource,
    SizePrior,
    UniformPrior,
    possible_log_odds,
)
from frozen.data.tables import TABLE_ENDINGS, read_table
from frozen.problems import Problem, at_least

_SPLIT_NAMES: dict[str, SplitName] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
_FEW = 20


@dataclass(frozen=True, kw_only=True)
class Files(DiskScene):
    """Images of any kind, and a table (csv, parquet or jsonl) with a row for each object."""

    table: str = field(metadata=IS_PATH)
    """Table with a row for each object: its image and a value of every group. A row whose values are all empty
    lists an image without objects."""
    groups: tuple[str, ...]
    """Columns of the table that are feature groups, such as [color, shape]."""
    values: tuple[tuple[str, ...], ...] | None = None
    """Values of each group, such as [[red, blue], [circle, square]]; null takes those that occur, sorted, but for
    the words of a missing value (empty, nan, NA, null, none): these are values only where they are listed here."""
    images: str | None = field(default=None, metadata=IS_PATH)
    """Folder that the names of images are relative to; null takes that of the table."""
    image_column: str = "image"
    """Column with the file of an object's image."""
    split_column: str | None = None
    """Column that says train, validation or test, the same for all objects of an image; null splits by chance."""
    fractions: tuple[float, float, float] = (0.64, 0.16, 0.2)
    """Shares of train, validation and test, where there is no split_column."""
    seed: int = 0
    """Seed of the split by chance; in a study, by default with its seed."""
    prior: Literal["uniform", "estimated", "none"] = "uniform"
    """uniform: all object codes of at most max_objects objects are equally likely. estimated: those with as many
    objects are, and how many there are is counted in the training codes, one added to each count. none: nothing is
    known of them; then only V-information and the losses are measured, and B*, B_O and their ratios are empty."""
    max_objects: int | None = None
    """Most different objects in an image; null takes the most that occur."""

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        yield from at_least("seed", self.seed, 0)
        if self.max_objects is not None:
            yield from at_least("max_objects", self.max_objects, 1)
        if not self.groups or len(set(self.groups)) < len(self.groups):
            yield Problem("groups", f"must name different columns, got {list(self.groups)}")
        if self.values is not None and len(self.values) != len(self.groups):
            yield Problem(
                "values", f"must have a list for each of the {len(self.groups)} groups, got {len(self.values)}"
            )
        if min(self.fractions) <= 0 or abs(sum(self.fractions) - 1) > 1e-9:
            yield Problem("fractions", f"must be > 0 and sum to 1, got {list(self.fractions)}")
        if not self.table.endswith(tuple(TABLE_ENDINGS)):
            yield Problem("table", f"must end in {', '.join(TABLE_ENDINGS)}, got {self.table!r}")

    @property
    def remedy(self) -> str:
        return "correct the table, or the settings of the data set that name its columns"

    @property
    def space(self) -> FeatureSpace:
        """The groups, with the values given or those of the table."""
        if self.values is not None:
            return FeatureSpace(tuple(map(FeatureGroup, self.groups, self.values)))
        if self.missing():
            return FeatureSpace(tuple(FeatureGroup(name, ("?",)) for name in self.groups))
        objects = [item for image in self.contents() for item in image.objects]
        if not objects:
            raise DataError(f"{self.table}: lists no object; {self.remedy}")
        found = [tuple(sorted({item[g] for item in objects})) for g in range(len(self.groups))]
        return FeatureSpace(tuple(map(FeatureGroup, self.groups, found)))

    def missing(self) -> Missing | None:
        for path in (Path(self.table), self.folder):
            if not path.exists():
                return Missing(f"{path} is not there", "put it there, or change the settings of the data set")
        return None

    @property
    def folder(self) -> Path:
        """What the names of images are relative to."""
        return Path(self.table).parent if self.images is None else Path(self.images)

    def contents(self) -> tuple[Image, ...]:
        """What the table says, image by image.

        Raises:
            DataError: a table that is not there or not as it must be.
        """
        path = Path(self.table)
        try:
            changed_at = path.stat().st_mtime_ns
        except FileNotFoundError:
            raise DataError(f"{path}: no such file; {self.remedy}") from None
        named = frozenset(value for values in self.values or () for value in values)
        return _contents(path, changed_at, self.groups, self.image_column, self.split_column, named)

    def members(self, name: SplitName) -> list[Image]:
        """Images of a split, in the order of the table."""
        images = self.contents()
        if self.split_column is not None:
            return [image for image in images if image.split == name]
        order = np.random.default_rng(self.seed).permutation(len(images))
        ends = np.rint(np.cumsum((0, *self.fractions)) * len(images)).astype(int)
        place = SPLITS.index(name)
        return [images[i] for i in sorted(order[ends[place] : ends[place + 1]].tolist())]

    def size(self, name: SplitName) -> int | None:
        return None if self.missing() else self.capped(len(self.members(name)))

    @cached_property
    def code_prior(self) -> SizePrior:
        """Distribution of O given F."""
        most = self.max_objects or max(len(set(image.objects)) for image in self.contents())
        if self.prior == "estimated":
            return CountsPrior.estimated(self.space, self.open("train").object_codes, most)
        return UniformPrior(self.space, 0, most)

    def open(self, name: SplitName) -> FilesSplit:
        return FilesSplit(self, name)


class Image(NamedTuple):
    """An image of the table: its file, its split or None, and its objects as values of the groups."""

    file: str
    split: SplitName | None
    objects: tuple[tuple[str, ...], ...]


@lru_cache(maxsize=8)
def _contents(
    path: Path,
    changed_at: int,
    groups: tuple[str, ...],
    image_column: str,
    split_column: str | None,
    named: frozenset[str],
) -> tuple[Image, ...]:
    del changed_at
    columns = (image_column, *groups, *([split_column] if split_column else []))
    found: dict[str, tuple[SplitName | None, list[tuple[str, ...]]]] = {}
    for number, row in enumerate(read_table(path, columns, named), start=1):
        if not (file := row[image_column]):
            raise DataError(f"{path}: row {number} has no {image_column}; give it one, or remove the row")
        split = _split(path, number, row[split_column]) if split_column else None
        before, objects = found.setdefault(file, (split, []))
        if split != before:
            raise DataError(f"{path}: row {number} puts {file} in {split}, an earlier one in {before}")
        values = tuple(row[group] for group in groups)
        if any(values) and not all(values):
            empty = groups[values.index("")]
            raise DataError(
                f"{path}: row {number} has no {empty}; give it one, or leave all of {', '.join(groups)} empty"
            )
        if any(values):
            objects.append(values)
    if not found:
        raise DataError(f"{path}: has no row; it needs one for each object, with the columns {', '.join(columns)}")
    return tuple(Image(file, split, tuple(objects)) for file, (split, objects) in found.items())


def _split(path: Path, number: int, text: str) -> SplitName:
    if text not in _SPLIT_NAMES:
        raise DataError(f"{path}: row {number} has the split {text!r}; there are train, validation and test")
    return _SPLIT_NAMES[text]


class FilesSplit(DiskSplit):
    """One split of a user's images."""

    def __init__(self, scene: Files, name: SplitName) -> None:
        super().__init__(scene, name)
        self._scene = scene
        self._members = scene.members(name)

    def candidates(self) -> Sequence[Path]:
        return [self._scene.folder / image.file for image in self._members]

    def read_codes(self, kept: Sequence[int]) -> UInt8[np.ndarray, "samples objects"]:
        codes = np.zeros((len(kept), *self.space.sizes), dtype=np.uint8)
        for code, candidate in zip(codes, kept, strict=True):
            image = self._members[candidate]
            for item in image.objects:
                code[self._place(image.file, item)] = 1
        return codes.reshape(len(kept), -1)

    def _place(self, file: str, item: tuple[str, ...]) -> tuple[int, ...]:
        for group, value in zip(self.space.groups, item, strict=True):
            if value not in group.values:
                known = ", ".join(group.values[:_FEW])
                raise DataError(
                    f"{self._scene.table}: {group.name} {value!r} of {file} is not among its values ({known})"
                )
        return tuple(group.values.index(value) for group, value in zip(self.space.groups, item, strict=True))

    @property
    def prior_identity(self) -> object:
        if self._scene.prior == "none":
            return ["none"]
        prior = self._scene.code_prior
        return [self._scene.prior, prior.max_objects if isinstance(prior, UniformPrior) else list(prior.size_weights)]

    @property
    def prior_source(self) -> PriorSource:
        """What the data set's settings say."""
        return "declared" if self._scene.prior == "uniform" else self._scene.prior

    @property
    def entropies(self) -> Entropies | None:
        if self._scene.prior == "none":
            return None
        scenes = FeatureDistribution.over_all(self._scene.code_prior)
        return Entropies(scenes.feature_entropy_bits, scenes.conditional_entropy_bits)

    def conditional_entropy_bits(self) -> Float64[np.ndarray, " samples"]:
        """H(O | F = f_i); not a number where there is no prior."""
        if self._scene.prior == "none":
            return np.full(len(self), np.nan)
        return self._scene.code_prior.conditional_entropy_bits(self.space.feature_codes(self.object_codes))

    def prior_log_odds(self) -> Float64[np.ndarray, "samples objects"]:
        """Exact odds, or without a prior those of what the features leave possible: even, or none."""
        if self._scene.prior == "none":
            return possible_log_odds(self.space, self.object_codes)
        return self._scene.code_prior.log_odds(self.object_codes)
