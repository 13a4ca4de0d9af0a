"""A journal file of Optuna's with one writer, who remembers none of the trials."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend, JournalFileBackend


class Journal(BaseJournalBackend):
    """Gives Optuna back the records of studies only: a storage that reads its trials keeps 0.1 MB of a cell.

    Args:
        path: of the journal, which is there; absolute, because Optuna's lock is a link to it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = JournalFileBackend(str(path))
        self._unread = _without_trials(self._file.read_logs(0))
        self._unwritten: list[dict[str, Any]] = []
        self._has_shown_a_trial = False

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Records since the last call, whatever their numbers."""
        del log_number_from
        unread, self._unread = self._unread, iter(())
        return unread

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Keep records for `write`."""
        self._unwritten += logs
        self._unread = chain(self._unread, _without_trials(logs) if self._has_shown_a_trial else logs)
        self._has_shown_a_trial |= any(map(_is_trial, logs))  # JournalStorage asks for the number of its last trial

    def write(self) -> None:
        """Write what was appended, at once."""
        lock = _lock(self._path)
        if lock.is_symlink() and not lock.exists():  # of a tool that was killed; Optuna would wait for ever
            lock.unlink(missing_ok=True)
        self._file.append_logs(self._unwritten)
        self._unwritten = []


def prepare(path: Path) -> None:
    """Make a journal that any tool can open, out of what a killed run has left of it.

    Only for who holds the folder's own lock: a lock of Optuna's that lies there is of a process that has died.

    Args:
        path: of the journal, absolute.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for stale in path.parent.glob(f"{path.name}.lock*"):  # the lock, and one that was about to be removed
        stale.unlink()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    with os.fdopen(descriptor, "r+b") as file:
        end, last = 0, b""
        for line in file:
            if line.endswith(b"\n"):  # or it is half a record
                end, last = end + len(line), line
        if last and not _is_json(last):
            end -= len(last)
        file.truncate(end)


def _lock(path: Path) -> Path:
    """Where Optuna locks a journal."""
    return path.with_name(f"{path.name}.lock")


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _is_trial(record: dict[str, Any]) -> bool:
    return "distributions" in record


def _without_trials(records: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    return (record for record in records if not _is_trial(record))
