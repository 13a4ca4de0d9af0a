"""What a cell needs before it can be measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from frozen.capture.capture import Capture
from frozen.data.spec import DatasetSpec
from frozen.rows import ArrayRows


@dataclass(frozen=True)
class Labels:
    """What a read-out wants to know of every sample of a split; the read-out's `labels` makes them."""

    dataset: DatasetSpec
    split: str


@dataclass(frozen=True)
class Product:
    """A named artefact that another cell gives."""

    giver: str
    """Id of the cell that gives it."""
    name: str


Need = Capture | Labels | Product

Columns = Mapping[str, ArrayRows]
"""Columns of a capture or of labels, samples first, read-only, in the order of the samples."""


class Inputs(NamedTuple):
    """What a cell needs, there."""

    known: Mapping[str, object]
    """What is known of the cell's row before it is measured: its identity and the digests of data and weights."""
    columns: Mapping[str, Columns]
    """Of captures and labels, by the name of the need."""
    products: Mapping[str, bytes]
    """By the name of the need."""

    def array(self, need: str, column: str) -> np.ndarray:
        """A column as one array."""
        return self.columns[need][column][:]
