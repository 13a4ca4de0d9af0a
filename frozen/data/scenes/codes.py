"""Feature spaces and the two codes of a scene (paper, section 2).

A scene is described by an object code O, which conjunctions of feature values are present, and by a
feature code F, which feature values are present at all. F is a function of O; what O says beyond F
is binding information.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from jaxtyping import Int, UInt8

from frozen.problems import Problem, refuse


@dataclass(frozen=True)
class FeatureGroup:
    """A feature (colour, shape, ...) and the values it can take."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class FeatureSpace:
    """The feature groups of a data set; objects are the Cartesian product, last group fastest.

    Raises:
        ConfigurationError: no group, an empty group, or a group with a repeated value.
    """

    groups: tuple[FeatureGroup, ...]

    def __post_init__(self) -> None:
        problems = [] if self.groups else [Problem("groups", "at least one group is needed, got none")]
        for group in self.groups:
            if not group.values:
                problems.append(Problem(group.name, "needs at least one value, got none"))
            if len(set(group.values)) != len(group.values):
                problems.append(Problem(group.name, f"values must differ, got {group.values}"))
        refuse("feature space", problems)

    @classmethod
    def of(cls, **groups: int | tuple[str, ...] | list[str]) -> FeatureSpace:
        """Build a space from `name=values`, or from `name=number_of_values`.

        >>> FeatureSpace.of(color=("red", "blue"), shape=3).sizes
        (2, 3)
        """
        named = {
            name: tuple(f"{name}{i}" for i in range(values)) if isinstance(values, int) else tuple(values)
            for name, values in groups.items()
        }
        return cls(tuple(FeatureGroup(name, values) for name, values in named.items()))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of values of each group, (N_1, ..., N_G)."""
        return tuple(len(group.values) for group in self.groups)

    @property
    def n_features(self) -> int:
        """Length n = Σ N_g of a feature code."""
        return sum(self.sizes)

    @property
    def n_objects(self) -> int:
        """Length K = Π N_g of an object code."""
        return math.prod(self.sizes)

    @property
    def offsets(self) -> tuple[int, ...]:
        """Position of each group's first value in the feature code."""
        return tuple(sum(self.sizes[:g]) for g in range(len(self.sizes)))

    @cached_property
    def value_of_object(self) -> Int[np.ndarray, "objects groups"]:
        """Index of the value that object k has in group g."""
        return np.array(list(product(*(range(size) for size in self.sizes))), dtype=np.int64)

    @cached_property
    def membership(self) -> UInt8[np.ndarray, "objects features"]:
        """1 where object k has feature i."""
        table = np.zeros((self.n_objects, self.n_features), dtype=np.uint8)
        for g, offset in enumerate(self.offsets):
            table[np.arange(self.n_objects), offset + self.value_of_object[:, g]] = 1
        return table

    @property
    def object_names(self) -> tuple[str, ...]:
        """Readable name of every object, `red circle`."""
        return tuple(" ".join(names) for names in product(*(group.values for group in self.groups)))

    def feature_codes(self, object_codes: UInt8[np.ndarray, "batch objects"]) -> UInt8[np.ndarray, "batch features"]:
        """F of each O: a feature is present when at least one present object has it."""
        present = object_codes.astype(np.float32) @ self.membership.astype(np.float32)
        return (present > 0).astype(np.uint8)

    def present_counts(self, feature_codes: UInt8[np.ndarray, "batch features"]) -> Int[np.ndarray, "batch groups"]:
        """Number a_g of present values in each group; every entropy depends on F only through it."""
        parts = np.split(feature_codes, self.offsets[1:], axis=1)
        return np.stack([part.sum(axis=1, dtype=np.int64) for part in parts], axis=1)

    def all_feature_codes(self) -> UInt8[np.ndarray, "codes features"]:
        """Every feature code some object code has: all groups empty, or none. At most 2^20 bit patterns.

        Raises:
            ValueError: the space has more than 20 features, too many to enumerate.
        """
        if self.n_features > 20:
            raise ValueError(
                f"enumerating feature codes needs at most 20 features, got {self.n_features}; "
                "use the split policy 'independent'"
            )
        patterns = np.arange(2**self.n_features, dtype=np.int64)
        shifts = np.arange(self.n_features - 1, -1, -1)
        codes = ((patterns[:, None] >> shifts) & 1).astype(np.uint8)
        empty = self.present_counts(codes) == 0
        return codes[empty.all(axis=1) | ~empty.any(axis=1)]
