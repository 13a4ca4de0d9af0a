"""Tables of arrays on disk, content-addressed: extracted once, found again by every later run.

An entry is a folder `KEY[:2]/KEY` with `meta.json` (the key in full, checksums) and Arrow IPC files, rows
in sample order, arrays as fixed-shape tensor columns; how halves are scaled stands in a file's schema
(`sweep.halves`). It appears at once, by a rename, when it is
complete; until then its parts wait in `KEY.staging`, from where an interrupted extraction goes on.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sweep.halves import Scaling
from sweep.places import refuse_unwritable

STORE_VERSION = 2
META = "meta.json"
"""Names the parts of an entry, with their checksums; an entry without it is not there."""
_WHOLE = "whole.arrow"


class StoreError(RuntimeError):
    """An entry of the store that is damaged."""


def store_key(**content: object) -> str:
    """Hash of everything an entry's values depend on."""
    text = json.dumps({"store": STORE_VERSION, **content}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def to_table(arrays: Mapping[str, np.ndarray]) -> pa.Table:
    """Arrays with samples first -> a table of one chunk; arrays of more dimensions as tensor columns."""
    columns = {}
    for name, array in arrays.items():
        columns[name] = _tensors(np.ascontiguousarray(array)) if array.ndim > 1 else pa.array(array)
    return pa.table(columns)


def _tensors(array: np.ndarray) -> pa.Array:
    if array.size:
        return pa.FixedShapeTensorArray.from_numpy_ndarray(array)
    kind = pa.fixed_shape_tensor(pa.from_numpy_dtype(array.dtype), array.shape[1:])
    return pa.ExtensionArray.from_storage(kind, pa.array([[]] * len(array), type=kind.storage_type))


class Rows:
    """Read-only rows of one column of some tables: [samples ...], gathered into new arrays.

    The memory behind it may be shared between processes and is never handed out for writing.

    Args:
        chunks: of the column.
        scaling: of its halves, which are then handed out as the float32 they stand for.
    """

    def __init__(self, chunks: Sequence[pa.Array], scaling: Scaling | None = None) -> None:
        self._scaling = scaling
        self._chunks = [_numpy(chunk) for chunk in chunks]
        self._tensor = _tensor(chunks[0]) if len(chunks) == 1 else None
        self._starts = np.cumsum([0, *map(len, chunks)])

    @classmethod
    def of(cls, tables: Sequence[pa.Table], column: str) -> Rows:
        """The rows of a column."""
        return cls(list(_chunks(tables, column)), Scaling.of(tables, column))

    @property
    def itemsize(self) -> int:
        """Bytes of a number as it is stored."""
        return self._chunks[0].itemsize

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of all rows together."""
        return (len(self), *self._chunks[0].shape[1:])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, rows: Any, /) -> np.ndarray:
        """A copy of the rows of an index, a slice or an index array, in the order asked for."""
        indices = rows if _is_plain(rows) else np.arange(len(self))[rows]
        if self._scaling is None:
            return self._stored(indices)
        values = self._scaling.undone(np.atleast_1d(indices), self._stored(np.atleast_1d(indices)))
        return values.reshape(*indices.shape, *self.shape[1:])

    def _stored(self, indices: Any) -> np.ndarray:
        """The rows as they are stored."""
        if len(self._chunks) == 1:
            return self._taken(indices)
        if indices.size and indices.max() >= len(self):
            raise IndexError(f"row {indices.max()} of {len(self)}")
        out = np.empty((*indices.shape, *self.shape[1:]), dtype=self._chunks[0].dtype)
        which = np.searchsorted(self._starts, indices, side="right") - 1
        for number in np.unique(which):
            here = which == number
            out[here] = self._chunks[number][indices[here] - self._starts[number]]
        return out

    def _taken(self, indices: Any) -> np.ndarray:
        """Rows of the only chunk, copied by all threads of torch where it can."""
        if self._tensor is None or indices.ndim != 1:
            return self._chunks[0].take(indices, axis=0)
        return self._tensor.index_select(0, _torch().from_numpy(np.ascontiguousarray(indices))).numpy()


def _is_plain(rows: Any) -> bool:
    """Whether these are row numbers already, none counted from the end."""
    is_vector = isinstance(rows, np.ndarray) and rows.dtype == np.int64 and rows.ndim == 1
    return is_vector and bool(rows.min(initial=0) >= 0)


def _numpy(chunk: pa.Array) -> np.ndarray:
    """A view of a chunk; `chunk` rather than combine_chunks, which would copy."""
    if isinstance(chunk, pa.FixedShapeTensorArray):
        return chunk.to_numpy_ndarray().view()
    return chunk.to_numpy(zero_copy_only=False).view()


def _tensor(chunk: pa.Array) -> Any:
    """The same memory as a torch tensor, which must not be written to; None for plain columns."""
    if not isinstance(chunk, pa.FixedShapeTensorArray) or not len(chunk):
        return None
    return _torch().from_dlpack(chunk.storage.flatten()).view(len(chunk), *chunk.type.shape)


def _torch() -> Any:
    import torch

    return torch


class DiskStore:
    """The store's folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def refuse_unwritable(self, remedy: str) -> None:
        """Try to write here, before anything is started; leaves nothing behind.

        Raises:
            PlaceError: it cannot be done.
        """
        refuse_unwritable(self.root, remedy)

    def has(self, key: str) -> bool:
        """Whether a complete entry is there."""
        return (self._folder(key) / META).is_file()

    def lists(self, key: str) -> bool:
        """The same, for those who will not read it."""
        return self.has(key)

    def size_bytes(self, key: str) -> int:
        """Bytes of an entry."""
        return sum(part.stat().st_size for part in self._published(key))

    def parts_waiting(self, key: str) -> set[int]:
        """Numbers of the parts an unfinished extraction has already written."""
        return {int(part.stem.split("-")[1]) for part in self._parts(self._staging(key))}

    def write_part(self, key: str, number: int, table: pa.Table) -> None:
        """Write one part of an unfinished entry, atomically."""
        folder = self._staging(key)
        folder.mkdir(parents=True, exist_ok=True)
        write_ipc(table, folder / f"part-{number:05}.arrow")

    def publish(self, key: str, description: Mapping[str, object], *, contiguous: bool) -> None:
        """Make an entry of its parts; `contiguous` joins them into one chunk first.

        Args:
            key: the entry.
            description: everything the key was made from, kept in meta.json.
            contiguous: whether readers should get one array without copying.

        Raises:
            StoreError: there are no parts, or one before the last is not there.
        """
        staging = self._staging(key)
        waiting = self.parts_waiting(key)
        if gaps := sorted(set(range(max(waiting, default=1))) - waiting):
            raise StoreError(f"the unfinished entry {staging} lacks its parts {gaps}; did another run publish it?")
        parts = self._parts(staging)
        if contiguous and len(parts) > 1:
            whole = staging / _WHOLE  # not a part: a run killed here would take it for the first one
            write_ipc(_joined([read_ipc(part) for part in parts]), whole)
            for part in parts:
                part.unlink()
            parts = [whole]
        meta = {**description, "parts": {part.name: _checksum(part) for part in parts}}
        (staging / META).write_text(json.dumps(meta, indent=1, sort_keys=True))
        shutil.rmtree(self._folder(key), ignore_errors=True)
        staging.replace(self._folder(key))

    def damage(self, key: str) -> str | None:
        """What is wrong with an entry: a part missing, truncated or altered; None for a sound one."""
        try:
            parts = self._published(key)
        except StoreError as error:
            return str(error)
        for part, checksum in parts.items():
            if not part.is_file():
                return f"{part} is missing"
            if _checksum(part) != checksum:
                return f"{part} was altered after it was written"
        return None

    def discard(self, key: str) -> None:
        """Remove an entry and what is left of an unfinished one."""
        shutil.rmtree(self._folder(key), ignore_errors=True)
        self.abandon(key)

    def abandon(self, key: str) -> None:
        """Remove what is left of an unfinished entry."""
        shutil.rmtree(self._staging(key), ignore_errors=True)

    def open(self, key: str) -> list[pa.Table]:
        """The memory-mapped tables of an entry, one a part.

        Raises:
            StoreError: no such entry on this machine, or one whose meta.json cannot be read.
        """
        if not self.has(key):
            raise StoreError(f"the store {self.root} has no entry {key}; every node needs the same --store folder")
        return [read_ipc(part) for part in self._published(key)]

    def _published(self, key: str) -> dict[Path, str]:
        """Files of an entry in the order of its samples, with their checksums."""
        folder = self._folder(key)
        try:
            parts: dict[str, str] = json.loads((folder / META).read_text())["parts"]
            return {folder / name: checksum for name, checksum in sorted(parts.items())}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(f"{folder / META} cannot be read ({error})") from error

    def _parts(self, folder: Path) -> list[Path]:
        return sorted(folder.glob("part-*.arrow"))

    def _folder(self, key: str) -> Path:
        return self.root / key[:2] / key

    def _staging(self, key: str) -> Path:
        return self.root / key[:2] / f"{key}.staging"


def write_ipc(table: pa.Table, path: Path) -> None:
    """Write a table as an Arrow IPC file that appears at once."""
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_ipc(path: Path) -> pa.Table:
    """A memory-mapped table."""
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


def _joined(tables: Sequence[pa.Table]) -> pa.Table:
    """One table of one chunk."""
    names = tables[0].column_names
    joined = to_table({name: np.concatenate([_numpy(c) for c in _chunks(tables, name)]) for name in names})
    for name in names:
        if scaling := Scaling.of(tables, name):
            joined = scaling.on(joined, name)
    return joined


def _chunks(tables: Sequence[pa.Table], name: str) -> Iterator[pa.Array]:
    """The chunks of a column; a file of no samples has none, and stands for an empty one."""
    for table in tables:
        column = table.column(name)
        yield from column.chunks or [column.combine_chunks()]


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
