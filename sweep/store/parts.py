"""Parts of an entry: files of about 128 MB, joined from the blocks that extraction writes as soon as they are there.

A block is what an extraction that was killed goes on with; there are thousands of a large split. A part is what
readers map into memory and gather rows of. The entry as a whole is never in one process's memory: only a part is.

While an entry is made, its folder holds `part-00007.arrow` (a block) and `part-00000-00006.arrow` (joined blocks).
Which blocks make a part follows from their sizes alone, so that two runs that make the same entry in one folder at
once join the same blocks to the same file, and neither disturbs the other.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from frozen.whole_files import appearing
from sweep.store.halves import Scaling

PART_BYTES = 2**27
"""Of a part; a block that is larger is one by itself."""
_NAME = re.compile(r"part-(\d+)(?:-(\d+))?\.arrow")


class Part(NamedTuple):
    """A file of an entry that is being made."""

    first: int
    """Number of its first block."""
    last: int
    path: Path

    @property
    def is_joined(self) -> bool:
        """Whether it holds several blocks."""
        return self.last > self.first


def block_name(number: int) -> str:
    """Name of the file of a block."""
    return f"part-{number:05}.arrow"


def parts_in(folder: Path) -> list[Part]:
    """Files of an entry that is being made, in the order of its samples; blocks that were joined count no more."""
    found: list[Part] = []
    for path in folder.glob("part-*.arrow"):
        if match := _NAME.fullmatch(path.name):
            first = int(match[1])
            found.append(Part(first, int(match[2] or first), path))
    parts: list[Part] = []
    for part in sorted(found, key=lambda one: (one.first, -one.last)):
        if not parts or part.first > parts[-1].last:
            parts.append(part)
    return parts


def join(folder: Path, part_bytes: int, *, is_complete: bool) -> Iterator[Path]:
    """Join the blocks of every part of which all are there.

    Another run that makes the same entry may join them, or publish the entry, at the same time; then this one has
    nothing to do.

    Args:
        folder: of the entry that is being made.
        part_bytes: a part ends with the block that makes it this large.
        is_complete: whether there are no blocks to come: the last part may then be smaller.

    Yields:
        files of the parts that became complete, just written as far as they were joined.
    """
    try:
        for blocks in _runs(parts_in(folder), part_bytes, is_complete=is_complete):
            part = blocks[0].path
            if len(blocks) > 1:
                part = folder / f"part-{blocks[0].first:05}-{blocks[-1].last:05}.arrow"
                write_ipc(_joined([read_ipc(block.path) for block in blocks]), part)
            yield part
            for block in blocks:
                if block.path != part:
                    block.path.unlink(missing_ok=True)
        kept = {part.path for part in parts_in(folder)}
        for path in set(folder.glob("part-*.arrow")) - kept:  # left by a run that was killed here, or made once more
            path.unlink(missing_ok=True)
    except FileNotFoundError:
        return


def _runs(parts: Sequence[Part], part_bytes: int, *, is_complete: bool) -> Iterator[list[Part]]:
    """Blocks that make a part, one part after the other, up to the first block that is not there."""
    run: list[Part] = []
    size, expected = 0, 0
    for part in parts:
        if part.first != expected:
            return
        expected = part.last + 1
        if part.is_joined:
            continue
        run.append(part)
        size += part.path.stat().st_size
        if size >= part_bytes:
            yield run
            run, size = [], 0
    if run and is_complete:
        yield run


def _joined(tables: Sequence[pa.Table]) -> pa.Table:
    """One table of one chunk a column."""
    joined = pa.concat_tables(tables).combine_chunks()
    for name in joined.column_names:
        if scaling := Scaling.of(tables, name):
            joined = scaling.on(joined, name)
    return joined


def cut(table: pa.Table) -> Iterator[pa.Table]:
    """A table in pieces that are large enough for a part each; one of no rows in one piece."""
    rows = max(1, -(-len(table) * PART_BYTES // max(table.nbytes, 1)))
    for start in range(0, max(len(table), 1), rows):
        yield table.slice(start, rows)


def write_ipc(table: pa.Table, path: Path) -> None:
    """Write a table as an Arrow IPC file that appears at once."""
    with appearing(path) as half, pa.OSFile(str(half), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def read_ipc(path: Path) -> pa.Table:
    """A memory-mapped table."""
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


def checksums(files: Sequence[Path]) -> list[str]:
    """sha256 of each of some files, several read at once, a piece at a time."""
    if len(files) < 2:
        return [_checksum(file) for file in files]
    with ThreadPoolExecutor(min(len(files), os.cpu_count() or 1)) as pool:
        return list(pool.map(_checksum, files))


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
