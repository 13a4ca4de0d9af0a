"""Balanced ColorShape: a fixed number of features and of objects in every image (section 3.1)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations, product
from typing import ClassVar

import numpy as np
from jaxtyping import UInt8

from frozen.data.scenes._feature_splits import SplitPolicy
from frozen.data.scenes._sampled_scene import random_subsets
from frozen.data.scenes._shape_scene import ShapeScene
from frozen.data.scenes.priors import FeatureDistribution, UniformPrior
from frozen.problems import Problem

_PAPER_COUNTS = (522, 131, 131)


@dataclass(frozen=True, kw_only=True)
class BalancedColorShape(ShapeScene):
    """Each image shows `num_objects` objects that cover exactly the chosen colours and shapes."""

    colors_per_image: int = 6
    """Colours present in every image."""
    shapes_per_image: int = 6
    """Shapes present in every image."""
    num_objects: int = 18
    """Objects in every image."""
    split: SplitPolicy = field(
        default_factory=lambda: SplitPolicy(policy="f_ranked_three_way", code_counts=_PAPER_COUNTS)
    )
    """Sizes of the splits and which feature codes they admit."""

    salt: ClassVar[str] = "balancedcolorshape_fsplit_v1"

    def _own_problems(self) -> Iterator[Problem]:
        chosen = (("colors_per_image", self.n_colors), ("shapes_per_image", self.n_shapes))
        outside = [(name, most) for name, most in chosen if not 1 <= getattr(self, name) <= most]
        for name, most in outside:
            yield Problem(name, f"must lie in 1..{most}, got {getattr(self, name)}")
        if outside:
            return
        least = max(self.colors_per_image, self.shapes_per_image)
        most = self.colors_per_image * self.shapes_per_image
        if not least <= self.num_objects <= most:
            yield Problem(
                "num_objects",
                f"must lie in {least}..{most} to cover {self.colors_per_image} colours and "
                f"{self.shapes_per_image} shapes, got {self.num_objects}",
            )

    @property
    def most_objects(self) -> int:
        return self.num_objects

    @property
    def prior(self) -> UniformPrior:
        return UniformPrior(self.space, self.num_objects, self.num_objects)

    def feature_support(self) -> UInt8[np.ndarray, "codes features"]:
        colors = combinations(range(self.n_colors), self.colors_per_image)
        shapes = combinations(range(self.n_colors, self.n_colors + self.n_shapes), self.shapes_per_image)
        chosen = np.array([color + shape for color, shape in product(colors, shapes)])
        codes = np.zeros((len(chosen), self.space.n_features), dtype=np.uint8)
        np.put_along_axis(codes, chosen, 1, axis=1)
        return codes

    def distribution(self, admitted: UInt8[np.ndarray, "admitted features"] | None) -> FeatureDistribution:
        return FeatureDistribution.over(self.prior, self.feature_support() if admitted is None else admitted)

    def sample_codes(
        self, rng: np.random.Generator, n: int, admitted: UInt8[np.ndarray, "admitted features"] | None
    ) -> UInt8[np.ndarray, "n objects"]:
        """A uniform admitted feature code, then `num_objects` of its objects until all features are covered."""
        support = self.feature_support() if admitted is None else admitted
        features = support[rng.integers(len(support), size=n)]
        covered = features.astype(np.float32) @ self.space.membership.T.astype(np.float32)
        allowed = (covered == len(self.space.groups)).astype(np.uint8)
        codes = np.zeros_like(allowed)
        open_ = np.arange(n)
        while open_.size:
            codes[open_] = random_subsets(rng, allowed[open_], np.full(open_.size, self.num_objects))
            missed = (self.space.feature_codes(codes[open_]) != features[open_]).any(axis=1)
            open_ = open_[missed]
        return codes
