"""Prior distributions of object codes, their entropies and their conditional odds (paper, section 2)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Float64, Int, UInt8

from binding._counting import GroupState, SizeWeights, between, n_draws_onto, weighted_completions, weighted_covering
from binding._problems import Problem, refuse
from binding.codes import FeatureSpace

_BATCH = 4096


class SizePrior(ABC):
    """Given F and the number of objects, every object code with F is equally likely."""

    space: FeatureSpace

    @property
    @abstractmethod
    def size_weights(self) -> SizeWeights:
        """Relative probability, a whole number, of an object code with 0, 1, 2, ... objects."""

    def mass(self, present: tuple[int, ...]) -> int:
        """Exact total weight of the object codes with the given number of present values in each group."""
        return weighted_covering(present, self.size_weights)

    def entropy_bits(self, present: tuple[int, ...]) -> float:
        """H(O | F = f) = log2 W - Σ_k N_k w_k log2 w_k / W with W = Σ_k N_k w_k, of a code with these counts."""
        mass, surplus = self.mass(present), 0.0
        for size, weight in enumerate(self.size_weights):
            if weight > 1:
                alone = (0,) * size + (weight,)
                surplus += weighted_covering(present, alone) / mass * math.log2(weight)
        return math.log2(mass) - surplus

    def conditional_entropy_bits(
        self, feature_codes: UInt8[np.ndarray, "batch features"]
    ) -> Float64[np.ndarray, " batch"]:
        """H(O | F = f) in bits of each feature code.

        Raises:
            ValueError: a feature code that no admitted object code has.
        """
        vectors, which = np.unique(self.space.present_counts(feature_codes), axis=0, return_inverse=True)
        present = [tuple(vector) for vector in vectors.tolist()]
        if bad := [vector for vector in present if not self.mass(vector)]:
            raise ValueError(f"no object code with {self._sizes} objects has {bad[0]} present values in the groups")
        return np.array([self.entropy_bits(vector) for vector in present])[which.reshape(-1)]

    @property
    def _sizes(self) -> str:
        admitted = [size for size, weight in enumerate(self.size_weights) if weight]
        return f"{admitted[0]} to {admitted[-1]}"

    def log_odds(self, object_codes: UInt8[np.ndarray, "batch objects"]) -> Float64[np.ndarray, "batch objects"]:
        """Log-odds (nats) of o_k given the true o_<k and F, by exact counting of completions.

        Minus infinity where o_k = 1 is impossible, plus infinity where it is certain. Along the true
        code the implied probabilities multiply to 1 / n_object_codes(F).

        Raises:
            ValueError: an object code with fewer or more objects than the prior admits.
        """
        sizes = object_codes.sum(axis=1, dtype=np.int64)
        admitted = np.flatnonzero(self.size_weights)
        if outside := sizes[~np.isin(sizes, admitted)].tolist():
            raise ValueError(f"the prior admits {self._sizes} objects, got a code with {outside[0]}")
        batches = [object_codes[i : i + _BATCH] for i in range(0, len(object_codes), _BATCH)]
        if not batches:
            return np.zeros(object_codes.shape)
        return np.concatenate([self._log_odds(batch) for batch in batches])

    def _log_odds(self, object_codes: np.ndarray) -> np.ndarray:
        with_object, without = (self._log_completions(object_codes, k_taken) for k_taken in (1, 0))
        with np.errstate(invalid="ignore"):
            odds = with_object - without
        odds[~self._possible(object_codes)] = -np.inf
        return odds

    def _possible(self, object_codes: np.ndarray) -> np.ndarray:
        """Where all features of object k are present in the sample."""
        features = self.space.feature_codes(object_codes).astype(np.float32)
        membership = self.space.membership.astype(np.float32)
        return features @ membership.T == len(self.space.groups)

    def _log_completions(self, object_codes: np.ndarray, taken: int) -> np.ndarray:
        """Natural log of the number of completions after cell k, if object k is (not) taken; impossible cells too."""
        columns = list(self._state_columns(object_codes, taken))
        shape = object_codes.shape
        possible = self._possible(object_codes)
        states = np.stack([np.broadcast_to(column, shape)[possible] for column in columns], axis=1)
        unique, which = _unique_rows(states)
        values = np.array([self._log_completions_of(tuple(row)) for row in unique.tolist()])
        result = np.full(shape, -np.inf)
        result[possible] = values[which] if len(values) else 0.0
        return result

    def _state_columns(self, object_codes: np.ndarray, taken: int) -> Iterator[np.ndarray]:
        """Five columns a group, in the order of `GroupState`, then the number of objects placed."""
        features = self.space.feature_codes(object_codes)
        before = np.cumsum(object_codes, axis=1, dtype=np.int16) - object_codes
        for g, (offset, size) in enumerate(zip(self.space.offsets, self.space.sizes, strict=True)):
            here = self.space.value_of_object[:, g]
            values = np.arange(size)
            present = features[:, None, offset : offset + size].astype(bool)
            uncovered = present & ~self._covered_before(object_codes, offset, size)
            if taken:
                uncovered &= values != here[:, None]
            ahead, behind = values > here[:, None], values < here[:, None]
            yield present.sum(-1)
            yield (present & ahead).sum(-1)
            yield (uncovered & ahead).sum(-1)
            yield (uncovered & (values == here[:, None])).sum(-1)
            yield (uncovered & behind).sum(-1)
        yield before + taken

    def _covered_before(self, object_codes: np.ndarray, offset: int, size: int) -> np.ndarray:
        """[batch objects size]: which values of a group the objects before k cover."""
        touched = object_codes[:, :, None] & self.space.membership[:, offset : offset + size]
        return np.cumsum(touched, axis=1, dtype=np.int16) - touched > 0

    def _log_completions_of(self, state: tuple[int, ...]) -> float:
        groups = [GroupState(*state[i : i + 5]) for i in range(0, len(state) - 1, 5)]
        last = groups[-1]
        if len(groups) > 1:  # no later cell of this row has the present value of the last group
            groups[-1] = last._replace(uncovered_here=0, uncovered_behind=last.uncovered_behind + last.uncovered_here)
        weight = weighted_completions(tuple(groups), self.size_weights[state[-1] :])
        return math.log(weight) if weight else -math.inf


@dataclass(frozen=True)
class UniformPrior(SizePrior):
    """Given F, every object code with F and with `min_objects` to `max_objects` objects is equally likely.

    The uniform prior over all object codes of at most M objects has min_objects 0; the balanced
    prior, exactly k objects covering the chosen features, has both bounds equal to k.

    Raises:
        ConfigurationError: the bounds are negative or in the wrong order.
    """

    space: FeatureSpace
    min_objects: int
    max_objects: int

    def __post_init__(self) -> None:
        if not 0 <= self.min_objects <= self.max_objects:
            message = f"needs 0 ≤ min_objects ≤ max_objects, got {self.min_objects} and {self.max_objects}"
            refuse("prior", [Problem("max_objects", message)])

    @property
    def size_weights(self) -> SizeWeights:
        return between(self.min_objects, min(self.max_objects, self.space.n_objects))

    def n_object_codes(self, present: tuple[int, ...]) -> int:
        """Exact number of object codes with the given number of present values in each group."""
        return self.mass(present)


@dataclass(frozen=True)
class CountPrior(SizePrior):
    """Every number of objects from `min_objects` to `max_objects` is equally likely, then every code that has it.

    Under `UniformPrior` nearly all scenes have `max_objects`, since there are more of them.
    """

    space: FeatureSpace
    min_objects: int
    max_objects: int

    @property
    def size_weights(self) -> SizeWeights:
        ways = [math.comb(self.space.n_objects, size) for size in range(self.min_objects, self.max_objects + 1)]
        return (0,) * self.min_objects + tuple(math.lcm(*ways) // number for number in ways)


@dataclass(frozen=True)
class DrawsPrior(SizePrior):
    """A scene is `n_draws` independent draws among all objects; what is drawn twice counts once."""

    space: FeatureSpace
    n_draws: int

    @property
    def size_weights(self) -> SizeWeights:
        return n_draws_onto(self.n_draws, min(self.n_draws, self.space.n_objects))


def _unique_rows(rows: Int[np.ndarray, "n columns"]) -> tuple[np.ndarray, np.ndarray]:
    """Distinct rows and the index of each row among them; faster than np.unique(axis=0)."""
    key = np.zeros(len(rows), dtype=np.int64)
    size = 1
    for column in rows.T.astype(np.int64):
        base = int(column.max(initial=0)) + 1
        if size * base >= 2**62:
            key = np.unique(key, return_inverse=True)[1].reshape(-1)
            size = len(rows)
        key, size = key * base + column, size * base
    _, first, which = np.unique(key, return_index=True, return_inverse=True)
    return rows[first], which.reshape(-1)


@dataclass(frozen=True)
class FeatureDistribution:
    """P(F) over the feature codes that a split admits, proportional to the weight of their object codes.

    Attributes:
        multiplicity: how many admitted feature codes have each vector of present counts.
        prior: the prior that gives each code its weight; under a uniform prior, its number of object codes.
    """

    prior: SizePrior
    multiplicity: tuple[tuple[tuple[int, ...], int], ...]

    @classmethod
    def over_all(cls, prior: SizePrior) -> FeatureDistribution:
        """All feature codes of the space; in closed form, so that large spaces are no problem."""
        sizes = prior.space.sizes
        vectors = product(*(range(size + 1) for size in sizes))
        pairs = [(v, math.prod(map(math.comb, sizes, v))) for v in vectors if prior.mass(v)]
        return cls(prior, tuple(pairs))

    @classmethod
    def over(cls, prior: SizePrior, feature_codes: UInt8[np.ndarray, "codes features"]) -> FeatureDistribution:
        """The given feature codes only."""
        counter = Counter(map(tuple, prior.space.present_counts(feature_codes).tolist()))
        return cls(prior, tuple((v, m) for v, m in sorted(counter.items()) if prior.mass(v)))

    @property
    def n_object_codes(self) -> int:
        """Weight of all object codes with an admitted feature code; under a uniform prior, their number."""
        return sum(m * self.prior.mass(v) for v, m in self.multiplicity)

    def _terms(self) -> Iterator[tuple[int, int, float]]:
        """For every vector of counts: feature codes with it, weight of each, H(O | F = f) of each."""
        for vector, multiplicity in self.multiplicity:
            yield multiplicity, self.prior.mass(vector), self.prior.entropy_bits(vector)

    @property
    def feature_entropy_bits(self) -> float:
        """H(F) in bits."""
        total = self.n_object_codes
        bits = math.log2(total)
        return sum(m * (mass / total) * (bits - math.log2(mass)) for m, mass, _ in self._terms())

    @property
    def conditional_entropy_bits(self) -> float:
        """H(O|F) in bits, the exact expectation over the admitted codes."""
        total = self.n_object_codes
        return sum(m * (mass / total) * bits for m, mass, bits in self._terms())

    @property
    def largest_probability(self) -> float:
        """P(F) of the most likely admitted code; near 1 the split hardly tests generalisation."""
        return max(mass for _, mass, _ in self._terms()) / self.n_object_codes


def conditional_entropy_given_size_bits(space: FeatureSpace, n_objects: int) -> float:
    """H(O | F, |O| = k) in bits over all F, O uniform over the subsets of k objects (paper, section 2)."""
    return FeatureDistribution.over_all(UniformPrior(space, n_objects, n_objects)).conditional_entropy_bits
