"""One line of progress for long work: drawn in place in a terminal, now and then in a log file."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

_LOG_EVERY_S = 15.0


class Progress:
    """Counts what is done of a known total."""

    def __init__(self, console: Console, title: str, total: int, unit: str, bar: Bar | None) -> None:
        self._console = console
        self._title, self._total, self._unit = title, total, unit
        self._bar = bar
        self._task = bar.add_task(title, total=total) if bar else None
        self._done = 0
        self._started = self._logged = time.monotonic()

    def advance(self, amount: int, note: str = "") -> None:
        """Add what was done; `note` is shown beside the count."""
        self._done += amount
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self._done, description=f"{self._title} {note}".strip())
        elif self._done >= self._total or time.monotonic() - self._logged > _LOG_EVERY_S:
            self._log(note)

    def _log(self, note: str) -> None:
        self._logged = time.monotonic()
        elapsed = self._logged - self._started
        rate = self._done / elapsed if elapsed > 0 else 0.0
        left = (self._total - self._done) / rate if rate else 0.0
        line = f"{self._title}: {self._done}/{self._total} {self._unit}, {rate:.2g}/s, {left:.0f} s left {note}"
        self._console.print(line.strip(), highlight=False, soft_wrap=True, markup=False)


@contextmanager
def progress(console: Console, title: str, total: int, unit: str) -> Iterator[Progress]:
    """Show progress while the block runs."""
    if not console.is_terminal:
        yield Progress(console, title, total, unit, None)
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TextColumn(unit))
    with Bar(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as bar:
        yield Progress(console, title, total, unit, bar)
