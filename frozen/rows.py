"""Activations as a probe reads them: gathered rows, standardised, never the stored memory itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor


@runtime_checkable
class ArrayRows(Protocol):
    """A read-only array of rows: a numpy array, or one that lies in several files."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def itemsize(self) -> int:
        """Bytes of a number as it is stored: 2 says that its values carry no more than half precision."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> np.ndarray:
        """The rows of a slice or of an index array."""
        ...


_PART_BYTES = 2**23
_HALVES = (-65504.0, 65504.0)
_RESIDENT_BYTES = 2**31
_GPU_SHARE = 0.2  # of its memory: several cells may share a GPU, and each has three splits


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
            mean += _doubles(part, dim).sum(0).numpy() / max(count, 1)
        for part in _parts(array):
            squares += _doubles(part, dim).sub_(torch.from_numpy(mean)).square_().sum(0).numpy() / max(count, 1)
        deviation = np.sqrt(squares)
        return cls(mean, np.where(deviation > 0, deviation, 1.0))


def _doubles(part: np.ndarray, dim: int) -> Float64[Tensor, "rows dim"]:
    return _tensor(part).reshape(-1, dim).to(torch.float64, copy=True)


def _tensor(rows: np.ndarray) -> Tensor:
    return torch.from_numpy(rows if rows.flags.writeable else rows.copy())


def _parts(array: ArrayRows) -> Iterator[np.ndarray]:
    """Slices of a few MB, one at a time: the array may be larger than memory."""
    rows = max(1, _PART_BYTES // (8 * max(math.prod(array.shape[1:]), 1)))
    for start in range(0, len(array), rows):
        yield array[start : start + rows]


def resident_bytes(device: torch.device) -> int:
    """Activations up to this size are kept on the device, all of a split."""
    if device.type != "cuda":
        return _RESIDENT_BYTES
    return int(_GPU_SHARE * torch.cuda.get_device_properties(device).total_memory)


class Rows:
    """Rows of an activation array, gathered as float32.

    Arrays that fit the budget are converted once; on a GPU, those that were stored as halves and fit as such lie
    there as standardised halves, which lose no more than the store did; all others, memory-mapped files among
    them, are read and converted batch by batch. Either way what is handed out is a copy: the array may be memory
    that other processes share.
    """

    def __init__(
        self,
        array: ArrayRows,
        standardizer: Standardizer | None,
        device: torch.device,
        budget_bytes: int | None = None,
    ) -> None:
        self._array = array
        self._device = device
        self._standardizer = standardizer and tuple(torch.from_numpy(value).to(device) for value in standardizer)
        budget = resident_bytes(device) if budget_bytes is None else budget_bytes
        numbers = math.prod(array.shape)
        self._resident: Tensor | None = None
        self._halves: Tensor | None = None
        if numbers * 4 <= budget:
            self._resident = self._filled(torch.float32)
        elif device.type == "cuda" and array.itemsize == 2 and numbers * 2 <= budget and standardizer is not None:
            self._halves = self._filled(torch.float16)

    @property
    def reads(self) -> bool:
        """Whether rows are read anew for every batch, so that reading ahead pays."""
        return self._resident is None and self._halves is None

    @property
    def resident(self) -> Tensor | None:
        """All rows as `gather` gives them, where they lie in memory; not to be written to."""
        return self._resident

    def gather(self, indices: Int[Tensor, " batch"]) -> Float[Tensor, "batch *tokens dim"]:
        """The given rows, float32 on the device."""
        if self._resident is not None:
            return self._resident.index_select(0, indices.to(self._device))
        if self._halves is not None:
            return self._halves.index_select(0, indices.to(self._device)).float()
        return self._convert(_tensor(self._array[indices.cpu().numpy()]))

    def _filled(self, dtype: torch.dtype) -> Tensor:
        """All rows converted, part by part: they are never twice in memory."""
        whole = torch.empty(self._array.shape, dtype=dtype, device=self._device)
        start = 0
        for rows in _parts(self._array):
            part = self._convert(_tensor(rows))
            whole[start : start + len(part)] = part.clamp_(*_HALVES) if dtype == torch.float16 else part
            start += len(part)
        return whole

    def _convert(self, rows: Tensor) -> Tensor:
        """Float32; numbers of 64 bits become so only once they are standardised, which keeps small differences."""
        wide = torch.float64 if rows.dtype == torch.float64 and self._standardizer else torch.float32
        tensor = rows.to(self._device).to(wide, copy=True)  # copied on the way in its smaller type
        if self._standardizer is not None:
            mean, deviation = (value.to(wide) for value in self._standardizer)
            tensor.sub_(mean).div_(deviation)
        return tensor.float()

    @property
    def shape(self) -> tuple[int, ...]:
        """[samples dim] or [samples token dim]."""
        return self._array.shape

    def __len__(self) -> int:
        return len(self._array)


class StackedRows:
    """Rows of several arrays of one shape, that lie in memory, read together.

    Args:
        arrays: [samples dim] each.
    """

    reads = False

    def __init__(self, arrays: Sequence[Float[Tensor, "samples dim"]]) -> None:
        self._arrays = torch.stack(list(arrays))

    @property
    def shape(self) -> tuple[int, ...]:
        """[samples dim] of one of them."""
        return tuple(self._arrays.shape[1:])

    def __len__(self) -> int:
        return self._arrays.shape[1]

    def gather(self, indices: Int[Tensor, " batch"]) -> Float[Tensor, "arrays batch dim"]:
        """The given rows of all of them."""
        return self._arrays.index_select(1, indices.to(self._arrays.device))


class HeldRows:
    """Rows with some channels held at 0, or several such copies of them, of which only batches are made.

    Args:
        rows: [samples dim] or [samples token dim].
        kept: where channels are as they are: of one copy [dim], or of several [copies dim], of rows without tokens.
    """

    def __init__(self, rows: Rows, kept: Bool[Tensor, "*copies dim"]) -> None:
        self.rows, self.kept = rows, kept

    @property
    def reads(self) -> bool:
        """Whether rows are read anew for every batch."""
        return self.rows.reads

    @property
    def shape(self) -> tuple[int, ...]:
        """[samples dim] or [samples token dim] of one copy."""
        return self.rows.shape

    def __len__(self) -> int:
        return len(self.rows)

    def gather(self, indices: Int[Tensor, " batch"]) -> Float[Tensor, "*copies batch dim"]:
        """The given rows, of each copy."""
        found = self.rows.gather(indices)
        return found * (self.kept if self.kept.ndim == 1 else self.kept[:, None])
