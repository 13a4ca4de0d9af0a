"""Files and folders that appear at once: a reader, or a run that was killed, never meets half of one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def appearing(path: Path, *, is_flushed: bool = False) -> Iterator[Path]:
    """A place beside `path` to write to; what is there when the block ends takes the name `path`.

    It replaces a file that has the name; a folder takes the place of none or of an empty one. Where the block raises,
    nothing stays. Several processes, on several machines too, may write the same path: the last one counts.

    Args:
        path: of a file or a folder; the folder that it lies in is there.
        is_flushed: whether a file has to be on the disk itself before it takes the name, so that it outlives a loss
            of power: for what cannot be made again.
    """
    half = path.with_name(f".{path.name}.{uuid4().hex[:16]}.tmp")
    try:
        yield half
        if is_flushed:
            with half.open("rb") as file:
                os.fsync(file.fileno())
        half.replace(path)
    finally:
        if half.is_dir():
            shutil.rmtree(half, ignore_errors=True)
        else:
            half.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file that appears at once; text as UTF-8."""
    with appearing(path) as half:
        half.write_bytes(content.encode() if isinstance(content, str) else content)
