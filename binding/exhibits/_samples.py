"""Binding against the number of training samples."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from binding.exhibits._base import Exhibit

_MEASURES = {"binding_ratio": "β*", "direct_binding_ratio": "β*_direct"}
_PLACE = ("backbone", "layer", "mode", "probe")


def sample_sizes(rows: Sequence[Mapping[str, Any]]) -> Iterator[Exhibit]:
    """Curves over the number of training samples, where a study varies it and nothing else."""
    values = list(size_points(rows))
    if values:
        yield Exhibit(
            "Training samples",
            "Binding ratio against the number of training samples, everything else equal, with intervals. A curve "
            "that still rises at its right end says that more samples would show more.",
            "Curves of the binding ratio over the number of training samples.",
            partial(draw_sizes, values),
        )


def size_points(rows: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The points of all curves with at least two sizes: a measure's value and interval."""
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        if row.get("status", "done") == "done" and row.get("n_train"):
            groups.setdefault((_without_size(row), *(str(row[name]) for name in _PLACE)), []).append(row)
    for group in groups.values():
        if len({row["n_train"] for row in group}) < 2:
            continue
        for row in sorted(group, key=lambda row: row["n_train"]):
            for column, symbol in _MEASURES.items():
                if row.get(column) is not None:
                    yield _point(row, column, symbol)


def _without_size(row: Mapping[str, Any]) -> str:
    """The data set's settings without the size of its training split."""
    parameters = json.loads(row["dataset_parameters"])
    if isinstance(parameters.get("split"), dict):
        parameters["split"].pop("train", None)
    return json.dumps(parameters, sort_keys=True)


def _point(row: Mapping[str, Any], column: str, symbol: str) -> dict[str, Any]:
    place = {name: str(row[name]) for name in (*_PLACE, "dataset")}
    return {
        **place,
        "of": f"{place['backbone']} · {place['mode']} · layer {place['layer']}",
        "series": place["probe"],
        "measure": symbol,
        "samples": row["n_train"],
        "value": row[column],
        "low": row.get(f"{column}_low"),
        "high": row.get(f"{column}_high"),
    }


def draw_sizes(values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A Vega-Lite specification of the curves with their intervals."""
    x = {"field": "samples", "type": "quantitative", "title": "training samples", "scale": {"type": "log"}}
    color = {"field": "series", "type": "nominal", "title": None}
    dash = {"field": "measure", "type": "nominal", "title": None}
    y = {"field": "value", "type": "quantitative", "title": "ratio"}
    tips = ("series", "measure", "samples", "value", "low", "high")
    return {
        "data": {"values": list(values)},
        "facet": {
            "field": "of",
            "type": "nominal",
            "title": None,
            "sort": None,
            "header": {"labelLimit": 600, "labelAnchor": "start"},
        },
        "columns": 2,
        "spec": {
            "width": 260,
            "height": 180,
            "layer": [
                {
                    "mark": {"type": "rule", "opacity": 0.6},
                    "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}, "color": color},
                },
                {
                    "mark": {"type": "line", "point": True},
                    "encoding": {
                        "x": x,
                        "y": y,
                        "color": color,
                        "strokeDash": dash,
                        "tooltip": [{"field": name} for name in tips],
                    },
                },
            ],
        },
    }
