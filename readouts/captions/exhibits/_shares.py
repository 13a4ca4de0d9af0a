"""What captions speak of, by layer: the stacked area of category shares (after the figure of the published work)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from frozen.readout.exhibit import Exhibit
from readouts.captions.exhibits._base import Row, captioned, panels, titled

LEAST_PERCENT = 5.0
"""Categories that reach this share at some layer have a colour of their own, as in the published figure."""
OTHERS = "others"


def shares(rows: Sequence[Row]) -> Iterator[Exhibit]:
    """One figure for the study, of backbones that are no controls."""
    values: list[dict[str, Any]] = []
    for (dataset, backbone, translator), of in captioned(rows).items():
        if len(of) > 1 and not of[0].get("is_control"):
            about = {"dataset": dataset, "backbone": backbone, "translator": translator}
            values += [about | {"of": titled(rows)[dataset, backbone, translator]} | value for value in stacked(of)]
    if values:
        yield Exhibit(
            "Categories of caption parts",
            f"Share of the parts of a caption that belong to a category, mean over captions; categories below "
            f"{LEAST_PERCENT:g} % at every layer are others. Shares say what captions speak of, not whether it is "
            "true: captions of a closed grammar have nearly the same shares whatever they get right.",
            "Stacked areas of category shares over layers.",
            partial(draw_shares, values),
        )


def stacked(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Share of every category at every layer, small ones together."""
    by_layer = [json.loads(row.get("shares") or "{}") for row in rows]
    most: dict[str, float] = {}
    for of in by_layer:
        for category, (value, *_) in of.items():
            most[category] = max(most.get(category, 0.0), value)
    shown = [category for category, value in most.items() if value >= LEAST_PERCENT]
    found = []
    for place, (row, of) in enumerate(zip(rows, by_layer, strict=True)):
        rest = sum(value for category, (value, *_) in of.items() if category not in shown)
        parts = {category: of.get(category, [0.0])[0] for category in shown} | ({OTHERS: rest} if of else {})
        layer = {"layer": row["layer"], "place": place}
        found += [{**layer, "category": name, "percent": round(value, 3)} for name, value in parts.items()]
    return found


def draw_shares(values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A Vega-Lite specification of stacked areas."""
    x = {"field": "layer", "type": "ordinal", "sort": {"field": "place", "op": "min"}, "title": "layer"}
    return {
        "data": {"values": list(values)},
        "facet": panels(values),
        "columns": 2,
        "spec": {
            "width": 255,
            "height": 180,
            "mark": {"type": "area", "line": {"strokeWidth": 0.5}},
            "encoding": {
                "x": {**x, "axis": {"labelAngle": 0}},
                "y": {
                    "field": "percent",
                    "type": "quantitative",
                    "stack": "zero",
                    "title": "percent of parts",
                    "scale": {"domain": [0, 100]},
                },
                "color": {
                    "field": "category",
                    "type": "nominal",
                    "title": None,
                    "scale": {"scheme": "tableau20"},
                    "legend": {"columns": 1, "symbolLimit": 40},
                },
                "tooltip": [{"field": name} for name in ("of", "layer", "category", "percent")],
            },
        },
    }
