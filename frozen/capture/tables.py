"""Tables of captured columns: numbers of fixed shape, strings and lists, as the store writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Int
from torch import Tensor

from frozen.capture.reductions import TEXT, Column, Values


class TableBuilder:
    """Collects the batches of a reduction; numbers are copied out of the device without making it wait.

    Args:
        columns: of the table.
        n_samples: rows of the table.
        dtype: of columns that have none of their own.
        device: from which numbers come.
    """

    def __init__(self, columns: Sequence[Column], n_samples: int, dtype: str, device: torch.device) -> None:
        self._columns = [column._replace(dtype=column.dtype or dtype) for column in columns]
        self._device = device
        self._numbers: dict[str, Tensor] = {}
        self._objects: dict[str, list[Any]] = {}
        self._extremes: dict[str, list[Tensor]] = {}
        for column in self._columns:
            if column.shape is None or column.dtype == TEXT:
                self._objects[column.name] = [None] * n_samples
            else:
                shape, kind = (n_samples, *column.shape), getattr(torch, str(column.dtype))
                self._numbers[column.name] = torch.empty(shape, dtype=kind, pin_memory=device.type == "cuda")
                self._extremes[column.name] = []

    def put(self, rows: Int[np.ndarray, " batch"], values: Mapping[str, Values]) -> None:
        """Some rows of every column.

        Raises:
            ValueError: other columns, or other shapes, than were declared.
        """
        names = [column.name for column in self._columns]
        if set(values) != set(names):
            raise ValueError(f"the columns {', '.join(names)} were declared, {', '.join(values)} were given")
        for column in self._columns:
            if column.name in self._numbers:
                self._put_numbers(column, rows, values[column.name])
            else:
                self._put_objects(column, rows, values[column.name])

    def _put_numbers(self, column: Column, rows: np.ndarray, given: Values) -> None:
        value = (given if isinstance(given, Tensor) else torch.as_tensor(np.asarray(given))).detach()
        target = self._numbers[column.name]
        if tuple(value.shape) != (len(rows), *target.shape[1:]):
            raise ValueError(
                f"column {column.name}: {(len(rows), *target.shape[1:])} was declared, {tuple(value.shape)} was given"
            )
        if value.numel() and value.dtype != torch.bool:
            self._extremes[column.name].append(torch.stack(value.aminmax()))
        if len(rows) and rows[-1] - rows[0] == len(rows) - 1:
            narrow = value.to(target.dtype) if value.is_cuda else value  # copies within the CPU convert on the way
            target[int(rows[0]) : int(rows[-1]) + 1].copy_(narrow, non_blocking=True)
        elif len(rows):
            # NumPy's indexing, because torch has none for unsigned types of more than 8 bits
            target.numpy()[rows] = value.to("cpu", target.dtype).numpy()

    def _put_objects(self, column: Column, rows: np.ndarray, given: Values) -> None:
        if len(given) != len(rows):
            raise ValueError(f"column {column.name}: {len(rows)} samples, {len(given)} values were given")
        for row, value in zip(rows, given, strict=True):
            self._objects[column.name][int(row)] = value.tolist() if hasattr(value, "tolist") else value

    def table(self) -> pa.Table:
        """The table, of one chunk.

        Raises:
            ValueError: numbers that are not finite, or that their type cannot hold.
        """
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        for column in self._columns:
            if self._extremes.get(column.name):
                _check_range(column, torch.stack([pair.cpu() for pair in self._extremes[column.name]]))
        return pa.table({column.name: self._array(column) for column in self._columns})

    def _array(self, column: Column) -> pa.Array:
        if column.name in self._numbers:
            return to_array(self._numbers[column.name].numpy())
        kind = pa.string() if column.dtype == TEXT else pa.from_numpy_dtype(np.dtype(str(column.dtype)))
        values = self._objects[column.name]
        return pa.array(values, type=kind if column.shape == () else pa.list_(kind))


def to_array(array: np.ndarray) -> pa.Array:
    """Numbers with samples first: one a sample as a plain column, more as a column of tensors of fixed shape."""
    array = np.ascontiguousarray(array)
    if array.ndim == 1:
        return pa.array(array)
    if array.size:
        return pa.FixedShapeTensorArray.from_numpy_ndarray(array)
    kind = pa.fixed_shape_tensor(pa.from_numpy_dtype(array.dtype), array.shape[1:])
    return pa.ExtensionArray.from_storage(kind, pa.array([[]] * len(array), type=kind.storage_type))


def _check_range(column: Column, extremes: Tensor) -> None:
    """Numbers are finite and fit their type; where missing ones are answers, the rest does."""
    kind: torch.dtype = getattr(torch, str(column.dtype))
    if kind == torch.bool or (column.may_be_missing and kind.is_floating_point):
        return
    limits = torch.finfo(kind) if kind.is_floating_point else torch.iinfo(kind)
    low, high = float(extremes.amin()), float(extremes.amax())
    if not (limits.min <= low and high <= limits.max):
        raise ValueError(
            f"column {column.name} holds numbers from {low:.3g} to {high:.3g}, which are not finite in "
            f"{column.dtype}; choose a type that holds them, or leave the site out"
        )
