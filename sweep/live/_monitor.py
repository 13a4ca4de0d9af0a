"""Tells everything that follows a run what has happened: the progress line, the metrics, the logs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import TracebackType

from frozen.readout.cells import Cell
from frozen.readout.measures import Dimension
from frozen.readout.readout import Readouts
from frozen.terminal import on_one_line
from sweep.live._base import Finished, Log
from sweep.live._guard import LogWriter, Say, guarded
from sweep.live._metrics import Metrics
from sweep.live.progress import Progress
from sweep.results.directory import ResultsDirectory, Row
from sweep.results.stored import study_rows

_LONGEST_WAIT_S, _INTERRUPTED_WAIT_S = 30.0, 5.0


class Monitor:
    """Follows one run, inside `with`; nothing that goes wrong here reaches the run or holds it up.

    Args:
        line: the progress line.
        results: where rows are read from.
        metrics: for Prometheus; None for none.
        logs: by name.
        readouts: of the cells, by name; the best of each one's first measure is shown.
        say: prints what fails.
    """

    def __init__(
        self,
        line: Progress,
        results: ResultsDirectory,
        metrics: Metrics | None,
        logs: Mapping[str, Log],
        readouts: Readouts,
        say: Say,
    ) -> None:
        self._line, self._results, self._say = line, results, say
        self._metrics = metrics
        self._headlines = {name: readout.measures[0].column for name, readout in readouts.items()}
        self._depths = {name: _depth(readout.dimensions) for name, readout in readouts.items()}
        self._writer = LogWriter(logs, say)
        self._states = {"done": line.n_done, "failed": 0, "waiting": line.n_to_do}

    def __enter__(self) -> Monitor:
        """The run begins: what its study has reached before is shown."""
        self._to_metrics(self._begin)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        wait_s = _LONGEST_WAIT_S if error is None else _INTERRUPTED_WAIT_S
        guarded(self._say, "logs", lambda: self._writer.end(wait_s))

    def extracting(self, n_images: int) -> None:
        """So many images are to be extracted."""
        self._to_line(lambda line: line.extracting(n_images))

    def extracted(self, n_images: int) -> None:
        """Images were extracted."""
        self._to_line(lambda line: line.extracted(n_images))
        self._to_metrics(lambda metrics: metrics.images(n_images))

    def store(self, size_bytes: int) -> None:
        """Size of the activations that the run reads."""
        self._to_metrics(lambda metrics: metrics.store(size_bytes))

    def measured(self, cell: Cell, cost: float, *, failed: bool, steps: int) -> None:
        """A cell has its row, whose cost was estimated so, after so many optimiser steps."""
        self._states["failed" if failed else "done"] += 1
        self._states["waiting"] -= 1
        found = guarded(self._say, "live view", lambda: self._read(cell))
        seconds = _number(found.row.get("wall_s")) if found and not failed else None
        self._to_line(lambda line: line.measured(cost, failed=failed, seconds=seconds))
        if found is None:
            return

        def tell(metrics: Metrics) -> None:
            metrics.cells(**self._states)
            metrics.trained(steps=steps, seconds=seconds or 0.0)
            self._best(metrics, found.row)

        self._to_metrics(tell)
        guarded(self._say, "logs", lambda: self._writer.add(found))

    def _to_line(self, tell: Callable[[Progress], None]) -> None:
        guarded(self._say, "progress", lambda: tell(self._line))

    def _to_metrics(self, tell: Callable[[Metrics], None]) -> None:
        """Metrics that fail are not told again."""
        metrics = self._metrics
        if metrics is not None and guarded(self._say, "metrics", lambda: (tell(metrics),)) is None:
            self._metrics = None

    def _begin(self, metrics: Metrics) -> None:
        metrics.cells(**self._states)
        for results in self._results.folders:
            for row in study_rows(results.root).rows.values():
                self._best(metrics, row)

    def _read(self, cell: Cell) -> Finished:
        row = self._results.row(cell.cell_id)
        curves, suggestions = self._results.curves(cell.cell_id), self._results.suggestions(cell.cell_id)
        order = self._depths[cell.readout]
        depth = 0.0 if order is None else float(cell.column(order))  # pyright: ignore[reportArgumentType]
        return Finished(on_one_line(cell.name), row, cell.names, depth, curves, suggestions)

    def _best(self, metrics: Metrics, row: Row) -> None:
        headline = self._headlines.get(str(row["readout"]), "")
        value = row.get(headline)
        if isinstance(value, int | float):
            metrics.measure(str(row["dataset"]), str(row["backbone"]), headline, value)


def _depth(dimensions: Iterable[Dimension]) -> str | None:
    """Column that orders cells by depth; None where nothing does."""
    return next((one.order for one in dimensions if one.role == "depth"), None)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
