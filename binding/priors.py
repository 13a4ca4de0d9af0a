"""Prior distributions of object codes, their entropies and their conditional odds (paper, section 2)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Float64, Int, UInt8

from binding._counting import GroupState, n_completions, n_covering
from binding._problems import Problem, refuse
from binding.codes import FeatureSpace

_BATCH = 4096


@dataclass(frozen=True)
class UniformPrior:
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

    def n_object_codes(self, present: tuple[int, ...]) -> int:
        """Exact number of object codes with the given number of present values in each group."""
        return n_covering(present, self.min_objects, min(self.max_objects, self.space.n_objects))

    def conditional_entropy_bits(
        self, feature_codes: UInt8[np.ndarray, "batch features"]
    ) -> Float64[np.ndarray, " batch"]:
        """H(O | F = f) in bits of each feature code.

        Raises:
            ValueError: a feature code that no admitted object code has.
        """
        vectors, which = np.unique(self.space.present_counts(feature_codes), axis=0, return_inverse=True)
        counts = [self.n_object_codes(tuple(vector)) for vector in vectors.tolist()]
        if 0 in counts:
            bad = tuple(vectors[counts.index(0)].tolist())
            raise ValueError(
                f"no object code with {self.min_objects} to {self.max_objects} objects has "
                f"{bad} present values in the groups"
            )
        return np.array([math.log2(count) for count in counts])[which.reshape(-1)]

    def log_odds(self, object_codes: UInt8[np.ndarray, "batch objects"]) -> Float64[np.ndarray, "batch objects"]:
        """Log-odds (nats) of o_k given the true o_<k and F, by exact counting of completions.

        Minus infinity where o_k = 1 is impossible, plus infinity where it is certain. Along the true
        code the implied probabilities multiply to 1 / n_object_codes(F).

        Raises:
            ValueError: an object code with fewer or more objects than the prior admits.
        """
        sizes = object_codes.sum(axis=1, dtype=np.int64)
        if outside := sizes[(sizes < self.min_objects) | (sizes > self.max_objects)].tolist():
            raise ValueError(
                f"the prior admits {self.min_objects} to {self.max_objects} objects, got a code with {outside[0]}"
            )
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
        placed = state[-1]
        count = n_completions(tuple(groups), self.min_objects - placed, self.max_objects - placed)
        return math.log(count) if count else -math.inf


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
    """P(F) over the feature codes that a split admits, proportional to their number of object codes.

    Attributes:
        multiplicity: how many admitted feature codes have each vector of present counts.
        prior: the prior that gives each code its number of object codes.
    """

    prior: UniformPrior
    multiplicity: tuple[tuple[tuple[int, ...], int], ...]

    @classmethod
    def over_all(cls, prior: UniformPrior) -> FeatureDistribution:
        """All feature codes of the space; in closed form, so that large spaces are no problem."""
        sizes = prior.space.sizes
        vectors = product(*(range(size + 1) for size in sizes))
        pairs = [(v, math.prod(map(math.comb, sizes, v))) for v in vectors if prior.n_object_codes(v)]
        return cls(prior, tuple(pairs))

    @classmethod
    def over(cls, prior: UniformPrior, feature_codes: UInt8[np.ndarray, "codes features"]) -> FeatureDistribution:
        """The given feature codes only."""
        counter = Counter(map(tuple, prior.space.present_counts(feature_codes).tolist()))
        return cls(prior, tuple((v, m) for v, m in sorted(counter.items()) if prior.n_object_codes(v)))

    @property
    def n_object_codes(self) -> int:
        """Number of object codes with an admitted feature code."""
        return sum(m * self.prior.n_object_codes(v) for v, m in self.multiplicity)

    def _terms(self) -> Iterator[tuple[int, float, int]]:
        """For every vector of counts: feature codes with it, probability of each, object codes of each."""
        total = self.n_object_codes
        for vector, multiplicity in self.multiplicity:
            count = self.prior.n_object_codes(vector)
            yield multiplicity, count / total, count

    @property
    def feature_entropy_bits(self) -> float:
        """H(F) in bits."""
        total = math.log2(self.n_object_codes)
        return sum(m * p * (total - math.log2(count)) for m, p, count in self._terms())

    @property
    def conditional_entropy_bits(self) -> float:
        """H(O|F) in bits, the exact expectation over the admitted codes."""
        return sum(m * p * math.log2(count) for m, p, count in self._terms())

    @property
    def largest_probability(self) -> float:
        """P(F) of the most likely admitted code; near 1 the split hardly tests generalisation."""
        return max(p for _, p, _ in self._terms())


def conditional_entropy_given_size_bits(space: FeatureSpace, n_objects: int) -> float:
    """H(O | F, |O| = k) in bits over all F, O uniform over the subsets of k objects (paper, section 2)."""
    return FeatureDistribution.over_all(UniformPrior(space, n_objects, n_objects)).conditional_entropy_bits
