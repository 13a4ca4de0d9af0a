"""The Grafana dashboard asks for metrics that exist, by labels that they have."""

from __future__ import annotations

import json
import queue
import re
from pathlib import Path
from typing import Any

import pytest
import ray.util.metrics

from sweep.live import METRICS, Metrics
from sweep.live._metrics import exported_name

DASHBOARD = json.loads((Path(__file__).parents[3] / "monitoring" / "grafana.json").read_text())
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
LABELS = {exported_name(name): {"study", *metric.tags} for name, metric in METRICS.items()}


def test_every_query_names_metrics_and_labels_that_exist() -> None:
    for query in QUERIES:
        names = set(re.findall(r"ray_\w+", query))
        assert names, query
        assert names <= set(LABELS), query
        used = {label for group in re.findall(r"by \(([^)]*)\)", query) for label in group.split(", ")}
        used |= set(re.findall(r"(\w+)=", query))
        assert used <= set.union(*(LABELS[name] for name in names)), query


def test_every_metric_is_shown() -> None:
    assert set(LABELS) == {name for query in QUERIES for name in re.findall(r"ray_\w+", query)}


def test_variables_are_defined() -> None:
    defined = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    assert set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD))) - {"__all"} <= defined
    assert "ray_sweep_cells" in json.dumps(DASHBOARD["templating"])


class Instrument:
    """Stands for one of Ray's metrics, which need a running cluster; tells what it is set to."""

    told: queue.Queue[tuple[str, float, dict[str, str]]] = queue.Queue()

    def __init__(self, name: str, **_: Any) -> None:
        self.name = name

    def set(self, value: float, tags: dict[str, str]) -> None:
        self.told.put((self.name, value, tags))


def test_gauges_are_set_again_with_their_last_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray.util.metrics, "Gauge", Instrument)
    monkeypatch.setattr(ray.util.metrics, "Counter", Instrument)
    metrics = Metrics("mine", refresh_s=0.01)
    metrics.store(5)
    metrics.store(7)
    with metrics:
        told = [Instrument.told.get(timeout=30) for _ in range(4)]
    assert told[2:] == [("sweep_store_bytes", 7, {"study": "mine"})] * 2


class Strict(Instrument):
    """Takes what Ray takes: tags of ASCII alone; and one gauge of it has died."""

    def set(self, value: float, tags: dict[str, str]) -> None:
        for text in tags.values():
            text.encode("ascii")
        if value == 13:
            raise RuntimeError("a gauge that fails")
        super().set(value, tags)

    def inc(self, value: float, tags: dict[str, str]) -> None:
        self.set(value, tags)


def test_names_beyond_ascii_are_escaped_and_one_gauge_spares_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ray.util.metrics, "Gauge", Strict)
    monkeypatch.setattr(ray.util.metrics, "Counter", Strict)
    Strict.told = queue.Queue()
    metrics = Metrics("étude", refresh_s=0.01)
    metrics.measure("日本", "activations:données_\udcff\u202e\n.npz", "binding_ratio", 0.5)
    with pytest.raises(RuntimeError):
        metrics.cells(done=13, failed=0, waiting=0)
    metrics.images(3)
    expected = {
        "study": r"\xe9tude",
        "dataset": r"\u65e5\u672c",
        "backbone": r"activations:donn\xe9es_\udcff\u202e\n.npz",
        "measure": "binding_ratio",
    }
    assert Strict.told.get(timeout=30) == ("sweep_best_measure", 0.5, expected)
    assert Strict.told.get(timeout=30) == ("sweep_images", 3, {"study": r"\xe9tude"})
    metrics.store(7)
    with metrics:
        told = [Strict.told.get(timeout=30)[0] for _ in range(7)]
    assert {"sweep_best_measure", "sweep_store_bytes"} <= set(told[1:])
