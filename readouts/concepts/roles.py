"""Which splits of a data set are used, and what it says of its images."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int64

from frozen.data.scenes import phrase
from frozen.data.spec import AnyDataset, has_object_codes, label_names, open_split, split_names
from frozen.readout.needs import Columns

ROLES = ("train", "validation", "test")
CODES, CLASS, GROUP = "object_codes", "class", "group"
HELD_OUT = 0.1
"""Share of the training images that validate where a data set has no split for it (paper, section 4)."""
_TEST_NAMES, _VALIDATION_NAMES = ("test", "val", "validation"), ("validation", "val")


class SplitRoles(NamedTuple):
    """Names of the splits in the roles that they play; None where a data set has none."""

    train: str | None
    validation: str | None
    test: str | None

    @classmethod
    def of(cls, config: AnyDataset) -> SplitRoles:
        """`test` is tested, else `val`; what is left of validation and val validates."""
        known = split_names(config)
        test = next((name for name in _TEST_NAMES if name in known), None)
        validation = next((name for name in _VALIDATION_NAMES if name in known and name != test), None)
        return cls("train" if "train" in known else None, validation, test)

    @property
    def named(self) -> dict[str, str]:
        """Splits by role, of the roles that are played."""
        return {role: name for role, name in self._asdict().items() if name is not None}


def has_classes(config: AnyDataset) -> bool:
    """Whether it says what an image shows: objects of a scene, or one class."""
    return has_object_codes(config) or CLASS in (label_names(config) or ())


def stored_labels(split: Any) -> dict[str, np.ndarray]:
    """What is stored of a split: object codes, or class and group numbers where it has them."""
    if hasattr(split, CODES):
        return {CODES: split.object_codes}
    rows = np.arange(len(split))
    named = (name for name in (CLASS, GROUP) if name in split.label_names)
    return {name: np.asarray(split.labels(name, rows), dtype=np.int32) for name in named}


def present(config: Any, columns: Columns, task: str, n_classes: int) -> Bool[np.ndarray, "samples classes"]:
    """Which classes an image shows.

    Args:
        config: the data set.
        columns: stored labels of a split.
        task: objects or features of a scene; anything else is one class an image.
        n_classes: how many there are; of scenes it is known.
    """
    if not has_object_codes(config):
        return one_hot(columns[CLASS][:], n_classes)
    objects = columns[CODES][:]
    return objects > 0 if task == "objects" else config.space.feature_codes(objects) > 0


def one_hot(numbers: np.ndarray, n: int) -> Bool[np.ndarray, "samples n"]:
    """A column a number; negative numbers are none."""
    found = np.zeros((len(numbers), n), dtype=bool)
    rows = np.flatnonzero(numbers >= 0)
    found[rows, numbers[rows]] = True
    return found


def n_classes_of(config: Any, *splits: Columns) -> int:
    """Classes that occur in some split; of a scene, its object kinds."""
    if has_object_codes(config):
        return int(config.space.n_objects)
    return max((int(np.max(one[CLASS][:], initial=-1)) + 1 for one in splits), default=0)


def groups_of(columns: Columns) -> Bool[np.ndarray, "samples groups"] | None:
    """Groups of the images, where the data set has some: the worst of them is sought in place of the worst class."""
    if GROUP not in columns:
        return None
    numbers = columns[GROUP][:]
    return one_hot(numbers, int(np.max(numbers, initial=-1)) + 1)


def class_names(config: Any, task: str = "objects") -> tuple[str, ...]:
    """What the classes are called; empty where nobody says, or the data is not there."""
    if not has_object_codes(config):
        test = SplitRoles.of(config).test
        if test is None or config.missing() or CLASS not in (label_names(config) or ()):
            return ()
        return tuple(open_split(config, test).value_names(CLASS))
    if task == "objects":
        return tuple(phrase(kind, config.space) for kind in range(config.space.n_objects))
    return tuple(value for group in config.space.groups for value in group.values)


def held_out(n: int, seed: int) -> tuple[Int64[np.ndarray, " train"], Int64[np.ndarray, " validation"]]:
    """Rows to train on, and rows to validate with, where a data set has no split for them."""
    order = np.random.default_rng(seed).permutation(n)
    cut = round(HELD_OUT * n)
    return np.sort(order[cut:]), np.sort(order[:cut])
