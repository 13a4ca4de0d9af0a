"""Named pairs by layer: right, swapped within the scene, or not there; and which shape is said of a colour."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from frozen.data.spec import AnyDataset, has_object_codes
from frozen.readout.exhibit import Exhibit
from readouts.captions.exhibits._base import Row, captioned, panels, samples_of, titled
from readouts.captions.parsing import Parser

KINDS = {"right": "#009E73", "swapped": "#E69F00", "not there": "#B8C0C8"}
"""Named pairs, and their colours."""
MOST_DRAWN = 4


def pairs(results: Path, rows: Sequence[Row], scenes: Mapping[str, AnyDataset]) -> Iterator[Exhibit]:
    """The parts of named pairs by layer, and one matrix a backbone and translator."""
    found, names = captioned(rows), titled(rows)
    values = [value for key, of in found.items() if len(of) > 1 for row in of for value in parts_of(row, names[key])]
    if values:
        yield Exhibit(
            "Named pairs: right, swapped, or not there",
            "Of the colour-shape pairs that captions name: an object's own; two words that are both true of the "
            "image but of different objects; and pairs with a word that is not true. The tick is the share that "
            "would be right if the shapes of each image were dealt out anew.",
            "Stacked bars of pairs by layer.",
            partial(draw_parts, values),
        )
    known = {
        key: of
        for key, of in captioned(rows).items()
        if not of[0].get("is_control") and key[0] in scenes and has_object_codes(scenes[key[0]])
    }
    for (dataset, backbone, translator), of in list(known.items())[:MOST_DRAWN]:
        scene: Any = scenes[dataset]
        parser = Parser(scene.space)
        found = [value for row in of for value in confusion(results, row, parser)] if parser.bound else []
        if found:
            first, second = (parser.space.groups[group].name for group in parser.bound or ())
            suffix = "" if translator == "none" else f", translator {translator}"
            yield Exhibit(
                f"Which {second} is said of a {first}: {dataset}, {backbone}{suffix}",
                f"Of the pairs whose {first} is that of one object in the image: the {second} of this object, and "
                f"the {second} that the caption gives it, in percent of a row.",
                f"A matrix of true and said {second}s for every layer.",
                partial(draw_confusion, found, second),
            )


def parts_of(row: Row, title: str) -> Iterator[dict[str, Any]]:
    """The three parts of a row's pairs."""
    right, swapped, chance = (row.get(f"{name}_percent") for name in ("pair_precision", "swap", "swap_chance"))
    if right is None or swapped is None or chance is None:
        return
    about = {name: row[name] for name in ("dataset", "backbone", "translator", "layer")}
    about |= {"of": title, "place": row["layer_index"]}
    values = {"right": right, "swapped": swapped, "not there": max(0.0, 100 - right - swapped)}
    for number, (kind, value) in enumerate(values.items()):
        yield {
            **about,
            "pairs": kind,
            "order": number,
            "percent": round(value, 2),
            "chance": right + swapped - chance,
        }


def draw_parts(values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A Vega-Lite specification of stacked bars."""
    x = {"field": "layer", "type": "ordinal", "sort": {"field": "place", "op": "min"}, "title": "layer"}
    y = {"type": "quantitative", "title": "percent of named pairs", "scale": {"domain": [0, 100]}}
    color = {
        "field": "pairs",
        "type": "nominal",
        "title": None,
        "scale": {"domain": list(KINDS), "range": list(KINDS.values())},
    }
    tooltip = [{"field": name} for name in ("of", "layer", "pairs", "percent")]
    return {
        "data": {"values": list(values)},
        "facet": panels(values),
        "columns": 2,
        "spec": {
            "width": 235,
            "height": 150,
            "layer": [
                {
                    "mark": "bar",
                    "encoding": {
                        "x": {**x, "axis": {"labelAngle": 0}},
                        "y": {"field": "percent", "stack": "zero", **y},
                        "color": color,
                        "order": {"field": "order"},
                        "tooltip": tooltip,
                    },
                },
                {
                    "mark": {"type": "tick", "color": "#1f2933", "thickness": 2},
                    "encoding": {"x": x, "y": {"field": "chance", "aggregate": "mean", **y}},
                },
            ],
        },
    }


def confusion(results: Path, row: Row, parser: Parser) -> Iterator[dict[str, Any]]:
    """Shares of said second values by the true one, over pairs whose first value is that of exactly one object."""
    samples = samples_of(results, row)
    if samples is None or parser.bound is None or "true_caption" not in samples.column_names:
        return
    said, true = (parser.read_all(samples[name].to_pylist()) for name in ("caption", "true_caption"))
    counts: Counter[tuple[int, int]] = Counter()
    for one, other in zip(said, true, strict=True):
        for first, second in one.pairs:
            own = [pair[1] for pair in other.pairs if pair[0] == first]
            if len(own) == 1:
                counts[own[0], second] += 1
    names = parser.space.groups[parser.bound[1]].values
    totals = Counter({place: 0 for place, _ in enumerate(names)})
    for (own, _), number in counts.items():
        totals[own] += number
    for own, name in enumerate(names):
        for second, other in enumerate(names):
            if totals[own]:
                percent = round(100 * counts[own, second] / totals[own], 1)
                about = {"layer": row["layer"], "place": row["layer_index"], "n": counts[own, second]}
                yield {**about, "true": name, "said": other, "percent": percent}


def draw_confusion(values: Sequence[Mapping[str, Any]], what: str) -> dict[str, Any]:
    """A Vega-Lite specification of matrices, one a layer."""
    layers = list(dict.fromkeys(str(value["layer"]) for value in sorted(values, key=lambda value: value["place"])))
    cell = {
        "x": {"field": "said", "type": "nominal", "title": f"{what} said", "axis": {"labelAngle": -40}},
        "y": {"field": "true", "type": "nominal", "title": f"{what} of the object"},
    }
    is_dark = {"condition": {"test": "datum.percent > 55", "value": "white"}, "value": "#1f2933"}
    scale = {"scheme": "blues", "domain": [0, 100]}
    return {
        "data": {"values": list(values)},
        "facet": {"field": "layer", "type": "ordinal", "sort": layers, "title": "layer"},
        "columns": 4,
        "spec": {
            "width": {"step": 30},
            "height": {"step": 24},
            "layer": [
                {
                    "mark": "rect",
                    "encoding": {
                        **cell,
                        "color": {"field": "percent", "type": "quantitative", "title": "percent", "scale": scale},
                        "tooltip": [{"field": name} for name in ("layer", "true", "said", "percent", "n")],
                    },
                },
                {
                    "mark": {"type": "text", "fontSize": 9},
                    "encoding": {**cell, "text": {"field": "percent", "format": ".0f"}, "color": is_dark},
                },
            ],
        },
    }
