"""Accuracy without some of the terms: layer by layer, and for sets of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from frozen.readout.exhibit import Exhibit
from readouts.text_decomposition.asked import UP_TO_HERE
from readouts.text_decomposition.exhibits._base import Row, depth, drawn, of, panels, place

_BASELINE = "none"


def ablations(rows: Sequence[Row]) -> Iterator[Exhibit]:
    """The curve over layers, and the bars of the sets."""
    has_curve = any(row["term"] == UP_TO_HERE for row in of(rows, "ablation"))
    yield from drawn(
        curve(rows) if has_curve else (),
        "Accuracy without attention",
        "Zero-shot accuracy when the attention of all layers up to here is replaced by its mean, MLPs "
        "kept, with intervals. The first point is the model as it is.",
        "Curves of accuracy over the last layer that is replaced.",
        draw_curve,
    )
    yield from drawn(
        of_sets(rows),
        "Accuracy without MLPs and other sets",
        "Change of zero-shot accuracy, in percentage points, when a set of terms is replaced by its mean; cls "
        "attention is what heads read from the CLS token.",
        "Points with intervals, a row for each set of terms.",
        draw_sets,
    )


def curve(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Points of the curves, the baseline first."""
    for row in of(rows, "decomposition"):
        yield {**_point(row, "accuracy_percent"), "up to": _BASELINE, "number": -2}
    for row in of(rows, "ablation"):
        if row["term"] == UP_TO_HERE:
            yield {**_point(row, "accuracy_percent"), "up to": str(row["layer"]), "number": depth(str(row["layer"]))}


def of_sets(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Points of the sets."""
    for row in of(rows, "ablation"):
        if row["term"] != UP_TO_HERE:
            yield {**_point(row, "change_percent"), "set": row["term"]}


def _point(row: Row, column: str) -> dict[str, Any]:
    ends = zip(("value", "low", "high"), ("", "_low", "_high"), strict=True)
    numbers = {name: round(float(row[f"{column}{end}"]), 3) for name, end in ends}
    return {**place(row), **numbers, "of": str(row["dataset"])}


def draw_curve(values: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A Vega-Lite specification."""
    names = [name for _, name in sorted({(value["number"], value["up to"]) for value in values})]
    x = {
        "field": "up to",
        "type": "ordinal",
        "sort": names,
        "title": "replaced up to layer",
        "axis": {"labelAngle": 0},
    }
    color = {"field": "backbone", "type": "nominal", "title": None, "legend": {"orient": "bottom", "labelLimit": 400}}
    y = {"type": "quantitative", "title": "accuracy, %", "scale": {"domain": [0, 100]}}
    band = {
        "mark": {"type": "area", "opacity": 0.18},
        "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}, "color": color},
    }
    tips = [{"field": name} for name in ("backbone", "up to", "value", "low", "high")]
    line = {
        "mark": {"type": "line", "point": True},
        "encoding": {"x": x, "y": {**y, "field": "value"}, "color": color, "tooltip": tips},
    }
    return panels(values, {"width": 300, "height": 200, "layer": [band, line]}, columns=3)


def draw_sets(values: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A Vega-Lite specification."""
    color = {"field": "backbone", "type": "nominal", "title": None, "legend": {"orient": "bottom", "labelLimit": 400}}
    y = {"field": "set", "type": "nominal", "title": None, "sort": None, "axis": {"labelLimit": 260}}
    offset = {"field": "backbone"}
    low, high = (end(value[name] for value in values) for end, name in ((min, "low"), (max, "high")))
    scale = {"domain": [min(-1.0, 1.1 * low), max(1.0, 1.1 * high)]}
    x = {"type": "quantitative", "title": "change of accuracy, points", "scale": scale, "axis": {"tickCount": 5}}
    rule = {
        "mark": {"type": "rule", "strokeWidth": 2},
        "encoding": {
            "x": {**x, "field": "low"},
            "x2": {"field": "high"},
            "y": y,
            "yOffset": offset,
            "color": color,
        },
    }
    tips = [{"field": name} for name in ("backbone", "set", "value", "low", "high")]
    point = {
        "mark": {"type": "point", "filled": True, "size": 50},
        "encoding": {"x": {**x, "field": "value"}, "y": y, "yOffset": offset, "color": color, "tooltip": tips},
    }
    n_sets = len({value["set"] for value in values})
    return panels(values, {"width": 260, "height": 44 * n_sets, "layer": [rule, point]}, columns=3)
