"""Maps against masks, number by number."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from frozen.readout.exhibit import Exhibit
from readouts.text_decomposition.exhibits._base import Row, of, panel_of, panels, place

_MEASURES = {
    "pointing_percent": "pointing game",
    "pixel_accuracy_percent": "pixel accuracy",
    "iou_percent": "mean IoU",
    "precision_percent": "average precision",
}


def masks(rows: Sequence[Row]) -> Iterator[Exhibit]:
    """A table of numbers for each data set and backbone."""
    values = list(cells(rows))
    if values:
        yield Exhibit(
            "Maps against masks",
            "How well the maps of texts fit the masks of what the texts name, in percent: how often the largest "
            "patch touches it (chance: the share of patches that do), and the segmentation of the map at its "
            "threshold.",
            "Tables of percentages, a row for each map and a column for each measure.",
            partial(draw, values),
        )


def cells(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """One for each measure of each map."""
    for row in of(rows, "heatmap"):
        numbers = {label: row.get(column) for column, label in _MEASURES.items()}
        ends = {label: (row.get(f"{column}_low"), row.get(f"{column}_high")) for column, label in _MEASURES.items()}
        for label, value in numbers.items():
            if value is not None and not math.isnan(value):
                yield {
                    **place(row),
                    "of": panel_of(row),
                    "map": str(row["term"]) if row["layer"] == "final" else f"{row['layer']}.{str(row['term'])[5:]}",
                    "measure": label,
                    "value": round(float(value), 2),
                    "low": round(float(ends[label][0]), 2),
                    "high": round(float(ends[label][1]), 2),
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
