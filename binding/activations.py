"""Activations as a probe reads them: gathered rows, standardised, never the stored memory itself."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor


@runtime_checkable
class ArrayRows(Protocol):
    """A read-only array of rows: a numpy array, or one that lies in several files."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> np.ndarray:
        """The rows of a slice or of an index array."""
        ...


_ROWS_AT_ONCE = 4096
_RESIDENT_BYTES = 2**31


class Standardizer(NamedTuple):
    """Mean and deviation of each of the D channels over training samples (and tokens)."""

    mean: Float64[np.ndarray, " dim"]
    deviation: Float64[np.ndarray, " dim"]

    @classmethod
    def of(cls, array: ArrayRows) -> Standardizer:
        """Statistics of [samples dim] or [samples token dim], in float64; a constant channel gets deviation 1."""
        dim = array.shape[-1]
        count = math.prod(array.shape[:-1])
        mean, squares = np.zeros(dim), np.zeros(dim)
        for part in _parts(array):
            mean += part.reshape(-1, dim).sum(0, dtype=np.float64) / max(count, 1)
        for part in _parts(array):
            squares += ((part.reshape(-1, dim) - mean) ** 2).sum(0) / max(count, 1)
        deviation = np.sqrt(squares)
        return cls(mean, np.where(deviation > 0, deviation, 1.0))


def _parts(array: ArrayRows) -> list[np.ndarray]:
    return [array[i : i + _ROWS_AT_ONCE] for i in range(0, len(array), _ROWS_AT_ONCE)]


class Rows:
    """Rows of an activation array, gathered as float32.

    Arrays that fit in `resident_bytes` are converted once; larger ones, memory-mapped files among them,
    are converted batch by batch. Either way what is handed out is a copy: the array may be memory that
    other processes share.
    """

    def __init__(
        self,
        array: ArrayRows,
        standardizer: Standardizer | None,
        device: torch.device,
        resident_bytes: int = _RESIDENT_BYTES,
    ) -> None:
        self._array = array
        self._device = device
        self._standardizer = standardizer and tuple(
            torch.from_numpy(value).to(device, torch.float32) for value in standardizer
        )
        self._resident: Tensor | None = None
        if math.prod(array.shape) * 4 <= resident_bytes:
            parts = [self._convert(part) for part in _parts(array)]
            self._resident = torch.cat(parts) if parts else torch.zeros(array.shape, device=device)

    def gather(self, indices: Int[Tensor, " batch"]) -> Float[Tensor, "batch *tokens dim"]:
        """The given rows, float32 on the device."""
        if self._resident is not None:
            return self._resident.index_select(0, indices.to(self._device))
        return self._convert(self._array[indices.cpu().numpy()])

    def _convert(self, rows: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(rows.astype(np.float32)).to(self._device)
        if self._standardizer is not None:
            mean, deviation = self._standardizer
            tensor.sub_(mean).div_(deviation)
        return tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """[samples dim] or [samples token dim]."""
        return self._array.shape

    def __len__(self) -> int:
        return len(self._array)
