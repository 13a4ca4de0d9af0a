"""Pairs of scenes that differ in what goes with what and in nothing else: the colours of two objects exchanged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from jaxtyping import Int, UInt8

from binding._problems import Problem
from binding.priors import FeatureDistribution, UniformPrior
from binding.scenes._base import SPLITS, SplitName
from binding.scenes._drawing import Layout, layout, place
from binding.scenes._feature_splits import SplitPolicy
from binding.scenes._sampled_scene import AnySampledScene
from binding.scenes._shape_scene import ShapeScene, ShapeSplit


@dataclass(frozen=True, kw_only=True)
class TwinShapes(ShapeScene):
    """Two objects that differ in colour and in shape; every second image is the one before with colours exchanged.

    All features of a scene and its twin are equal, so H(O|F) is 1 bit, and all of it is binding.
    """

    n_colors: int = 4
    """Number of colours, the first of red blue green yellow purple orange cyan gray."""
    n_shapes: int = 4
    """Number of shapes, the first of circle square triangle diamond pentagon hexagon cross star."""
    image_size: int = 64
    """Pixels a side."""
    object_size: int = 12
    """Pixels a side of an object's box."""
    split: SplitPolicy = field(default_factory=lambda: SplitPolicy(train=20_000, validation=2_000, test=2_000))
    """Sizes of the splits, all even, and which feature codes they admit."""

    salt: ClassVar[str] = "twinshapes_v1"

    def _own_problems(self) -> Iterator[Problem]:
        for name in ("n_colors", "n_shapes"):
            if getattr(self, name) < 2:
                yield Problem(name, f"must be ≥ 2 to exchange colours between shapes, got {getattr(self, name)}")
        for name in SPLITS:
            if self.split.size(name) % 2:
                yield Problem(f"split.{name}", f"must be even: every scene has its twin; got {self.split.size(name)}")

    @property
    def most_objects(self) -> int:
        return 2

    @property
    def prior(self) -> UniformPrior:
        return UniformPrior(self.space, 2, 2)

    def limited(self: AnySampledScene, n_samples: int) -> AnySampledScene:
        """The same data set with only the first pairs of each split, `n_samples` rounded down to whole pairs."""
        return super().limited(max(2, n_samples - n_samples % 2))  # pyright: ignore

    def feature_support(self) -> UInt8[np.ndarray, "codes features"]:
        codes = self.space.all_feature_codes()
        return codes[(self.space.present_counts(codes) == 2).all(axis=1)]

    def distribution(self, admitted: UInt8[np.ndarray, "admitted features"] | None) -> FeatureDistribution:
        return FeatureDistribution.over(self.prior, self.feature_support() if admitted is None else admitted)

    def sample_codes(
        self, rng: np.random.Generator, n: int, admitted: UInt8[np.ndarray, "admitted features"] | None
    ) -> UInt8[np.ndarray, "n objects"]:
        """A uniform admitted feature code and one of its two bindings, then the other one."""
        support = self.feature_support() if admitted is None else admitted
        n_pairs = (n + 1) // 2
        features = support[rng.integers(len(support), size=n_pairs)]
        colors, shapes = (np.nonzero(part)[1].reshape(-1, 2) for part in np.split(features, [self.n_colors], axis=1))
        codes = np.zeros((n_pairs, 2, self.space.n_objects), dtype=np.uint8)
        first, rows = rng.integers(2, size=n_pairs), np.arange(n_pairs)
        for member in (0, 1):
            for color in (0, 1):
                shape = shapes[rows, (first + member + color) % 2]
                codes[rows, member, colors[:, color] * self.n_shapes + shape] = 1
        return codes.reshape(2 * n_pairs, -1)[:n]

    def open(self, name: SplitName) -> TwinSplit:
        """One of the splits train, validation, test."""
        return TwinSplit(self, name)


class TwinSplit(ShapeSplit):
    """One split of scenes and their twins."""

    def twins(self, indices: Int[np.ndarray, " batch"]) -> Int[np.ndarray, " batch"]:
        """Index of each scene's twin."""
        return indices ^ 1

    def layout(self, indices: Int[np.ndarray, " batch"]) -> Layout:
        """Which objects are where; a twin has the boxes of its scene, with the other colour in each."""
        pairs = indices - indices % 2
        corners = place(np.full(len(indices), 2), self.scene.canvas, self.seed, pairs)
        is_twin = (indices % 2 == 1)[:, None, None]
        # codes list objects by colour, so that the two boxes change places with the two colours
        return layout(
            self.object_codes[indices], np.where(is_twin, corners[:, ::-1], corners), self.scene.object_size
        )
