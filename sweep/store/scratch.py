"""Temporary folders of processes; one that a killed process has left behind goes when the next process starts."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

_PREFIX = "binding-sweep-"
_OWNER = ".owner"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """An empty folder while the block runs; those of dead processes of the same user are removed first."""
    _remove_orphans()
    with TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as folder, ExitStack() as held:
        owner = held.enter_context((Path(folder) / "owner-to-be").open("w"))
        fcntl.flock(owner, fcntl.LOCK_EX)
        Path(owner.name).rename(Path(folder) / _OWNER)  # never seen without its lock, which dies with the process
        work = Path(folder) / "work"
        work.mkdir()
        yield work


def _remove_orphans() -> None:
    for folder in Path(gettempdir()).glob(f"{_PREFIX}*"):
        try:
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            with (folder / _OWNER).open() as owner:
                fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # its process lives, or it is none of ours
            continue
