"""Tells everything that follows a run what has happened: the progress line, the metrics, the logs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console

from frozen.readout.cells import Cell
from sweep.live._base import Finished, Log
from sweep.live._metrics import Metrics
from sweep.live.progress import Progress
from sweep.results.directory import ResultsDirectory, Row


class Monitor:
    """Follows one run; nothing that goes wrong here reaches the run.

    Args:
        line: the progress line.
        results: where rows are read from.
        metrics: for Prometheus; None for none.
        logs: by name.
        headline: the measure of which the best is shown.
        depth: column that orders the cells by depth; None where nothing does.
        console: where a log that fails is said.
    """

    def __init__(
        self,
        line: Progress,
        results: ResultsDirectory,
        metrics: Metrics | None,
        logs: Mapping[str, Log],
        headline: str,
        console: Console,
        depth: str | None = None,
    ) -> None:
        self._line, self._results, self._console = line, results, console
        self._metrics, self._headline, self._depth = metrics, headline, depth
        self._logs = dict(logs)
        self._states = {"done": 0, "failed": 0, "waiting": line.n_cells}

    def begins(self) -> None:
        """The run begins: logs can be opened, and what its study has reached before is shown."""
        self._to_logs(lambda log: log.begin())
        if self._metrics is None:
            return
        self._metrics.cells(**self._states)
        for row in self._results.rows().values():
            self._best(row)

    def extracting(self, n_images: int) -> None:
        """So many images are to be extracted."""
        self._line.extracting(n_images)

    def extracted(self, n_images: int) -> None:
        """Images were extracted."""
        self._line.extracted(n_images)
        if self._metrics is not None:
            self._metrics.images(n_images)

    def store(self, size_bytes: int) -> None:
        """Size of the activations that the run reads."""
        if self._metrics is not None:
            self._metrics.store(size_bytes)

    def measured(self, cell: Cell, cost: float, *, failed: bool, steps: int) -> None:
        """A cell has its row, whose cost was estimated so, after so many optimiser steps."""
        self._states["failed" if failed else "done"] += 1
        self._states["waiting"] -= 1
        found = self._guarded("live view", lambda: self._read(cell))
        seconds = _number(found.row.get("wall_s")) if found and not failed else None
        self._line.measured(cost, failed=failed, seconds=seconds)
        if found is None:
            return
        if self._metrics is not None:
            self._metrics.cells(**self._states)
            self._metrics.trained(steps=steps, seconds=seconds or 0.0)
            self._best(found.row)
        self._to_logs(lambda log: log.cell(found))

    def _to_logs(self, tell: Callable[[Log], None]) -> None:
        """Tell every log; one that fails is not told again."""
        for name, log in list(self._logs.items()):
            if self._guarded(f"log {name}", lambda log=log: (tell(log),)) is None:
                del self._logs[name]

    def _read(self, cell: Cell) -> Finished:
        row = self._results.row(cell.cell_id)
        curves, suggestions = self._results.curves(cell.cell_id), self._results.suggestions(cell.cell_id)
        depth = 0.0 if self._depth is None else float(cell.column(self._depth))  # pyright: ignore[reportArgumentType]
        return Finished(cell.name, row, cell.names, depth, curves, suggestions)

    def _best(self, row: Row) -> None:
        value = row.get(self._headline)
        if self._metrics is not None and isinstance(value, int | float):
            self._metrics.measure(str(row["dataset"]), str(row["backbone"]), self._headline, value)

    def _guarded(self, what: str, work: Callable[[], Any]) -> Any:
        """What `work` returns, or None if it fails: a view must never end a run."""
        try:
            return work()
        except Exception as error:  # noqa: BLE001
            message = f"{what} fails ({type(error).__name__}: {error}); the study goes on without it"
            self._console.print(message, highlight=False, markup=False, soft_wrap=True)
            return None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
