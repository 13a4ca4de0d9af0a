"""Scenes whose object codes are drawn from a known prior, whatever their images are made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from functools import cached_property
from math import comb
from typing import Any, ClassVar, TypeVar

import numpy as np
from jaxtyping import Bool, Float64, Int, UInt8

from binding.codes import FeatureSpace
from binding.priors import FeatureDistribution, SizePrior, UniformPrior
from binding.scenes._base import SPLITS, Entropies, SplitName
from binding.scenes._feature_splits import SplitPolicy, admitted_codes

BLOCK = 4096
_RAREST_SPLIT = 1e-5

AnySampledScene = TypeVar("AnySampledScene", bound="SampledScene")  # beartype rejects Self outside decorated classes


class SampledScene(ABC):
    """Codes of a scene; subclasses are frozen dataclasses with the fields `seed` and `split`."""

    seed: int
    split: SplitPolicy
    salt: ClassVar[str]

    @cached_property
    @abstractmethod
    def space(self) -> FeatureSpace:
        """Feature groups."""

    @property
    @abstractmethod
    def prior(self) -> SizePrior:
        """Distribution of O given F."""

    @abstractmethod
    def feature_support(self) -> UInt8[np.ndarray, "codes features"]:
        """Every feature code the data set can produce."""

    @abstractmethod
    def distribution(self, admitted: UInt8[np.ndarray, "admitted features"] | None) -> FeatureDistribution:
        """P(F) when only the `admitted` feature codes are allowed; None allows all."""

    @abstractmethod
    def sample_codes(
        self, rng: np.random.Generator, n: int, admitted: UInt8[np.ndarray, "admitted features"] | None
    ) -> UInt8[np.ndarray, "n objects"]:
        """Independent object codes whose feature codes are admitted."""

    def limited(self: AnySampledScene, n_samples: int) -> AnySampledScene:
        """The same data set with only the first `n_samples` of each split."""
        sizes = {name: min(self.split.size(name), n_samples) for name in SPLITS}
        scene: Any = self
        return replace(scene, split=replace(self.split, **sizes))

    def size(self, name: SplitName) -> int:
        """Samples of a split."""
        return self.split.size(name)

    def admitted(self, name: SplitName) -> UInt8[np.ndarray, "admitted features"] | None:
        """Feature codes a split admits; None for all of them."""
        if self.split.policy == "independent" and not self.split.exclude_all_ones:
            return None
        return admitted_codes(self.feature_support(), self.split, name, self.salt)

    def conditional_entropy_bits(self, name: SplitName) -> float:
        """Exact H(O|F) of a split, without drawing it.

        Raises:
            ValueError: the split admits no scene, or too few to draw.
        """
        return self.distribution(self.admitted(name)).conditional_entropy_bits

    def admits(
        self, object_codes: UInt8[np.ndarray, "n objects"], admitted: UInt8[np.ndarray, "admitted features"]
    ) -> Bool[np.ndarray, " n"]:
        """Whether each object code has one of the admitted feature codes."""
        weights = 1 << np.arange(self.space.n_features, dtype=np.int64)
        return np.isin(self.space.feature_codes(object_codes) @ weights, admitted @ weights)


class UniformScene(SampledScene):
    """Object codes uniform over all that have at most `max_objects` objects, the empty scene included."""

    max_objects: int

    @property
    def most_objects(self) -> int:
        """Objects in the fullest image."""
        return min(self.max_objects, self.space.n_objects)

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
            kept.append(proposed if admitted is None else proposed[self.admits(proposed, admitted)])
            n_kept += len(kept[-1])
        return np.concatenate(kept)[:n]


class SampledSplit:
    """Codes of one split of a sampled scene."""

    def __init__(self, scene: SampledScene, name: SplitName) -> None:
        self.name: SplitName = name
        self.space = scene.space
        self.seed = scene.seed + SPLITS.index(name)
        self._sampled = scene
        self._admitted = scene.admitted(name)
        self._distribution = scene.distribution(self._admitted)

    @cached_property
    def object_codes(self) -> UInt8[np.ndarray, "samples objects"]:
        """Object codes, read-only; drawn in blocks that each have a generator of their own."""
        size = self._sampled.size(self.name)
        rngs = [np.random.default_rng([self.seed, start // BLOCK]) for start in range(0, size, BLOCK)]
        blocks = [self._sampled.sample_codes(rng, BLOCK, self._admitted) for rng in rngs]
        codes = np.concatenate(blocks)[:size]
        codes.setflags(write=False)
        return codes

    @property
    def entropies(self) -> Entropies:
        return Entropies(self._distribution.feature_entropy_bits, self._distribution.conditional_entropy_bits)

    @property
    def n_skipped(self) -> int:
        return 0

    @property
    def largest_code_probability(self) -> float:
        """Share of the split's mass that lies on its most likely feature code."""
        return self._distribution.largest_probability

    def conditional_entropy_bits(self) -> Float64[np.ndarray, " samples"]:
        return self._sampled.prior.conditional_entropy_bits(self.space.feature_codes(self.object_codes))

    def prior_log_odds(self) -> Float64[np.ndarray, "samples objects"]:
        return self._sampled.prior.log_odds(self.object_codes)

    def __len__(self) -> int:
        return self._sampled.size(self.name)


def random_subsets(
    rng: np.random.Generator, allowed: UInt8[np.ndarray, "batch objects"], sizes: Int[np.ndarray, " batch"]
) -> UInt8[np.ndarray, "batch objects"]:
    """For each row a uniform subset of the allowed objects, of the given size."""
    keys = rng.random(allowed.shape) + (1 - allowed)
    ranks = keys.argsort(axis=1).argsort(axis=1)
    return (ranks < sizes[:, None]).astype(np.uint8)
