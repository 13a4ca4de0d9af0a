"""Tells everything that follows a run what has happened: the progress line, the metrics, the logs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType

import pyarrow as pa

from binding.fit import FitConfig
from binding.terminal import on_one_line
from sweep.cells import Cell
from sweep.live._guard import LogWriter, Say, guarded
from sweep.live._logs import Finished, Log
from sweep.live._metrics import Metrics
from sweep.live._optuna import tried
from sweep.progress import Progress
from sweep.results import ResultsDirectory, Row

_LONGEST_WAIT_S, _INTERRUPTED_WAIT_S = 30.0, 5.0


class Monitor:
    """Follows one run, inside `with`; nothing that goes wrong here reaches the run or holds it up.

    Args:
        line: the progress line.
        results: where rows are read from.
        metrics: for Prometheus; None for none.
        logs: by name.
        headline: the measure of which the best is shown.
        say: prints what fails.
    """

    def __init__(
        self,
        line: Progress,
        results: ResultsDirectory,
        metrics: Metrics | None,
        logs: Mapping[str, Log],
        headline: str,
        say: Say,
    ) -> None:
        self._line, self._results, self._say = line, results, say
        self._metrics, self._headline = metrics, headline
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

    def measured(self, cell: Cell, cost: float, *, failed: bool, n_train: int) -> None:
        """A cell has its row, whose cost was estimated so."""
        self._states["failed" if failed else "done"] += 1
        self._states["waiting"] -= 1
        found = guarded(self._say, "live view", lambda: self._read(cell))
        seconds = _number(found.row.get("wall_s")) if found and not failed else None
        self._to_line(lambda line: line.measured(cost, failed=failed, seconds=seconds))
        if found is None:
            return

        def tell(metrics: Metrics) -> None:
            metrics.cells(**self._states)
            metrics.trained(steps=_steps(cell.settings.fit, found, n_train), seconds=seconds or 0.0)
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
        for row in self._results.rows().values():
            self._best(metrics, row)

    def _read(self, cell: Cell) -> Finished:
        row = self._results.row(cell.cell_id)
        return Finished(on_one_line(cell.name), row, self._results.curves(cell.cell_id))

    def _best(self, metrics: Metrics, row: Row) -> None:
        value = row.get(self._headline)
        if isinstance(value, int | float):
            metrics.measure(str(row["dataset"]), str(row["backbone"]), self._headline, value)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _steps(fit: FitConfig, finished: Finished, n_train: int) -> int:
    """Optimiser steps of all probes of a cell; the search trains the winner with the first seed."""
    if finished.curves is None:
        return 0
    suggestions = {target: found for target, found in tried(finished).items() if found}
    epochs = sum(len(one["curve"]) for found in suggestions.values() for one in found)
    epochs += sum(not (seed == 0 and target in suggestions) for target, seed in _trainings(finished.curves))
    return epochs * -(-n_train // (fit.batch_size * fit.accumulate))


def _trainings(curves: pa.Table) -> list[tuple[str, int]]:
    """Target and seed of every epoch of the final trainings."""
    return list(zip(curves["target"].to_pylist(), curves["seed"].to_pylist(), strict=True))
