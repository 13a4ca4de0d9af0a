"""ColorShape: every object code of at most `max_objects` objects is equally likely (section 3.1)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import comb
from typing import ClassVar

import numpy as np
from jaxtyping import Int, UInt8

from binding._problems import Problem, at_least
from binding.priors import FeatureDistribution, UniformPrior
from binding.scenes._feature_splits import SplitPolicy
from binding.scenes._shape_scene import ShapeScene

_RAREST_SPLIT = 1e-5


@dataclass(frozen=True, kw_only=True)
class ColorShape(ShapeScene):
    """Object codes uniform over all that have at most `max_objects` objects, the empty scene included."""

    n_colors: int = 7
    """Number of colours, the first of red blue green yellow purple orange cyan gray."""
    n_shapes: int = 7
    """Number of shapes, the first of circle square triangle diamond pentagon hexagon cross star."""
    max_objects: int = 16
    """Most objects in an image; more than n_colors x n_shapes means all."""
    split: SplitPolicy = field(default_factory=lambda: SplitPolicy(policy="f_disjoint_hash"))
    """Sizes of the splits and which feature codes they admit."""

    salt: ClassVar[str] = "colorshape_fsplit_v1"

    def _own_problems(self) -> Iterator[Problem]:
        yield from at_least("max_objects", self.max_objects, 0)

    @property
    def most_objects(self) -> int:
        return min(self.max_objects, self.n_colors * self.n_shapes)

    @property
    def prior(self) -> UniformPrior:
        return UniformPrior(self.space, 0, self.most_objects)

    def feature_support(self) -> UInt8[np.ndarray, "codes features"]:
        return self.space.all_feature_codes()

    def distribution(self, admitted: UInt8[np.ndarray, "admitted features"] | None) -> FeatureDistribution:
        everything = FeatureDistribution.over_all(self.prior)
        if admitted is None:
            return everything
        allowed = FeatureDistribution.over(self.prior, admitted)
        if allowed.n_object_codes < _RAREST_SPLIT * everything.n_object_codes:
            raise ValueError(
                f"a split admits {allowed.n_object_codes} of {everything.n_object_codes} scenes, too few to draw; "
                "use the policy 'independent' or other buckets"
            )
        return allowed

    def sample_codes(
        self, rng: np.random.Generator, n: int, admitted: UInt8[np.ndarray, "admitted features"] | None
    ) -> UInt8[np.ndarray, "n objects"]:
        """Size m with weight C(K, m), then a uniform m-subset, until the feature code is admitted."""
        objects = self.space.n_objects
        weights = np.array([comb(objects, m) for m in range(self.most_objects + 1)], dtype=np.float64)
        kept: list[np.ndarray] = []
        n_kept = 0
        while n_kept < n:
            sizes = rng.choice(len(weights), size=n, p=weights / weights.sum())
            proposed = random_subsets(rng, np.ones((n, objects), dtype=np.uint8), sizes)
            kept.append(proposed if admitted is None else proposed[self._admits(proposed, admitted)])
            n_kept += len(kept[-1])
        return np.concatenate(kept)[:n]

    def _admits(self, object_codes: np.ndarray, admitted: np.ndarray) -> np.ndarray:
        weights = 1 << np.arange(self.space.n_features, dtype=np.int64)
        return np.isin(self.space.feature_codes(object_codes) @ weights, admitted @ weights)


def random_subsets(
    rng: np.random.Generator, allowed: UInt8[np.ndarray, "batch objects"], sizes: Int[np.ndarray, " batch"]
) -> UInt8[np.ndarray, "batch objects"]:
    """For each row a uniform subset of the allowed objects, of the given size."""
    keys = rng.random(allowed.shape) + (1 - allowed)
    ranks = keys.argsort(axis=1).argsort(axis=1)
    return (ranks < sizes[:, None]).astype(np.uint8)
