"""Rows of a capture in random order, batch by batch, also where they are more than memory holds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from frozen.rows import ArrayRows

_BUFFER_BYTES = 2**30
_BLOCK_BYTES = 2**23


class SiteMoments(NamedTuple):
    """Moments of the rows of a site.

    Attributes:
        mean: [dim].
        deviation: root of the mean squared distance of a row from the mean.
        power: mean squared norm of a row, the mean not removed.
    """

    mean: Float64[np.ndarray, " dim"]
    deviation: float
    power: float

    @property
    def offset_ratio(self) -> float:
        """‖μ‖/‖σ‖: how far the site lies from zero, in units of its spread."""
        return float(np.linalg.norm(self.mean)) / self.deviation if self.deviation else math.inf


def blocks(array: ArrayRows) -> Iterator[Float[Tensor, "rows dim"]]:
    """All rows as float32 [rows dim], tokens one after another, some megabytes at a time."""
    samples = _samples_a_block(array)
    for start in range(0, len(array), samples):
        yield _flat(array[start : start + samples])


def _samples_a_block(array: ArrayRows) -> int:
    return max(1, _BLOCK_BYTES // (4 * max(math.prod(array.shape[1:]), 1)))


def _flat(rows: np.ndarray) -> Float[Tensor, "rows dim"]:
    return torch.from_numpy(np.array(rows, dtype=np.float32)).reshape(-1, rows.shape[-1])


def statistics(array: ArrayRows) -> SiteMoments:
    """Moments of all rows, in float64, in one pass."""
    count, total, power = 0, np.zeros(array.shape[-1]), 0.0
    for rows in blocks(array):
        wide = rows.double()
        count += len(wide)
        total += wide.sum(0).numpy()
        power += float(wide.square().sum())
    mean = total / max(count, 1)
    power /= max(count, 1)
    return SiteMoments(mean, math.sqrt(max(power - float(mean @ mean), 0.0)), power)


class Stream:
    """Endless batches of rows in random order; every pass sees every row once, rounded down to whole batches.

    Arrays that fit the buffer are read once. Of larger ones, random blocks fill the buffer in turn, and rows are
    mixed within it.

    Args:
        array: [samples dim] or [samples token dim].
        batch_size: rows a batch.
        seed: of the order.
        buffer_bytes: most bytes of float32 rows in memory.
    """

    def __init__(self, array: ArrayRows, batch_size: int, seed: int, buffer_bytes: int = _BUFFER_BYTES) -> None:
        self._array = array
        self._batch_size = max(1, min(batch_size, math.prod(array.shape[:-1])))
        self._rng = np.random.default_rng(seed)
        samples = _samples_a_block(array)
        n_bytes = 4 * math.prod(array.shape)
        self._all = torch.cat(list(blocks(array))) if n_bytes <= buffer_bytes else None
        if self._all is None:
            samples = min(samples, max(1, buffer_bytes * len(array) // (4 * n_bytes)))
        self._starts = np.arange(0, len(array), samples)
        self._samples = samples
        self._blocks = max(1, int(buffer_bytes // max(4 * samples * math.prod(array.shape[1:]), 1)))

    def batches(self) -> Iterator[Float[Tensor, "rows dim"]]:
        """Batches for ever; of fewer rows than asked for where the array has no more."""
        rest = torch.zeros(0, self._array.shape[-1])
        while True:
            for rows in self._mixed():
                known = torch.cat([rest, rows])
                whole = len(known) // self._batch_size * self._batch_size
                yield from known[:whole].split(self._batch_size) if whole else ()
                rest = known[whole:]

    def _mixed(self) -> Iterator[Tensor]:
        if self._all is not None:
            yield self._all[torch.from_numpy(self._rng.permutation(len(self._all)))]
            return
        order = self._rng.permutation(self._starts)
        for first in range(0, len(order), self._blocks):
            chosen = order[first : first + self._blocks]
            rows = torch.cat([_flat(self._array[start : start + self._samples]) for start in chosen])
            yield rows[torch.from_numpy(self._rng.permutation(len(rows)))]
