"""CLEVR scenes of six objects, read from images and scene files (paper, section 3.2; the layout of section 4)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float64, UInt8
from pydantic import BaseModel

from frozen.data.scenes._base import DataError, Entropies, Missing, SplitName
from frozen.data.scenes._disk import IS_PATH, DiskScene, DiskSplit, SplitSizes, find_folder, found, read_json
from frozen.data.scenes.codes import FeatureGroup, FeatureSpace
from frozen.data.scenes.priors import (
    CountsPrior,
    DrawsPrior,
    FeatureDistribution,
    PriorSource,
    SizePrior,
    UniformPrior,
)
from frozen.problems import Problem, at_least

VARIABLE = "CLEVR_DATA_DIR"
GROUPS = (
    FeatureGroup("color", ("blue", "red", "purple", "cyan", "gray", "brown", "green", "yellow")),
    FeatureGroup("shape", ("cube", "sphere", "cylinder")),
    FeatureGroup("material", ("rubber", "metal")),
    FeatureGroup("size", ("small", "large")),
)


class _Object(BaseModel):
    color: str
    shape: str
    material: str
    size: str


class _Scene(BaseModel):
    objects: list[_Object]


@dataclass(frozen=True, kw_only=True)
class Clevr(DiskScene):
    """Images of six objects with a colour, a shape, a material and a size: 96 possible objects."""

    root: str | None = field(default=None, metadata=IS_PATH)
    """Folder with images_6obj and scenes_6obj; null takes the environment variable CLEVR_DATA_DIR."""
    second_root_start: int = 25_000
    """Samples from this number on may lie in a sibling of the folder whose name ends in 2."""
    max_objects: int = 6
    """Most objects in an image."""
    prior: Literal["uniform", "six_draws", "estimated"] = "uniform"
    """uniform: every set of at most max_objects objects is equally likely, as in the paper. six_draws: max_objects
    independent draws, which is how the scenes were made (H(O|F) = 20.49 bits instead of 20.54). estimated: how many
    objects there are is counted in the training codes, one added to each count."""
    split: SplitSizes = field(default_factory=SplitSizes)
    """Sizes of the splits, which are consecutive."""

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        yield from at_least("second_root_start", self.second_root_start, 0)
        yield from at_least("max_objects", self.max_objects, 1)
        yield from self.split.problems()

    @property
    def remedy(self) -> str:
        return "`python -m frozen.data.scenes.make_clevr6` makes the folder"

    @property
    def space(self) -> FeatureSpace:
        return FeatureSpace(GROUPS)

    @cached_property
    def code_prior(self) -> SizePrior:
        """Distribution of O given F."""
        if self.prior == "estimated":
            return CountsPrior.estimated(self.space, self.open("train").object_codes, self.max_objects)
        if self.prior == "six_draws":
            return DrawsPrior(self.space, self.max_objects)
        return UniformPrior(self.space, 0, self.max_objects)

    def folder(self) -> Path | Missing:
        """The folder, or what is not there of it."""
        return find_folder(self.root, VARIABLE, ("images_6obj", "scenes_6obj"), self.remedy)

    def missing(self) -> Missing | None:
        place = self.folder()
        return place if isinstance(place, Missing) else None

    def size(self, name: SplitName) -> int:
        return self.capped(self.split.size(name))

    def open(self, name: SplitName) -> ClevrSplit:
        return ClevrSplit(self, name)


class ClevrSplit(DiskSplit):
    """One split of CLEVR."""

    def __init__(self, scene: Clevr, name: SplitName) -> None:
        super().__init__(scene, name)
        self._scene = scene
        self._numbers = scene.split.range(name)

    def candidates(self) -> Sequence[Path]:
        return self._candidates

    @cached_property
    def _candidates(self) -> list[Path]:
        return [self._file("images_6obj", number, "png") for number in self._numbers]

    def _file(self, folder: str, number: int, ending: str) -> Path:
        """A sample's file, in the second folder if it is there."""
        root = found(self._scene.folder())
        name = f"CLEVR_6obj_{number:06d}.{ending}"
        if number >= self._scene.second_root_start:
            second = root.with_name(root.name + "2") / folder / name
            if second.exists():
                return second
        return root / folder / name

    def read_codes(self, kept: Sequence[int]) -> UInt8[np.ndarray, "samples objects"]:
        codes = np.zeros((len(kept), self.space.n_objects), dtype=np.uint8)
        for code, candidate in zip(codes, kept, strict=True):
            path = self._file("scenes_6obj", self._numbers[candidate], "json")
            code[self._objects(path)] = 1
        return codes

    def _objects(self, path: Path) -> list[int]:
        objects = read_json(path, _Scene, self._scene.remedy).objects
        if len(objects) > self._scene.max_objects:
            raise DataError(
                f"{path}: has {len(objects)} objects, the prior allows {self._scene.max_objects}; set `max_objects`"
            )
        return [self._object(path, item) for item in objects]

    def _object(self, path: Path, item: _Object) -> int:
        """Position of an object in the code."""
        position = 0
        for group in GROUPS:
            value = getattr(item, group.name)
            if value not in group.values:
                known = ", ".join(group.values)
                raise DataError(f"{path}: {group.name} {value!r} is outside the vocabulary of CLEVR ({known})")
            position = position * len(group.values) + group.values.index(value)
        return position

    @property
    def prior_identity(self) -> object:
        counted = self._scene.prior == "estimated"
        return [self._scene.prior, list(self._scene.code_prior.size_weights) if counted else self._scene.max_objects]

    @property
    def prior_source(self) -> PriorSource:
        """What the data set's settings say."""
        return "estimated" if self._scene.prior == "estimated" else "declared"

    @property
    def entropies(self) -> Entropies:
        scenes = FeatureDistribution.over_all(self._scene.code_prior)
        return Entropies(scenes.feature_entropy_bits, scenes.conditional_entropy_bits)

    def conditional_entropy_bits(self) -> Float64[np.ndarray, " samples"]:
        return self._scene.code_prior.conditional_entropy_bits(self.space.feature_codes(self.object_codes))

    def prior_log_odds(self) -> Float64[np.ndarray, "samples objects"]:
        return self._scene.code_prior.log_odds(self.object_codes)
