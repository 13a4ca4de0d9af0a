"""Atoms with their names: strongest images in every data set, and a table to search in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from matplotlib.figure import Figure

from frozen.readout.exhibit import Exhibit
from readouts.concepts.exhibits._base import Row, StudyResults, about, picture

_ATOMS, _IMAGES = 8, 4
_MOST_FIGURES = 4
_INCHES = 0.78
_MOST_IN_TABLE = 20


def atom_galleries(source: StudyResults) -> Iterator[Exhibit]:
    """The best-named atoms and their strongest images in every data set (paper: task agnosticity)."""
    groups: dict[str, list[Row]] = {}
    for row in source.firsts("codes"):
        groups.setdefault(about(row), []).append(row)
    for name, rows in list(groups.items())[:_MOST_FIGURES]:
        names = source.names(rows[0])
        if names is not None:
            yield Exhibit(
                f"Atoms and their strongest images: {name}",
                f"Of the living atoms with the best name scores, one a name, the {_IMAGES} strongest test images of "
                "each data set. Only the code is used: no data set has labels in it.",
                "Rows of images, a row an atom.",
                partial(draw_gallery, source, rows, names),
            )


def draw_gallery(source: StudyResults, rows: Sequence[Row], names: list[dict[str, Any]]) -> Figure:
    """A grid of images: atoms down, data sets across."""
    tops = [source.table(row, "strongest") or [] for row in rows]
    chosen: list[dict[str, Any]] = []
    for one in sorted(names, key=lambda one: -one["score"]):
        if one["fires"] and one["name"] == one["text"] and one["name"] not in {other["name"] for other in chosen}:
            chosen.append(one)
    chosen = chosen[:_ATOMS]
    columns = len(rows) * _IMAGES
    width, height = 1.55 + columns * _INCHES, 0.3 + len(chosen) * _INCHES
    figure = Figure(figsize=(width, height), dpi=200)
    for line, one in enumerate(chosen):
        top = 1 - (0.28 + line * _INCHES) / height
        label = f"{one['name']}\natom {one['atom']}, cos {one['score']:.2f}"
        figure.text(0.01, top - 0.5 * _INCHES / height, label, fontsize=6.5, va="center", parse_math=False)
        for place, (row, table) in enumerate(zip(rows, tops, strict=True)):
            numbers = [number for number in table[one["atom"]]["samples"] if number >= 0][:_IMAGES]
            images = source.images(row["dataset"], numbers) if numbers else ()
            for i in range(_IMAGES):
                left = (1.5 + (place * _IMAGES + i) * _INCHES) / width
                size = (0.92 * _INCHES / width, 0.92 * _INCHES / height)
                axes = figure.add_axes((left, top - size[1], *size))
                picture(axes, images[i] if i < len(numbers) else None)
    for place, row in enumerate(rows):
        left = (1.5 + place * _IMAGES * _INCHES) / width
        figure.text(left, 1 - 0.16 / height, f"data set {row['dataset']}", fontsize=7, color="#3d4650")
    return figure


def atom_tables(source: StudyResults) -> Iterator[Exhibit]:
    """All atoms of all dictionaries in one table with a field to search in."""
    values = [value for row in source.firsts("names") for value in _values(source, row)]
    if values:
        yield Exhibit(
            "Search among atoms",
            f"Type a part of a name. At most {_MOST_IN_TABLE} atoms are shown, the best scores first; a text below "
            "the threshold of the null is in grey, with a question mark.",
            "A table of atoms with name, score, z and what they detect.",
            partial(draw_table, values),
        )


def _values(source: StudyResults, row: Row) -> Iterator[dict[str, Any]]:
    for one in source.table(row, "names") or ():
        if one["fires"]:
            is_named = one["name"] == one["text"]
            yield {
                "dataset": row["dataset"],
                "backbone": row["backbone"],
                "dictionary": row["dictionary"],
                "atom": str(one["atom"]),
                "name": one["name"] if is_named else f"{one['text']}?",
                "named": is_named,
                "cosine": round(one["score"], 3),
                "z": round(one["z"], 1),
                "detects": one["truth"] or "–",
            }


def draw_table(values: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A Vega-Lite specification: a text a column, rows chosen by the search."""
    columns = {"name": 0, "detects": 130, "cosine": 250, "z": 300, "atom": 340, "dictionary": 385, "backbone": 495}
    layers = []
    for field, left in columns.items():
        text = {"type": "text", "align": "left", "x": left, "fontSize": 11}
        colour = {"condition": {"test": "datum.named", "value": "#3d4650"}, "value": "#98a2ad"}
        layers.append(
            {
                "mark": text,
                "encoding": {"text": {"field": field, "type": "nominal"}, "color": colour},
            }
        )
        layers.append(
            {
                "transform": [{"filter": "datum.rank == 1"}],
                "mark": {**text, "fontWeight": "bold", "dy": -17},
                "encoding": {"text": {"value": field}},
            }
        )
    search = {
        "name": "search",
        "value": "",
        "bind": {"input": "search", "name": "name contains ", "placeholder": "red"},
    }
    return {
        "data": {"values": list(values)},
        "params": [search],
        "transform": [
            {"filter": "search == '' || indexof(lower(datum.name), lower(search)) >= 0"},
            {"window": [{"op": "row_number", "as": "rank"}], "sort": [{"field": "cosine", "order": "descending"}]},
            {"filter": f"datum.rank <= {_MOST_IN_TABLE}"},
        ],
        "width": 740,
        "height": 18 * (_MOST_IN_TABLE + 1),
        "encoding": {
            "y": {
                "field": "rank",
                "type": "quantitative",
                "axis": None,
                "scale": {"domain": [0, _MOST_IN_TABLE + 1], "reverse": True},
            }
        },
        "layer": layers,
        "config": {"view": {"stroke": None}},
    }
