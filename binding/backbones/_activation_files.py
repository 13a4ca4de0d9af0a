"""Files of arrays, one array a layer, of which only the rows asked for are read: npz, safetensors, Arrow IPC."""

from __future__ import annotations

import math
import struct
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from binding.backbones._base import BackboneError, UnavailableError


class ActivationFile(ABC):
    """An open file.

    Attributes:
        shapes: of the array of each name, samples first.
    """

    shapes: dict[str, tuple[int, ...]]

    @abstractmethod
    def rows(self, name: str, start: int, stop: int) -> Float32[Tensor, "batch ..."]:
        """Consecutive rows of one array."""


class _Npz(ActivationFile):
    def __init__(self, path: Path) -> None:
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            self._arrays = {
                item.filename.removesuffix(".npy"): _mapped(path, file, item) for item in archive.filelist
            }
        self.shapes = {name: array.shape for name, array in self._arrays.items()}

    def rows(self, name: str, start: int, stop: int) -> Float32[Tensor, "batch ..."]:
        return torch.from_numpy(self._arrays[name][start:stop].astype(np.float32))


def _mapped(path: Path, file: Any, item: zipfile.ZipInfo) -> np.ndarray:
    """An array of an archive as a memory map; nothing is unpickled."""
    if item.compress_type != zipfile.ZIP_STORED:
        raise ValueError("it is compressed, so that rows cannot be read by themselves; write it with numpy.savez")
    file.seek(item.header_offset + 26)
    file.seek(sum(struct.unpack("<HH", file.read(4))), 1)
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = read_header(file)
    _check_type(item.filename, dtype.kind == "f", dtype)
    return np.memmap(path, dtype, "r", file.tell(), shape, "F" if is_fortran else "C")


class _Safetensors(ActivationFile):
    def __init__(self, path: Path) -> None:
        from safetensors import safe_open

        self._file: Any = safe_open(path, framework="pt")
        self.shapes = {}
        for name in self._file.keys():  # noqa: SIM118, not a mapping
            values = self._file.get_slice(name)
            _check_type(name, values.get_dtype() in ("F16", "BF16", "F32", "F64"), values.get_dtype())
            self.shapes[name] = tuple(values.get_shape())

    def rows(self, name: str, start: int, stop: int) -> Float32[Tensor, "batch ..."]:
        return self._file.get_slice(name)[start:stop].float()


class _Arrow(ActivationFile):
    def __init__(self, path: Path) -> None:
        import pyarrow as pa

        self._table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        self.shapes = {}
        for column in self._table.schema:
            kind, dims = column.type, []
            if isinstance(kind, pa.FixedShapeTensorType):
                dims, kind = list(kind.shape), kind.value_type
            while pa.types.is_fixed_size_list(kind):
                dims.append(kind.list_size)
                kind = kind.value_type
            _check_type(column.name, bool(dims) and pa.types.is_floating(kind), column.type)
            if self._table[column.name].null_count:
                raise ValueError(f"{column.name!r} has empty rows")
            self.shapes[column.name] = (len(self._table), *dims)

    def rows(self, name: str, start: int, stop: int) -> Float32[Tensor, "batch ..."]:
        import pyarrow as pa

        values: Any = self._table[name].slice(start, stop - start).combine_chunks()
        if isinstance(values, pa.ChunkedArray):  # pyarrow keeps no rows at all in chunks
            values = pa.concat_arrays(values.chunks)
        values = getattr(values, "storage", values)
        while pa.types.is_fixed_size_list(values.type):
            values = values.flatten()
        flat = values.to_numpy(zero_copy_only=False).astype(np.float32)
        return torch.from_numpy(flat.reshape(stop - start, *self.shapes[name][1:]))


def _check_type(name: str, is_floating: bool, kind: object) -> None:
    if not is_floating:
        raise ValueError(f"{name.removesuffix('.npy')!r} holds {kind}, not rows of floating-point numbers")


READERS: dict[str, Callable[[Path], ActivationFile]] = {
    ".npz": _Npz,
    ".safetensors": _Safetensors,
    ".arrow": _Arrow,
    ".feather": _Arrow,
}
"""By the end of a file's name."""


def open_file(path: Path) -> ActivationFile:
    """A file of arrays, all of one shape.

    Raises:
        BackboneError: no such file, or one that is not as it must be.
    """
    if not path.is_file():
        raise UnavailableError(f"{path}: no such file; it must hold an array for each layer, a row for each sample")
    try:
        file = READERS[path.suffix](path)
        if not file.shapes:
            raise ValueError("it holds no array")
        for name, shape in file.shapes.items():
            _check_shape(name, shape, *next(iter(file.shapes.items())))
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise BackboneError(f"{path}: cannot be read as activations: {reason}") from error
    return file


def _check_shape(name: str, shape: tuple[int, ...], first: str, expected: tuple[int, ...]) -> None:
    if len(shape) not in (2, 3) or not math.prod(shape):
        raise ValueError(f"{name!r} has the shape {shape}; it must be [sample, dim] or [sample, token, dim]")
    if shape != expected:
        raise ValueError(f"{name!r} has the shape {shape}, {first!r} has {expected}; they must be equal")
    if not (name in ("embed", "final") or (name.isdecimal() and str(int(name)) == name)):
        raise ValueError(f"there is an array {name!r}; arrays are named as layers: embed, 0, 1, .., final")
