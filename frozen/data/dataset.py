"""What every data set offers: splits of its own names, images, and labels of the kinds that it declares."""

from __future__ import annotations

import hashlib
import json
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int, UInt8

from frozen.registry import frozen_dataclass_problem


class Missing(NamedTuple):
    """What a data set needs and this machine does not have."""

    what: str
    """What is not there, with the folder, file or variable."""
    remedy: str
    """How to get it."""

    def __str__(self) -> str:
        return f"{self.what}; {self.remedy}"


class DataError(ValueError):
    """Data on disk that is not there or not as it must be; the message names the file and what to do."""


@runtime_checkable
class DatasetSplit(Protocol):
    """One split of a data set; sample i never depends on which other samples are asked for."""

    @property
    def name(self) -> str: ...

    @property
    def fingerprint(self) -> str:
        """Hash of everything the split's content depends on."""
        ...

    @property
    def n_skipped(self) -> int:
        """Samples that were left out, because their image cannot be read."""
        ...

    def images(self, indices: Int[np.ndarray, " batch"]) -> UInt8[np.ndarray, "batch height width 3"]:
        """The images of the given samples, after the data set's transform."""
        ...

    def labels(self, name: str, indices: Int[np.ndarray, " batch"]) -> np.ndarray:
        """Labels of one kind, one a sample; masks went through the transform of their images.

        Raises:
            ValueError: a kind of label that the data set does not have.
        """
        ...

    def value_names(self, name: str) -> tuple[str, ...]:
        """Readable names of the values 0, 1, .. of a label, such as those of the classes; empty where it has none."""
        ...

    def __len__(self) -> int: ...


@runtime_checkable
class Dataset(Protocol):
    """A data set whose images are labelled, whichever labels there are; a scene is one with exact object codes.

    A study is planned before its data is there: everything but `open` works without it.
    """

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits."""
        ...

    @property
    def label_names(self) -> tuple[str, ...]:
        """Kinds of labels that every split has."""
        ...

    @property
    def image_size(self) -> int:
        """Pixels a side, after the transform."""
        ...

    def limited(self, n_samples: int) -> Dataset:
        """The same data set with only the first `n_samples` of each split."""
        ...

    def missing(self) -> Missing | None:
        """What has to be there before a split can be opened, or None; a quick look, not a full check."""
        ...

    def size(self, name: str) -> int | None:
        """Samples of a split as far as known without opening it, or None."""
        ...

    def open(self, name: str) -> DatasetSplit:
        """One of the splits.

        Raises:
            DataError: data that is not there or not as it must be.
        """
        ...


_MEMBERS = ("splits", "label_names", "image_size", "limited", "missing", "size", "open")


def dataset_problem(name: str, part: object) -> str | None:
    """Why a class of another package is no data set, or None."""
    del name
    if problem := frozen_dataclass_problem(part):
        return problem
    known = {*dir(part), *getattr(part, "__dataclass_fields__", ())}
    missing = [member for member in _MEMBERS if member not in known]
    return f"a data set needs {', '.join(missing)}" if missing else None


def fingerprint(**content: object) -> str:
    """Hex digest of plain values; equal content gives equal digests in every process."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: object) -> object:
    if hasattr(value, "__dataclass_fields__"):
        return {name: getattr(value, name) for name in value.__dataclass_fields__}  # pyright: ignore
    raise TypeError(f"cannot fingerprint {type(value).__name__}")
