"""How far work on many equal pieces is: drawn in place in a terminal, now and then in a log file."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from sweep.live.progress import duration

_LOG_EVERY_S = 15.0


class Countdown:
    """Counts pieces that are finished.

    Args:
        console: where the line is shown.
        title: what is done.
        total: number of pieces.
        unit: what a piece is, in the plural.
        bar: draws the line in a terminal; None writes it to a log.
    """

    def __init__(self, console: Console, title: str, total: int, unit: str, bar: Bar | None) -> None:
        self._console, self._title, self._total, self._unit = console, title, total, unit
        self._bar = bar
        self._task = bar.add_task(title, total=total) if bar else None
        self._done = self._failed = 0
        self._started = self._logged = time.monotonic()

    def finished(self, *, failed: bool) -> None:
        """Count a piece."""
        self._done += 1
        self._failed += failed
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self._done, description=self.line())
        elif self._done == self._total or time.monotonic() - self._logged > _LOG_EVERY_S:
            self._logged = time.monotonic()
            self._console.print(self.line(), highlight=False, soft_wrap=True, markup=False)

    def line(self) -> str:
        """What is shown: pieces, failures, speed, time left."""
        rate = self._done / max(time.monotonic() - self._started, 1e-9)
        parts = [f"{self._title}: {self._done:,}/{self._total:,} {self._unit}"]
        if self._failed:
            parts.append(f"{self._failed} failed")
        parts.append(f"{rate:.2g} {self._unit}/s")
        if self._done < self._total:
            parts.append(f"{duration((self._total - self._done) / rate)} left")
        return ", ".join(parts)


@contextmanager
def countdown(console: Console, title: str, total: int, unit: str) -> Iterator[Countdown]:
    """Show how far the work is while the block runs."""
    if not console.is_terminal:
        yield Countdown(console, title, total, unit, None)
        return
    with Bar(
        TextColumn("{task.description}", markup=False), BarColumn(20), TimeElapsedColumn(), console=console
    ) as bar:
        yield Countdown(console, title, total, unit, bar)
