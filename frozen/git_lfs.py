"""Files that Git LFS has left in the place of the real ones."""

from __future__ import annotations

from pathlib import Path

MOST_BYTES = 1024
"""A pointer is no larger."""
_START = b"version https://git-lfs.github.com/spec/"


def lfs_pointer(path: Path) -> str | None:
    """What to say of a file that only points to the real one; None of any other."""
    with path.open("rb") as file:
        is_pointer = file.read(len(_START)) == _START
    return "it is a Git LFS pointer and not the file itself; get that with `git lfs pull`" if is_pointer else None
