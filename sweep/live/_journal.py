"""A journal file of Optuna's with one writer, who remembers none of the trials."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend, JournalFileBackend


class Journal(BaseJournalBackend):
    """Gives Optuna back the records of studies only: a storage that reads its trials keeps 0.1 MB of a cell.

    Args:
        path: of the journal; its folder exists.
    """

    def __init__(self, path: Path) -> None:
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
        self._file.append_logs(self._unwritten)
        self._unwritten = []


def _is_trial(record: dict[str, Any]) -> bool:
    return "distributions" in record


def _without_trials(records: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    return (record for record in records if not _is_trial(record))
