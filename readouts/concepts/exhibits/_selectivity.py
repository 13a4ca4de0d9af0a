"""Conjunction against feature selectivity of every atom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from frozen.readout.exhibit import Exhibit
from readouts.concepts.exhibits._base import Row, StudyResults, panels

_COLOURS = {"conjunction": "#E69F00", "feature": "#0072B2", "other": "#8f99a3"}


def selectivities(source: StudyResults) -> Iterator[Exhibit]:
    """One drawing a data set and dictionary, the backbones side by side."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in source.firsts("binding"):
        groups.setdefault((row["dataset"], row["site"], row["dictionary"]), []).append(row)
    for (dataset, site, dictionary), rows in groups.items():
        values = [value for row in rows for value in _values(source, row)]
        if values:
            yield Exhibit(
                f"Features or conjunctions: {dataset}, {site}, {dictionary}",
                "Every point is an atom. Across: how well it tells its object kind from all other images. Up: how "
                "well it tells that object from its features on different objects, where a detector of features is "
                "at one half; the line is its interval.",
                "Scatter of the bound AUC of every atom against its AUC for the object kind, by backbone.",
                partial(draw, values),
            )


def _values(source: StudyResults, row: Row) -> Iterator[dict[str, Any]]:
    names = source.names(row)
    for one in source.table(row, "selectivity") or ():
        if one["auc_bound"] is not None:
            keys = ("auc_object", "auc_bound", "auc_bound_low", "auc_bound_high", "auc_feature", "density")
            yield {
                "dataset": row["dataset"],
                "backbone": row["backbone"],
                "atom": source.word(names, one["atom"]),
                "object": one["object"],
                "feature": one["feature"],
                "kind": one["kind"],
                **{key: round(one[key], 4) for key in keys},
            }


def draw(values: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A Vega-Lite specification."""
    colour = {
        "field": "kind",
        "type": "nominal",
        "title": None,
        "scale": {"domain": list(_COLOURS), "range": list(_COLOURS.values())},
    }
    scale = {"domain": [0.3, 1.0], "nice": False, "clamp": True, "zero": False}
    x = {"field": "auc_object", "type": "quantitative", "title": "AUC, object", "scale": scale}
    y = {"field": "auc_bound", "type": "quantitative", "title": "AUC, object against its features apart"}
    tooltip = [
        {"field": name, "type": "nominal"} for name in ("atom", "object", "feature", "auc_object", "auc_bound")
    ]
    points = {
        "mark": {"type": "point", "filled": True, "size": 46, "opacity": 0.85},
        "encoding": {"x": x, "y": {**y, "scale": scale}, "color": colour, "tooltip": tooltip},
    }
    lines = {
        "mark": {"type": "rule", "opacity": 0.45},
        "encoding": {
            "x": x,
            "y": {"field": "auc_bound_low", "type": "quantitative", "title": y["title"], "scale": scale},
            "y2": {"field": "auc_bound_high"},
            "color": colour,
        },
    }
    at_half = {"datum": 0.5, "type": "quantitative", "title": y["title"], "scale": scale}
    half = {"mark": {"type": "rule", "strokeDash": [4, 3], "color": "#8f99a3"}, "encoding": {"y": at_half}}
    return panels(values, {"height": 260, "layer": [half, lines, points]}, by="backbone")
