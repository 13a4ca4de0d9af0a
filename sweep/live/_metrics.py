"""Metrics of a study through Ray, for Prometheus: on each node's metrics port with the prefix `ray_`."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, NamedTuple

from binding.terminal import on_one_line

_REFRESH_S = 5.0  # Ray drops a gauge that nobody has set for two of its reports, 20 s by default

Tags = Mapping[str, str]


class Metric(NamedTuple):
    """A metric: what it counts and by what it is told apart, besides the study."""

    kind: str
    description: str
    tags: tuple[str, ...] = ()


METRICS = {
    "sweep_cells": Metric("gauge", "Cells of the run by state: done, failed, waiting", ("state",)),
    "sweep_images": Metric("counter", "Images extracted"),
    "sweep_probe_steps": Metric("counter", "Optimiser steps of all probes, counted when their cell is done"),
    "sweep_cell_seconds": Metric("counter", "Seconds that finished cells took, summed over workers"),
    "sweep_store_bytes": Metric("gauge", "Bytes of activations that the run reads"),
    "sweep_best_measure": Metric(
        "gauge", "Largest headline measure of a backbone so far", ("dataset", "backbone", "measure")
    ),
}
"""By name, without Ray's prefix; counters are exported with the suffix `_total`."""


def exported_name(name: str) -> str:
    """The name under which Prometheus finds a metric."""
    return f"ray_{name}_total" if METRICS[name].kind == "counter" else f"ray_{name}"


def tag_text(text: str) -> str:
    """A tag's value: Ray takes no sign beyond ASCII, so those are escaped, as are those that act."""
    return on_one_line(text).encode("ascii", "backslashreplace").decode()


class Metrics:
    """The metrics of one run; Ray must be running. Inside `with`, gauges are set again every few seconds.

    Args:
        study: its name, a tag of every metric.
        refresh_s: seconds after which gauges are set again.
    """

    def __init__(self, study: str, *, refresh_s: float = _REFRESH_S) -> None:
        from ray.util.metrics import Counter, Gauge

        kinds = {"gauge": Gauge, "counter": Counter}
        self._study = tag_text(study)
        self._metrics: dict[str, Any] = {
            name: kinds[metric.kind](name, description=metric.description, tag_keys=("study", *metric.tags))
            for name, metric in METRICS.items()
        }
        self._best: dict[tuple[str, ...], float] = {}
        self._gauges: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
        self._ended = threading.Event()
        self._refresher = threading.Thread(target=self._refresh, args=(refresh_s,), daemon=True)

    def __enter__(self) -> Metrics:
        self._refresher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._refresher.join()

    def cells(self, *, done: int, failed: int, waiting: int) -> None:
        """How many cells are in which state."""
        for state, count in (("done", done), ("failed", failed), ("waiting", waiting)):
            self._set("sweep_cells", count, state=state)

    def images(self, number: int) -> None:
        """Count extracted images."""
        self._add("sweep_images", number)

    def trained(self, *, steps: int, seconds: float) -> None:
        """Count the optimiser steps and the time of a cell."""
        self._add("sweep_probe_steps", steps)
        self._add("sweep_cell_seconds", seconds)

    def store(self, size_bytes: int) -> None:
        """How large the run's activations are."""
        self._set("sweep_store_bytes", size_bytes)

    def measure(self, dataset: str, backbone: str, name: str, value: float) -> None:
        """A cell's headline measure; the largest of each backbone is shown."""
        key = (dataset, backbone, name)
        self._best[key] = max(value, self._best.get(key, value))
        self._set("sweep_best_measure", self._best[key], dataset=dataset, backbone=backbone, measure=name)

    def _set(self, name: str, value: float, **tags: str) -> None:
        every = {"study": self._study, **{key: tag_text(text) for key, text in tags.items()}}
        self._gauges[name, tuple(every.items())] = value
        self._metrics[name].set(value, tags=every)

    def _refresh(self, refresh_s: float) -> None:
        while not self._ended.wait(refresh_s):
            for (name, tags), value in list(self._gauges.items()):
                with suppress(Exception):  # the others are still worth refreshing
                    self._metrics[name].set(value, tags=dict(tags))

    def _add(self, name: str, value: float) -> None:
        if value > 0:  # Ray refuses to count nothing
            self._metrics[name].inc(value, tags={"study": self._study})
