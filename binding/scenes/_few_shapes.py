"""Scenes of one to three coloured shapes, every number equally likely: the world of the models that ship."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from jaxtyping import UInt8

from binding._problems import Problem
from binding.priors import CountPrior, FeatureDistribution
from binding.scenes._feature_splits import SplitPolicy
from binding.scenes._sampled_scene import random_subsets
from binding.scenes._shape_scene import ShapeScene


@dataclass(frozen=True, kw_only=True)
class FewShapes(ShapeScene):
    """One to three objects, every number equally likely; by default the world that the shipped models know."""

    n_colors: int = 4
    """Number of colours, the first of red blue green yellow purple orange cyan gray."""
    n_shapes: int = 4
    """Number of shapes, the first of circle square triangle diamond pentagon hexagon cross star."""
    image_size: int = 64
    """Pixels a side."""
    object_size: int = 12
    """Pixels a side of an object's box."""
    min_objects: int = 1
    """Fewest objects in an image."""
    max_objects: int = 3
    """Most objects in an image."""
    split: SplitPolicy = field(default_factory=lambda: SplitPolicy(train=20_000, validation=2_000, test=2_000))
    """Sizes of the splits and which feature codes they admit."""

    salt: ClassVar[str] = "fewshapes_v1"

    def _own_problems(self) -> Iterator[Problem]:
        most = self.n_colors * self.n_shapes
        if not 0 <= self.min_objects <= self.max_objects <= most:
            counts = f"{self.min_objects} and {self.max_objects}"
            yield Problem("max_objects", f"needs 0 ≤ min_objects ≤ max_objects ≤ {most}, got {counts}")

    @property
    def most_objects(self) -> int:
        return self.max_objects

    @property
    def prior(self) -> CountPrior:
        return CountPrior(self.space, self.min_objects, self.max_objects)

    def feature_support(self) -> UInt8[np.ndarray, "codes features"]:
        codes = self.space.all_feature_codes()
        possible = [self.prior.mass(tuple(present)) > 0 for present in self.space.present_counts(codes).tolist()]
        return codes[possible]

    def distribution(self, admitted: UInt8[np.ndarray, "admitted features"] | None) -> FeatureDistribution:
        return FeatureDistribution.over(self.prior, self.feature_support() if admitted is None else admitted)

    def sample_codes(
        self, rng: np.random.Generator, n: int, admitted: UInt8[np.ndarray, "admitted features"] | None
    ) -> UInt8[np.ndarray, "n objects"]:
        """A uniform number of objects, then a uniform subset of so many, until the feature code is admitted."""
        kept: list[np.ndarray] = []
        n_kept = 0
        while n_kept < n:
            sizes = rng.integers(self.min_objects, self.max_objects + 1, size=n)
            proposed = random_subsets(rng, np.ones((n, self.space.n_objects), dtype=np.uint8), sizes)
            if admitted is not None:
                proposed = proposed[self.admits(proposed, admitted)]
            kept.append(proposed)
            n_kept += len(proposed)
        return np.concatenate(kept)[:n]
