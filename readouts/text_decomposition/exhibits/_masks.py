"""Maps against masks, number by number."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from frozen.readout.exhibit import Exhibit
from readouts.text_decomposition.exhibits._base import Row, drawn, of, panel_of, panels, place

_MEASURES = {
    "pointing_percent": "pointing game",
    "pixel_accuracy_percent": "pixel accuracy",
    "iou_percent": "mean IoU",
    "precision_percent": "average precision",
}


def masks(rows: Sequence[Row]) -> Iterator[Exhibit]:
    """A table of numbers for each data set and backbone."""
    yield from drawn(
        cells(rows),
        "Maps against masks",
        "How well the maps of texts fit the masks of what the texts name, in percent: how often the largest "
        "patch touches it (chance: the share of patches that do), and the segmentation of the map at its "
        "threshold.",
        "Tables of percentages, a row for each map and a column for each measure.",
        draw,
    )


def cells(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """One for each measure of each map."""
    for row in of(rows, "heatmap"):
        for column, label in _MEASURES.items():
            value = row.get(column)
            if value is None or math.isnan(value):
                continue
            name = str(row["term"])
            numbers = {"value": value, "low": row[f"{column}_low"], "high": row[f"{column}_high"]}
            yield {
                **place(row),
                **{end: round(float(number), 2) for end, number in numbers.items()},
                "of": panel_of(row),
                "map": f"{row['layer']}.{name[5:]}" if name.startswith("head ") else name,
                "measure": label,
                "chance": round(float(row["chance_percent"]), 2) if label == "pointing game" else None,
            }


def draw(values: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A Vega-Lite specification."""
    tips = [{"field": name} for name in ("map", "measure", "value", "low", "high", "chance")]
    x = {"field": "measure", "type": "nominal", "sort": list(_MEASURES.values()), "title": None}
    y = {"field": "map", "type": "nominal", "sort": None, "title": None, "axis": {"labelLimit": 220}}
    color = {"field": "value", "type": "quantitative", "title": "%", "scale": {"scheme": "blues", "domain": [0, 100]}}
    rect = {
        "mark": "rect",
        "encoding": {"x": {**x, "axis": {"labelAngle": -20}}, "y": y, "color": color, "tooltip": tips},
    }
    text = {
        "mark": {"type": "text", "fontSize": 11},
        "encoding": {
            "x": {**x, "axis": {"labelAngle": -20}},
            "y": y,
            "text": {"field": "value", "format": ".1f"},
            "color": {"condition": {"test": "datum.value > 60", "value": "white"}, "value": "#111"},
            "tooltip": tips,
        },
    }
    n_maps = len({value["map"] for value in values})
    return panels(values, {"width": 300, "height": 24 * n_maps, "layer": [rect, text]}, columns=2)
