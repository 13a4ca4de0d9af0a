"""Metrics of a study through Ray, for Prometheus: on each node's metrics port with the prefix `ray_`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

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


class Metrics:
    """The metrics of one run; Ray must be running."""

    def __init__(self, study: str) -> None:
        from ray.util.metrics import Counter, Gauge

        kinds = {"gauge": Gauge, "counter": Counter}
        self._study = study
        self._metrics: dict[str, Any] = {
            name: kinds[metric.kind](name, description=metric.description, tag_keys=("study", *metric.tags))
            for name, metric in METRICS.items()
        }
        self._best: dict[tuple[str, ...], float] = {}

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
        self._metrics[name].set(value, tags={"study": self._study, **tags})

    def _add(self, name: str, value: float) -> None:
        if value > 0:  # Ray refuses to count nothing
            self._metrics[name].inc(value, tags={"study": self._study})
