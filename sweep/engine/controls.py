"""Controls that are made of a backbone's own activations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Int

from frozen.capture.capture import Capture
from frozen.data.spec import split_number
from frozen.readout.cells import Cell
from frozen.readout.needs import Columns
from frozen.rows import ArrayRows


class PermutedRows:
    """Rows of an array in another order; nothing is copied until rows are asked for."""

    def __init__(self, rows: ArrayRows, order: Int[np.ndarray, " samples"]) -> None:
        self._rows = rows
        self._order = order

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of all rows together."""
        return self._rows.shape

    @property
    def itemsize(self) -> int:
        """Bytes of a number as it is stored."""
        return self._rows.itemsize

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, rows: Any, /) -> np.ndarray:
        return self._rows[self._order[rows]]


def as_controlled(cell: Cell, columns: Mapping[str, Columns]) -> Mapping[str, Columns]:
    """What a cell reads: for the control `shuffled`, captures permuted across their samples, labels as they are.

    The captures keep their distribution and tell nothing of their sample; the order follows from the
    study's seed and the split, so that all captures of a split stay together.
    """
    if cell.control != "shuffled":
        return columns
    splits = {name: need.split for name, need in cell.needs_of(Capture)}
    return {
        name: _shuffled(part, [cell.seed, split_number(splits[name])]) if name in splits else part
        for name, part in columns.items()
    }


def _shuffled(part: Columns, seed: list[int]) -> Columns:
    n_samples = len(next(iter(part.values())))
    order = np.random.default_rng(seed).permutation(n_samples)
    return {name: PermutedRows(rows, order) for name, rows in part.items()}
