"""Places that a run writes to, tried before anything starts: a folder that cannot be written is one message."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile

from sweep.full_disk import no_space


class PlaceError(RuntimeError):
    """A place that cannot be written to."""


def refuse_unwritable(folder: Path, remedy: str, *, folders: Iterable[str] = (), files: Iterable[str] = ()) -> None:
    """Try to write to a folder that may not be there yet; leaves nothing behind.

    Args:
        folder: what is tried.
        remedy: what to do if it cannot be written.
        folders: names that are folders in it, once they are there.
        files: names that are files in it, once they are there.

    Raises:
        PlaceError: it cannot be written, or something of the wrong kind is in the way.
    """
    _try(folder, remedy)
    for name in folders:
        if os.path.lexists(folder / name):
            _try(folder / name, remedy)
    for name in files:
        if (folder / name).is_dir():
            raise PlaceError(f"{folder / name}: is a folder, expected a file; {remedy}")


def refuse_locked_folders(folders: Iterable[Path], remedy: str) -> None:
    """The same for many folders that may be there, without writing to them.

    Raises:
        PlaceError: one is there and cannot be written.
    """
    for folder in sorted(set(folders)):
        if os.path.lexists(folder) and not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
            raise PlaceError(f"{folder}: cannot be written to; {remedy}")


def _try(folder: Path, remedy: str) -> None:
    try:
        new = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=folder):
                pass
        finally:
            for path in new:
                with suppress(OSError):
                    path.rmdir()
    except OSError as error:
        if no_space(error):
            raise
        raise PlaceError(f"{folder}: cannot be written to ({error.strerror}); {remedy}") from error
