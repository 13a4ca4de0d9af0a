"""Scenes for classification: one large target, whose kind is the label, among small distractors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Int, Int64

from frozen.data.scenes._base import SplitName
from frozen.data.scenes._drawing import Canvas, Layout, PlacementError, place_each
from frozen.data.scenes._feature_splits import SplitPolicy
from frozen.data.scenes._few_shapes import FewShapes
from frozen.data.scenes._sampled_scene import BLOCK
from frozen.data.scenes._shape_scene import ShapeSplit
from frozen.problems import Problem, at_least


@dataclass(frozen=True, kw_only=True)
class TargetShapes(FewShapes):
    """A large target and up to three small objects of other kinds; the class of an image is its target's kind."""

    object_size: int = 10
    """Pixels a side of a distractor's box."""
    target_size: int = 20
    """Pixels a side of the target's box; more than a distractor's, so that the image tells which is the target."""
    max_objects: int = 4
    """Most objects in an image, the target among them."""
    split: SplitPolicy = field(default_factory=lambda: SplitPolicy(train=20_000, validation=2_000, test=2_000))
    """Sizes of the splits and which feature codes they admit."""

    salt: ClassVar[str] = "targetshapes_v1"
    label_names: ClassVar[tuple[str, ...]] = ("object_codes", "mask", "class", "class_mask")
    """Labels that read-outs may count on before a split is opened."""

    def _own_problems(self) -> Iterator[Problem]:
        yield from super()._own_problems()
        yield from at_least("min_objects", self.min_objects, 1)
        yield from at_least("target_size", self.target_size, self.object_size + 1)

    def _placement_problems(self) -> Iterator[Problem]:
        try:
            self.place(np.full(32, self.max_objects), 0, np.arange(32))
        except PlacementError as error:
            yield Problem("object_size", str(error))

    def place(
        self, n_objects: Int[np.ndarray, " batch"], seed: int, indices: Int[np.ndarray, " batch"]
    ) -> Int[np.ndarray, "batch most 2"]:
        """Corners of the boxes, the target's first."""
        sizes = np.full((len(n_objects), int(n_objects.max(initial=1))), self.object_size)
        sizes[:, 0] = self.target_size
        return place_each(n_objects, sizes, Canvas(self.image_size, self.object_size, self.margin), seed, indices)

    def open(self, name: SplitName) -> TargetSplit:
        """One of the splits train, validation, test."""
        return TargetSplit(self, name)


class TargetSplit(ShapeSplit):
    """One split of target scenes."""

    scene: TargetShapes

    @cached_property
    def classes(self) -> Int64[np.ndarray, " samples"]:
        """Kind of each image's target, uniform over the objects of its code."""
        counts = self.object_codes.sum(axis=1, dtype=np.int64)
        starts = range(0, len(self), BLOCK)
        chance = np.concatenate([np.random.default_rng([self.seed, i // BLOCK, 1]).random(BLOCK) for i in starts])
        which = np.minimum((chance[: len(self)] * counts).astype(np.int64), counts - 1)
        position = np.cumsum(self.object_codes, axis=1, dtype=np.int64) * self.object_codes
        classes = (position == which[:, None] + 1).argmax(axis=1)
        classes.setflags(write=False)
        return classes

    @property
    def class_names(self) -> tuple[str, ...]:
        """Readable name of every class, `red circle`."""
        return self.space.object_names

    @property
    def label_makers(self) -> dict[str, Callable[[Int[np.ndarray, " batch"]], np.ndarray]]:
        """What gives each kind of label: those of every scene, class, and class_mask."""
        own = {"class": lambda indices: self.classes[indices], "class_mask": self.class_masks}
        return {**super().label_makers, **own}

    def layout(self, indices: Int[np.ndarray, " batch"]) -> Layout:
        """Which objects are where; the target is found by `classes`."""
        codes, targets = self.object_codes[indices], self.classes[indices]
        n_objects = codes.sum(axis=1, dtype=np.int64)
        corners = self.scene.place(n_objects, self.seed, indices)
        found = Layout.empty(len(indices), self.scene.max_objects)
        for row, (code, target) in enumerate(zip(codes, targets.tolist(), strict=True)):
            kinds = np.flatnonzero(code)
            is_target = kinds == target
            # the target's corner comes first, whichever place it has in the order of the code
            order = np.empty(len(kinds), dtype=np.int64)
            order[is_target], order[~is_target] = 0, np.arange(1, len(kinds))
            sizes = np.where(is_target, self.scene.target_size, self.scene.object_size)[:, None]
            found.kinds[row, : len(kinds)] = kinds
            places = corners[row, order]
            found.boxes[row, : len(kinds)] = np.concatenate([places, places + sizes], axis=1)
        return found

    def class_masks(self, indices: Int[np.ndarray, " batch"]) -> Bool[np.ndarray, "batch height width"]:
        """Pixels of the target."""
        return self.masks(indices) == self.classes[indices, None, None] + 1

    def class_coverage(self, indices: Int[np.ndarray, " batch"], grid: int) -> np.ndarray:
        """Share of each patch's pixels that are the target's, float32 [batch grid * grid]."""
        shares = self.coverage(indices, grid)
        return np.take_along_axis(shares, self.classes[indices, None, None] + 1, axis=2)[..., 0]
