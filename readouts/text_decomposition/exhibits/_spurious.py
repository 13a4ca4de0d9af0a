"""Accuracy without the heads of a cue: for the class, in the worst group, and for the cue itself."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

from frozen.readout.exhibit import Exhibit
from readouts.text_decomposition.exhibits._base import Row, drawn, of, panel_of, panels, place

_MEASURES = {"accuracy_percent": "class", "worst_group_percent": "class, worst group", "cue_percent": "cue"}
_ENDS = {"value": "", "low": "_low", "high": "_high"}


def spurious(rows: Sequence[Row]) -> Iterator[Exhibit]:
    """Points for every policy."""
    yield from drawn(
        points(rows),
        "Without the heads of a cue",
        "Zero-shot accuracy, with intervals, of the class (in all images, and in the worst group of class and "
        "cue) and of the cue, with all terms and without heads that were chosen on validation images; random "
        "heads are equally many in the same layers.",
        "Points with intervals, a row for each choice of heads.",
        draw,
    )


def group_bars(rows: Sequence[Row]) -> Iterator[Exhibit]:
    """Bars of the groups, for every policy."""
    yield from drawn(
        bars(rows),
        "Accuracy of each group",
        "Zero-shot accuracy of the class in every group of class and cue, with intervals, with all terms and without "
        "heads; the lowest bar of a choice of heads, its worst group, has the full colour.",
        "Bars of accuracy, for each group one of each choice of heads.",
        draw_bars,
    )


def bars(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """One for each group of each row."""
    for row in of(rows, "spurious"):
        percents, ends = (json.loads(row.get(f"group_{name}") or "{}") for name in ("percents", "intervals"))
        least, most = (end(percents.values(), default=0) for end in (min, max))
        for group, percent in percents.items():
            own = {**place(row), "of": panel_of(row), "group": group, "removed": row["term"]}
            low, high = ends.get(group, (None, None))
            is_worst = percent == least < most
            yield {**own, "accuracy": percent, "low": low, "high": high, "worst": is_worst}


def draw_bars(values: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A Vega-Lite specification."""
    y = {"field": "group", "type": "nominal", "title": None, "sort": None, "axis": {"labelLimit": 200}}
    offset = {"field": "removed", "sort": None}
    x = {"type": "quantitative", "title": "accuracy, %", "scale": {"domain": [0, 100]}, "axis": {"tickCount": 5}}
    legend = {"orient": "bottom", "columns": 2, "labelLimit": 300}
    color = {"field": "removed", "type": "nominal", "title": None, "sort": None, "legend": legend}
    opacity = {"condition": {"test": "datum.worst", "value": 1}, "value": 0.4}
    tips = [{"field": name} for name in ("of", "removed", "group", "accuracy", "low", "high")]
    bar = {
        "mark": {"type": "bar"},
        "encoding": {
            "y": y,
            "yOffset": offset,
            "x": {**x, "field": "accuracy"},
            "color": color,
            "opacity": opacity,
            "tooltip": tips,
        },
    }
    rule = {
        "transform": [{"filter": "isValid(datum.low)"}],
        "mark": {"type": "rule", "color": "#333"},
        "encoding": {
            "y": y,
            "yOffset": offset,
            "x": {**x, "field": "low"},
            "x2": {"field": "high"},
            "tooltip": tips,
        },
    }
    n_groups, n_policies = (len({value[name] for value in values}) for name in ("group", "removed"))
    height = (12 * n_policies + 8) * n_groups
    return panels(values, {"width": 330, "height": height, "layer": [bar, rule]}, columns=2)


def points(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """One for each measure of each row."""
    for row in of(rows, "spurious"):
        for column, label in _MEASURES.items():
            ends = {name: _number(row.get(f"{column}{end}")) for name, end in _ENDS.items()}
            if not any(map(math.isnan, ends.values())):
                numbers = {name: round(value, 2) for name, value in ends.items()}
                yield {**place(row), **numbers, "of": panel_of(row), "removed": row["term"], "measure": label}


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def draw(values: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A Vega-Lite specification."""
    color = {"field": "measure", "type": "nominal", "title": None, "sort": None, "legend": {"orient": "bottom"}}
    y = {"field": "removed", "type": "nominal", "title": None, "sort": None, "axis": {"labelLimit": 260}}
    x = {"type": "quantitative", "title": "accuracy, %", "scale": {"domain": [0, 100]}, "axis": {"tickCount": 5}}
    shared = {"y": y, "yOffset": {"field": "measure", "sort": None}, "color": color}
    tips = [{"field": name} for name in ("removed", "measure", "value", "low", "high")]
    rule = {
        "mark": {"type": "rule", "strokeWidth": 2},
        "encoding": {"x": {**x, "field": "low"}, "x2": {"field": "high"}, **shared},
    }
    point = {
        "mark": {"type": "point", "filled": True, "size": 50},
        "encoding": {"x": {**x, "field": "value"}, **shared, "tooltip": tips},
    }
    n_rows = len({value["removed"] for value in values})
    return panels(values, {"width": 300, "height": 52 * n_rows, "layer": [rule, point]}, columns=2)
