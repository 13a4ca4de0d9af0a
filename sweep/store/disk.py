"""Tables of arrays on disk, content-addressed: extracted once, found again by every later run.

An entry is a folder `KEY[:2]/KEY` with `meta.json` (what it is, checksums) and its parts, Arrow IPC files of about
128 MB (`sweep.store.parts`), rows in sample order, arrays as fixed-shape tensor columns; how halves are scaled stands
in a file's schema (`sweep.store.halves`). It appears at once, by a rename, when it is complete; until then its parts
and blocks wait in `KEY.staging`, from where an interrupted extraction goes on.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sweep.engine.places import refuse_unwritable
from sweep.store.halves import Scaling
from sweep.store.parts import PART_BYTES, Part, block_name, checksums, join, parts_in, read_ipc, write_ipc

STORE_VERSION = 2
META = "meta.json"
"""Names the parts of an entry, with their checksums; an entry without it is not there."""
_PART_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*\.arrow")
"""No path: what an entry names is never read elsewhere."""


class StoreError(RuntimeError):
    """An entry of the store that is damaged."""


class LostEntryError(StoreError):
    """Something a run has put into the store, or found there, is gone: no cell is to blame, and none can go on."""


def lost_entry(error: BaseException | None) -> LostEntryError | None:
    """That an entry is gone, if an error says or came from it."""
    while error is not None:
        if isinstance(error, LostEntryError):
            return LostEntryError(str(getattr(error, "cause", None) or error))
        error = getattr(error, "cause", None) or error.__cause__ or error.__context__
    return None


def lost(root: Path, what: str) -> LostEntryError:
    """The message about something that is gone."""
    return LostEntryError(
        f"the store {root} has no {what} (any more): was it removed or cleaned while the run went on, or is it not "
        "the same folder on every node? What is done is kept; run the same command again, it extracts what is missing"
    )


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
        self._tensors = [_tensor(chunk) for chunk in chunks]
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
        if isinstance(rows, slice):
            span = range(*rows.indices(len(self)))
            is_run = span.step == 1 and len(span) > 0
            stored = self._run(span.start, span.stop) if is_run else self._stored(np.array(span, dtype=np.int64))
            return stored if self._scaling is None else self._scaling.undone(np.array(span, dtype=np.int64), stored)
        indices = rows if _is_plain(rows) else np.arange(len(self))[rows]
        flat = np.reshape(indices, -1)
        stored = self._stored(flat)
        values = stored if self._scaling is None else self._scaling.undone(flat, stored)
        return values if indices.ndim == 1 else values.reshape(*indices.shape, *self.shape[1:])

    def _run(self, start: int, stop: int) -> np.ndarray:
        """Consecutive rows as they are stored."""
        out = np.empty((stop - start, *self.shape[1:]), dtype=self._chunks[0].dtype)
        for chunk, first in zip(self._chunks, self._starts.tolist(), strict=False):
            begin, end = max(start, first), min(stop, first + len(chunk))
            if begin < end:
                out[begin - start : end - start] = chunk[begin - first : end - first]
        return out

    def _stored(self, indices: np.ndarray) -> np.ndarray:
        """Rows as they are stored, gathered chunk by chunk."""
        if len(self._chunks) == 1:
            return self._taken(0, indices)
        if indices.size and indices.max() >= len(self):
            raise IndexError(f"row {indices.max()} of {len(self)}")
        out = np.empty((len(indices), *self.shape[1:]), dtype=self._chunks[0].dtype)
        which = np.searchsorted(self._starts, indices, side="right") - 1
        order = np.argsort(which, kind="stable")
        bounds = np.searchsorted(which[order], np.arange(len(self._chunks) + 1))
        for number in np.flatnonzero(np.diff(bounds)):
            here = order[bounds[number] : bounds[number + 1]]
            out[here] = self._taken(int(number), indices[here] - self._starts[number])
        return out

    def _taken(self, chunk: int, indices: np.ndarray) -> np.ndarray:
        """Rows of a chunk, copied by all threads of torch where it can."""
        tensor = self._tensors[chunk]
        if tensor is None:
            return self._chunks[chunk].take(indices, axis=0)
        return tensor.index_select(0, _torch().from_numpy(np.ascontiguousarray(indices))).numpy()


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
    """The same memory as a torch tensor, which must not be written to; None where torch cannot gather its rows."""
    if not isinstance(chunk, pa.FixedShapeTensorArray) or not len(chunk):
        return None
    if chunk.type.value_type in (pa.uint16(), pa.uint32(), pa.uint64()):  # torch gathers none of them
        return None
    return _torch().from_dlpack(chunk.storage.flatten()).view(len(chunk), *chunk.type.shape)


def _torch() -> Any:
    import torch

    return torch


class DiskStore:
    """The store's folder.

    Args:
        root: the folder.
        part_bytes: a part of an entry ends with the block that makes it this large.
    """

    def __init__(self, root: Path, part_bytes: int = PART_BYTES) -> None:
        self.root = root
        self._part_bytes = part_bytes
        self._unjoined: Counter[str] = Counter()
        """Bytes of blocks of unfinished entries that were written here since their blocks were joined."""
        self._checksums: dict[str, dict[Path, str]] = {}
        """Of parts of unfinished entries, read while they are in the system's cache."""

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
        """Bytes of an entry.

        Raises:
            LostEntryError: it is not there, or not all of it.
        """
        try:
            return sum(part.stat().st_size for part in self._published(key))
        except FileNotFoundError as error:
            raise lost(self.root, f"whole entry {key}") from error

    def blocks_waiting(self, key: str) -> set[int]:
        """Numbers of the blocks an unfinished extraction has already written."""
        return {number for part in self._parts(key) for number in range(part.first, part.last + 1)}

    def write_block(self, key: str, number: int, table: pa.Table) -> None:
        """Write one block of an unfinished entry, atomically; blocks are joined as soon as they make a part."""
        folder = self._staging(key)
        folder.mkdir(parents=True, exist_ok=True)
        write_ipc(table, folder / block_name(number))
        self._unjoined[key] += table.nbytes
        if self._unjoined[key] >= self._part_bytes:
            self._unjoined[key] = 0
            self._join(key, is_complete=False)

    def _join(self, key: str, *, is_complete: bool) -> None:
        known = self._checksums.setdefault(key, {})
        for part in join(self._staging(key), self._part_bytes, is_complete=is_complete):
            if part not in known:
                [known[part]] = checksums([part])

    def publish(self, key: str, description: Mapping[str, object]) -> None:
        """Make an entry of its blocks.

        Args:
            key: the entry.
            description: everything the key was made from, kept in meta.json.

        Raises:
            LostEntryError: there are no blocks, or one before the last is not there.
        """
        staging = self._staging(key)
        waiting = self.blocks_waiting(key)
        if gaps := sorted(set(range(max(waiting, default=1))) - waiting):
            raise lost(self.root, f"blocks {gaps} of the unfinished entry {key}")
        self._join(key, is_complete=True)
        parts, known = [part.path for part in self._parts(key)], self._checksums[key]
        unknown = [part for part in parts if part not in known]
        known.update(zip(unknown, checksums(unknown), strict=True))
        self._forget(key)
        meta = {**description, "parts": {part.name: known[part] for part in parts}}
        (staging / META).write_text(json.dumps(meta, indent=1, sort_keys=True))
        shutil.rmtree(self._folder(key), ignore_errors=True)
        staging.replace(self._folder(key))

    def damage(self, key: str) -> str | None:
        """What is wrong with an entry: a part missing, truncated or altered; None for a sound one."""
        try:
            parts = self._published(key)
        except StoreError as error:
            return str(error)
        if absent := [part for part in parts if not part.is_file()]:
            return f"{absent[0]} is missing"
        for part, found in zip(parts, checksums(list(parts)), strict=True):
            if found != parts[part]:
                return f"{part} was altered after it was written"
        return None

    def discard(self, key: str) -> None:
        """Remove an entry and what is left of an unfinished one."""
        shutil.rmtree(self._folder(key), ignore_errors=True)
        self.abandon(key)

    def abandon(self, key: str) -> None:
        """Remove what is left of an unfinished entry."""
        shutil.rmtree(self._staging(key), ignore_errors=True)
        self._forget(key)

    def _forget(self, key: str) -> None:
        self._unjoined.pop(key, None)
        self._checksums.pop(key, None)

    def open(self, key: str) -> list[pa.Table]:
        """The memory-mapped tables of an entry, one a part.

        Raises:
            LostEntryError: no such entry on this machine, or not all of it.
            StoreError: one whose meta.json cannot be read.
        """
        if not self.has(key):
            raise lost(self.root, f"entry {key}")
        try:
            return [read_ipc(part) for part in self._published(key)]
        except FileNotFoundError as error:
            raise lost(self.root, f"whole entry {key}") from error

    def _published(self, key: str) -> dict[Path, str]:
        """Files of an entry in the order of its samples, with their checksums."""
        folder = self._folder(key)
        try:
            parts: dict[str, str] = json.loads((folder / META).read_text())["parts"]
            if odd := [name for name in parts if not _PART_NAME.fullmatch(name)]:
                raise ValueError(f"{odd[0]!r} is no name of a part")
            return {folder / name: checksum for name, checksum in sorted(parts.items())}
        except FileNotFoundError as error:
            raise lost(self.root, f"entry {key}") from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(f"{folder / META} cannot be read ({error})") from error

    def _parts(self, key: str) -> list[Part]:
        return parts_in(self._staging(key))

    def _folder(self, key: str) -> Path:
        return self.root / key[:2] / key

    def _staging(self, key: str) -> Path:
        return self.root / key[:2] / f"{key}.staging"


def _chunks(tables: Sequence[pa.Table], name: str) -> Iterator[pa.Array]:
    """The chunks of a column; a file of no samples has none, and stands for an empty one."""
    for table in tables:
        column = table.column(name)
        yield from column.chunks or [column.combine_chunks()]
