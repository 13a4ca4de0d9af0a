"""A list of captions in which one can search."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from frozen.readout.exhibit import Exhibit
from readouts.captions.exhibits._base import Row, captioned, samples_of

N_IMAGES = 60
SHOWN = 24


def search(results: Path, rows: Sequence[Row]) -> Iterator[Exhibit]:
    """One list for the study, of backbones that are no controls."""
    values: list[dict[str, Any]] = []
    for (dataset, backbone, translator), of in captioned(rows).items():
        if of[0].get("is_control"):
            continue
        about = {"dataset": dataset, "backbone": backbone, "translator": translator}
        for row in of:
            samples = samples_of(results, row)
            texts = [] if samples is None else samples["caption"].slice(0, N_IMAGES).to_pylist()
            about |= {"layer": row["layer"], "place": row["layer_index"]}
            values += [about | {"image": i, "caption": text} for i, text in enumerate(texts)]
    if values:
        yield Exhibit(
            "Search the captions",
            f"Captions of the first {N_IMAGES} images; write words or a regular expression, and in the second field "
            f"a layer. The first {SHOWN} of those found are listed, with the number of all.",
            "A list of captions.",
            partial(draw_search, values),
        )


def draw_search(values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A Vega-Lite specification of text with two input fields."""
    line = {"y": {"field": "line", "type": "ordinal", "axis": None, "scale": {"domain": list(range(1, SHOWN + 1))}}}
    columns = {"image": 30, "layer": 75, "translator": 125, "caption": 190}
    texts = [
        {
            "mark": {"type": "text", "align": "left" if name == "caption" else "center", "fontSize": 11},
            "encoding": {**line, "x": {"value": place}, "text": {"field": name, "type": "nominal"}},
        }
        for name, place in columns.items()
    ]
    is_found = "(words === '' || test(regexp(words, 'i'), datum.caption))"
    is_there = "(of === '' || ('' + datum.layer) === of)"
    headings = [
        {
            "data": {"values": [{"text": name}]},
            "mark": {"type": "text", "align": "left" if name == "caption" else "center", "fontWeight": "bold"},
            "encoding": {"x": {"value": place}, "y": {"value": -10}, "text": {"field": "text", "type": "nominal"}},
        }
        for name, place in columns.items()
    ]
    count = {
        "transform": [{"aggregate": [{"op": "count", "as": "n"}]}],
        "mark": {"type": "text", "align": "right", "fontSize": 11, "color": "#6b7480"},
        "encoding": {
            "x": {"value": 690},
            "y": {"value": -10},
            "text": {"field": "n", "type": "quantitative", "format": ",d"},
        },
    }
    number = {"window": [{"op": "row_number", "as": "line"}], "sort": [{"field": "image"}, {"field": "place"}]}
    return {
        "data": {"values": list(values)},
        "params": [
            {"name": "words", "value": "", "bind": {"input": "text", "placeholder": "red square", "name": "words "}},
            {"name": "of", "value": "", "bind": {"input": "text", "placeholder": "3", "name": "layer "}},
        ],
        "transform": [{"filter": f"{is_found} && {is_there}"}],
        "width": 700,
        "height": 18 * SHOWN,
        "layer": [
            {"transform": [number, {"filter": f"datum.line <= {SHOWN}"}], "layer": texts},
            count,
            *headings,
        ],
        "config": {"view": {"stroke": None}},
    }
