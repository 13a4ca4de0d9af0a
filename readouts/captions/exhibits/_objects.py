"""Object words by layer, against instance labels: what is named of what is there, and what is named and not there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from frozen.readout.exhibit import Exhibit
from readouts.captions.exhibits._base import Row, captioned, panels, titled

LINES = {
    "object_word_recall": ("named, of what is there", "#0072B2"),
    "hallucination": ("not there, of what is named", "#D55E00"),
}
"""Measures, what they are called, and their colours."""


def objects(rows: Sequence[Row]) -> Iterator[Exhibit]:
    """One figure for the study, of photos with instance labels."""
    found, names = captioned(rows), titled(rows)
    values = [value for key, of in found.items() if len(of) > 1 for row in of for value in _values(row, names[key])]
    if values:
        yield Exhibit(
            "Objects named, and objects that are not there",
            "Categories of the instance labels: the share of those in the image that its caption names, and the "
            "share of those named that the image does not show (hallucination). Dashed: the same captions held "
            "against the other images. Where a line meets its dashes, captions name what images show in general. "
            "Bands are intervals over images.",
            "Lines of percentages over layers, each with a dashed line for chance.",
            partial(draw_objects, values),
        )


def _values(row: Row, title: str) -> Iterator[dict[str, Any]]:
    for column, (name, _) in LINES.items():
        if row.get(f"{column}_percent") is not None:
            yield {
                "of": title,
                "layer": row["layer"],
                "position": row["layer_index"] + 0.5 * (row["layer"] == "final"),
                "measure": name,
                "percent": round(row[f"{column}_percent"], 2),
                "low": round(row[f"{column}_percent_low"], 2),
                "high": round(row[f"{column}_percent_high"], 2),
                "chance": round(row[f"{column}_chance_percent"], 2),
            }


def draw_objects(values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A Vega-Lite specification: a panel a data set, backbone and translator."""
    x = {"field": "layer", "type": "ordinal", "sort": {"field": "position", "op": "min"}, "title": "layer"}
    y = {"type": "quantitative", "scale": {"domain": [0, 100]}, "title": "percent"}
    color = {
        "field": "measure",
        "type": "nominal",
        "title": None,
        "scale": {"domain": [name for name, _ in LINES.values()], "range": [color for _, color in LINES.values()]},
        "legend": {"orient": "top", "symbolOpacity": 1, "labelLimit": 0},
    }
    shared = {"x": {**x, "axis": {"labelAngle": 0}}, "color": color}
    tooltip = [{"field": name} for name in ("of", "layer", "measure", "percent", "low", "high", "chance")]
    return {
        "data": {"values": list(values)},
        "facet": panels(values),
        "columns": 2,
        "spec": {
            "width": 300,
            "height": 200,
            "layer": [
                {
                    "mark": {"type": "area", "opacity": 0.15},
                    "encoding": {**shared, "y": {"field": "low", **y}, "y2": {"field": "high"}},
                },
                {
                    "mark": {"type": "line", "strokeDash": [4, 3], "strokeWidth": 1.2},
                    "encoding": {**shared, "y": {"field": "chance", **y}},
                },
                {
                    "mark": {"type": "line", "point": {"size": 22}, "strokeWidth": 1.8},
                    "encoding": {**shared, "y": {"field": "percent", **y}, "tooltip": tooltip},
                },
            ],
        },
    }
