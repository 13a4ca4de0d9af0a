"""One line of progress for a whole study: drawn in place in a terminal, now and then in a log file."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from binding.terminal import on_one_line
from sweep.time_left import TimeLeft

_LOG_EVERY_S = 15.0
_REDRAWS_A_SECOND = 4


class Progress:
    """Counts images and cells of a run, and says how far it is.

    Args:
        console: where the line is shown.
        title: name of the study.
        costs: about how long each cell takes that the run has to measure, in any unit.
        bar: draws the line in a terminal; None writes it to a log.
        n_done: cells of the study that earlier runs have done.
        n_held_back: cells that this run leaves for later.

    Attributes:
        n_to_do: cells of this run.
        n_done: cells of the study that earlier runs have done.
    """

    def __init__(
        self,
        console: Console,
        title: str,
        costs: Sequence[float],
        bar: Bar | None,
        *,
        n_done: int = 0,
        n_held_back: int = 0,
    ) -> None:
        self._console, self._title = console, on_one_line(title)
        self.n_to_do, self.n_done = len(costs), n_done
        self._n_cells, self._n_held_back = n_done + len(costs) + n_held_back, n_held_back
        self._cells, self._failed = n_done, 0
        self._time_left = TimeLeft(costs)
        self._n_images, self._images = 0, 0
        self._extracting_from = self._logged = time.monotonic()
        self._extracted_at = self._extracting_from
        self._bar = bar
        self._task = bar.add_task("", total=self._n_cells - n_held_back) if bar else None
        self._show()

    def extracting(self, n_images: int) -> None:
        """So many more images are to be extracted."""
        self._n_images += n_images
        self._extracting_from = self._extracted_at = time.monotonic()
        self._show()

    def extracted(self, n_images: int) -> None:
        """Count extracted images."""
        self._images += n_images
        self._extracted_at = time.monotonic()
        self._show(finished=self._images == self._n_images)

    def measured(self, cost: float, *, failed: bool, seconds: float | None) -> None:
        """Count a cell that has its row; `seconds` is what it took, None if it failed."""
        self._time_left.ended(cost, seconds)
        self._cells += 1
        self._failed += failed
        self._show(finished=not self._n_left)

    @property
    def _n_left(self) -> int:
        return self._n_cells - self._n_held_back - self._cells

    def line(self) -> str:
        """What is shown: cells of the study, failures, images with their rate, time left."""
        parts = [f"{self._cells}/{self._n_cells} cells"]
        if self._n_held_back:
            parts.append(f"{self._n_held_back} left for later")
        if self._failed:
            parts.append(f"{self._failed} failed")
        if self._n_images:
            parts.append(f"{self._images}/{self._n_images} images at {_rate(self._images_a_second())}")
        left = self._left_s()
        if left is not None and (self._n_left or self._images < self._n_images):
            parts.append(f"{duration(left)} left")
        return ", ".join(parts)

    def _images_a_second(self) -> float:
        elapsed = self._extracted_at - self._extracting_from
        return self._images / elapsed if elapsed > 0 else 0.0

    def _left_s(self) -> float | None:
        """What the rest takes at the speed so far; None while no cell has shown how long one takes."""
        left = self._time_left.seconds()
        if left is None:
            return None
        rate = self._images_a_second()
        return left + ((self._n_images - self._images) / rate if rate else 0.0)

    def _show(self, *, finished: bool = False) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self._cells, description=f"{self._title}: {self.line()}")
        elif finished or time.monotonic() - self._logged > _LOG_EVERY_S:
            self._logged = time.monotonic()
            self._console.print(f"{self._title}: {self.line()}", highlight=False, soft_wrap=True, markup=False)


def _rate(images_a_second: float) -> str:
    return f"{images_a_second:.0f}/s" if images_a_second >= 10 else f"{images_a_second:.2g}/s"


def duration(seconds: float) -> str:
    """Seconds in the two units that read best: 48 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


@contextmanager
def progress(
    console: Console, title: str, costs: Sequence[float], *, n_done: int = 0, n_held_back: int = 0
) -> Iterator[Progress]:
    """Show the progress of a study while the block runs."""
    if not console.is_terminal:
        yield Progress(console, title, costs, None, n_done=n_done, n_held_back=n_held_back)
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(20), TimeElapsedColumn())
    with Bar(*columns, console=console, refresh_per_second=_REDRAWS_A_SECOND) as bar:
        yield Progress(console, title, costs, bar, n_done=n_done, n_held_back=n_held_back)
