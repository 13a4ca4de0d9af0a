"""What becomes readable in which order: recalls and likelihoods by layer, and where each is half there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from frozen.intervals import IntervalConfig
from frozen.readout.exhibit import Exhibit
from readouts.captions.emergence import emergence
from readouts.captions.exhibits._base import Row, captioned, panels, samples_of, titled

CURVES = {
    "retrieval_percent": "retrieval",
    "choice_accuracy_percent": "forced choice",
    "color_recall_percent": "colour words",
    "shape_recall_percent": "shape words",
    "count_accuracy_percent": "number word",
    "object_recall_percent": "pairs",
    "object_word_recall_percent": "object words",
    "exact_percent": "whole caption",
}
"""Measures in percent, and what they are called in the figures."""
_COLORS = ("#56B4E9", "#0072B2", "#D55E00", "#CC79A7", "#B8A000", "#009E73", "#882255", "#1f2933")
_RESAMPLES = 1000


def _scale(values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Colours of the measures that there are; a measure has the same colour in every report."""
    there = {value["measure"] for value in values}
    shown = [(name, color) for name, color in zip(CURVES.values(), _COLORS, strict=True) if name in there]
    return {"domain": [name for name, _ in shown], "range": [color for _, color in shown]}


def curves(rows: Sequence[Row]) -> Iterator[Exhibit]:
    """One figure for the study."""
    found, names = captioned(rows), titled(rows)
    values = [value for key, of in found.items() if len(of) > 1 for row in of for value in _values(row, names[key])]
    if values:
        yield Exhibit(
            "What becomes readable at which depth",
            "Colour, shape and number words, pairs and whole captions that the written captions have right; and by "
            "likelihood, without writing, whether the true caption is told from the one with colours swapped (forced "
            "choice, chance 50 %) and from those of other images (retrieval). Of photos, object words that instance "
            "labels bear out. Bands are intervals over images. "
            "Likelihoods lead the written words where a layer knows more than it says.",
            "Lines of percentages over layers, one a measure.",
            partial(draw_curves, values),
        )


def _values(row: Row, title: str) -> Iterator[dict[str, Any]]:
    for column, name in CURVES.items():
        if row.get(column) is not None:
            yield {
                "dataset": row["dataset"],
                "backbone": row["backbone"],
                "translator": row["translator"],
                "of": title,
                "layer": row["layer"],
                "position": row["layer_index"] + 0.5 * (row["layer"] == "final"),
                "measure": name,
                "percent": round(row[column], 2),
                "low": round(row[f"{column}_low"], 2),
                "high": round(row[f"{column}_high"], 2),
            }


def draw_curves(values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A Vega-Lite specification: a panel a backbone and translator."""
    x = {
        "field": "layer",
        "type": "ordinal",
        "sort": {"field": "position", "op": "min"},
        "title": "layer",
        "axis": {"labelAngle": 0},
    }
    scale = {"domain": [0, 100]}
    color = {
        "field": "measure",
        "type": "nominal",
        "title": None,
        "scale": _scale(values),
        "legend": {"columns": 1, "symbolOpacity": 1},
    }
    tooltip = [{"field": name} for name in ("of", "layer", "measure", "percent", "low", "high")]
    return {
        "data": {"values": list(values)},
        "facet": panels(values),
        "columns": 2,
        "spec": {
            "width": 255,
            "height": 200,
            "layer": [
                {
                    "mark": {"type": "area", "opacity": 0.15},
                    "encoding": {
                        "x": x,
                        "y": {"field": "low", "type": "quantitative", "scale": scale, "title": "percent"},
                        "y2": {"field": "high"},
                        "color": color,
                    },
                },
                {
                    "mark": {"type": "line", "point": {"size": 22}, "strokeWidth": 1.8},
                    "encoding": {
                        "x": x,
                        "y": {"field": "percent", "type": "quantitative", "scale": scale, "title": "percent"},
                        "color": color,
                        "tooltip": tooltip,
                    },
                },
            ],
        },
    }


def orders(results: Path, rows: Sequence[Row]) -> Iterator[Exhibit]:
    """One figure for the study: of backbones that are no controls."""
    values: list[dict[str, Any]] = []
    for (dataset, backbone, translator), of in captioned(rows).items():
        tables = [table for row in of if (table := samples_of(results, row)) is not None]
        if of[0].get("is_control") or len(tables) != len(of) or len(of) < 2:
            continue
        config = IntervalConfig(level=of[0]["interval_level"], resamples=_RESAMPLES)
        layers = [str(row["layer"]) for row in of]
        for column, place in emergence(tables, _chances(of[-1]), config, seed=of[0]["seed"]).items():
            about = {"dataset": dataset, "backbone": backbone, "translator": translator, "measure": CURVES[column]}
            about |= {"of": titled(rows)[dataset, backbone, translator]}
            ends = {"place": place.place, "low": place.low, "high": place.high}
            names = ", ".join(f"{number} = {layer}" for number, layer in enumerate(layers))
            values.append({**about, **ends, "layer": layers[place.place], "layers": names})
    if values:
        yield Exhibit(
            "Order of appearance",
            "The first layer at which a measure has half of its value at the last layer or more, both above chance "
            "(forced choice 50 %, retrieval one over the candidates, object words that of other images, the others "
            "0), with the interval over images (one draw of images for all layers). Layers are counted from the "
            f"first one of the study: {values[0]['layers']}.",
            "Dots with whiskers: the layer at which each measure is half there.",
            partial(draw_orders, values),
        )


def _chances(row: Row) -> dict[str, float]:
    """Share of each measure that is there by chance, for object words that of the last layer."""
    by_chance = {
        "choice_accuracy_percent": 0.5,
        "retrieval_percent": 1 / (row.get("candidates") or 1),
        "object_word_recall_percent": (row.get("object_word_recall_chance_percent") or 0) / 100,
    }
    return {column: by_chance.get(column, 0.0) for column in CURVES}


def draw_orders(values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A Vega-Lite specification of dots with whiskers."""
    most = max(value["high"] for value in values)
    y = {"field": "measure", "type": "nominal", "title": None, "sort": list(CURVES.values())}
    axis = {"values": list(range(most + 1)), "format": "d", "grid": True}
    x = {"type": "quantitative", "scale": {"domain": [0, max(most, 1)]}, "axis": axis}
    title = "layer, counted from the study's first"
    color = {"field": "measure", "type": "nominal", "scale": _scale(values), "legend": None}
    tooltip = [{"field": name} for name in ("of", "measure", "layer", "place", "low", "high")]
    return {
        "data": {"values": list(values)},
        "facet": panels(values),
        "columns": 2,
        "spec": {
            "width": 220,
            "height": {"step": 20},
            "layer": [
                {
                    "mark": {"type": "rule", "strokeWidth": 2},
                    "encoding": {
                        "y": y,
                        "x": {"field": "low", "title": title, **x},
                        "x2": {"field": "high"},
                        "color": color,
                    },
                },
                {
                    "mark": {"type": "point", "filled": True, "size": 65, "opacity": 1},
                    "encoding": {
                        "y": y,
                        "x": {"field": "place", "title": title, **x},
                        "color": color,
                        "tooltip": tooltip,
                    },
                },
            ],
        },
    }
