"""The Grafana dashboard asks for metrics that exist, by labels that they have."""

from __future__ import annotations

import json
import re
from pathlib import Path

from sweep.live import METRICS
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
