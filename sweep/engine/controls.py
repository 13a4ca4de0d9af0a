"""Controls that are made of a backbone's own activations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Int

from frozen.data.scenes import SPLITS, SplitName
from frozen.readout.readout import SplitData
from frozen.rows import ArrayRows
from sweep.engine.grid import Cell


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


def as_controlled(cell: Cell, data: Mapping[SplitName, SplitData]) -> Mapping[SplitName, SplitData]:
    """What a cell reads: for the control `shuffled`, each split's activations permuted across its samples.

    The activations keep their distribution and tell nothing of their sample; the order follows from the
    study's seed.
    """
    if cell.control != "shuffled":
        return data
    return {split: _shuffled(part, [cell.settings.seed, SPLITS.index(split)]) for split, part in data.items()}


def _shuffled(part: SplitData, seed: list[int]) -> SplitData:
    order = np.random.default_rng(seed).permutation(len(part.activations))
    return part._replace(activations=PermutedRows(part.activations, order))
