"""The bits budget: what part of H(O) a probe reads as features, what part as binding, and what it does not read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from frozen.readout.exhibit import Exhibit

PARTS = {"features": "#5E4FA2", "binding": "#A6C939", "unread": "#B8C0C8"}
"""Parts of H(O) and their colours, which no line of a report's figures has, from left to right."""
_LETTER_HEIGHT = 14
_ESTIMATES = ("feature_information_bits", "binding_information_bits", "object_information_bits")
_PLACE = ("dataset", "backbone", "mode", "probe")


def bits_budgets(rows: Sequence[Mapping[str, Any]]) -> Iterator[Exhibit]:
    """One bar a data set, backbone, mode and probe, where H(O) is known."""
    chosen = best_layers(rows)
    if chosen:
        yield Exhibit(
            "Bits budget",
            "H(O) in bits, split into what is read of the features (B_F), what is read of their binding (B*), "
            "and what is not read; at the layer with the largest B_O. Whiskers are the intervals of B_F "
            "and of B_O = B_F + B*; where B* is negative the latter lies inside the part of the features.",
            "Stacked bars of feature information, binding information and unread bits.",
            partial(draw_budget, chosen),
        )


def best_layers(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The row with the largest B_O for each data set, backbone, mode and probe."""
    best: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for row in rows:
        if not all(_is_number(row.get(name)) for name in ("object_entropy_bits", *_ESTIMATES)):
            continue
        place = tuple(row.get(name) for name in (*_PLACE, "dataset_parameters"))
        if place not in best or row["object_information_bits"] > best[place]["object_information_bits"]:
            best[place] = row
    return sorted(best.values(), key=lambda row: (bool(row.get("is_control")), *(str(row[name]) for name in _PLACE)))


def draw_budget(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A Vega-Lite specification of the bars."""
    values = [value for row in rows for value in budget(row)]
    bars = list(dict.fromkeys(value["bar"] for value in values))
    bits = {"type": "quantitative", "title": "bits of H(O)"}
    bar = {"field": "bar", "type": "nominal", "title": None, "sort": bars, "axis": None}
    colours = {"domain": list(PARTS), "range": list(PARTS.values())}
    tooltip = [{"field": name, "type": "nominal"} for name in (*_PLACE, "layer", "part", "estimate", "H(O)")]
    below = {"yOffset": _LETTER_HEIGHT / 2}
    parts = {
        "mark": {"type": "bar", "height": 11, **below},
        "encoding": {
            "y": bar,
            "x": {"field": "start", **bits},
            "x2": {"field": "end"},
            "color": {"field": "part", "type": "nominal", "title": None, "sort": list(PARTS), "scale": colours},
            "tooltip": tooltip,
        },
    }
    whiskers = {
        "mark": {"type": "rule", "strokeWidth": 1.4, **below},
        "encoding": {"y": bar, "x": {"field": "low", **bits}, "x2": {"field": "high"}},
    }
    # a label above its bar takes no width from it
    labels = {
        "transform": [{"filter": f"datum.part == '{next(iter(PARTS))}'"}],
        "mark": {
            "type": "text",
            "align": "left",
            "baseline": "middle",
            "fontSize": 12,
            "yOffset": -_LETTER_HEIGHT / 2,
        },
        "encoding": {"y": bar, "x": {"value": 0}, "text": {"field": "bar"}},
    }
    height = {"step": 11 + 2 * _LETTER_HEIGHT}
    return {"data": {"values": values}, "width": 820, "height": height, "layer": [parts, whiskers, labels]}


def budget(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The three parts of one row's bar, with start and end in bits and the interval of where the part ends."""
    entropy = row["object_entropy_bits"]
    features, both = (max(0.0, row[name]) for name in ("feature_information_bits", "object_information_bits"))
    both = max(features, both)
    ends = {"features": (0.0, features), "binding": (features, both), "unread": (both, max(both, entropy))}
    columns = {"features": _ESTIMATES[0], "binding": _ESTIMATES[1]}
    whiskers = {"features": _ESTIMATES[0], "binding": _ESTIMATES[2]}
    place = {name: str(row.get(name)) for name in (*_PLACE, "layer")}
    return [
        {
            **place,
            "bar": " · ".join(place.values()),
            "H(O)": f"{entropy:.2f} bits",
            "part": part,
            "start": round(start, 4),
            "end": round(end, 4),
            "estimate": _text(row, columns[part]) if part in columns else f"{end - start:.2f} bits",
            "low": _bound(row, whiskers.get(part), "low"),
            "high": _bound(row, whiskers.get(part), "high"),
        }
        for part, (start, end) in ends.items()
    ]


def _bound(row: Mapping[str, Any], column: str | None, which: str) -> float | None:
    value: Any = row.get(f"{column}_{which}")
    return round(max(0.0, value), 4) if _is_number(value) else None


def _text(row: Mapping[str, Any], column: str) -> str:
    low, high = row.get(f"{column}_low"), row.get(f"{column}_high")
    interval = f" [{low:.2f}, {high:.2f}]" if _is_number(low) and _is_number(high) else ""
    return f"{row[column]:.2f}{interval} bits"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
