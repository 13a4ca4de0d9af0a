"""Classifiers: accuracy against their size, and what single decisions and whole classes are made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from matplotlib.figure import Figure

from frozen.readout.exhibit import Exhibit
from readouts.concepts.exhibits._base import Row, StudyResults, about, bars, picture

_MOST_FIGURES = 3
_LOCAL, _CLASSES = 4, 6


def paths(source: StudyResults) -> Iterator[Exhibit]:
    """Accuracy against weights a class, of all classifiers."""
    values = [value for row in source.of("classifier") for value in _steps(source, row)]
    if values:
        yield Exhibit(
            "Accuracy against size",
            "Test accuracy of each classifier along its path of penalties, against the weights of a class that are "
            "not zero. Those trained with Adam have no zeros.",
            "Lines of accuracy against weights a class, by backbone.",
            partial(draw_paths, values),
        )


def _steps(source: StudyResults, row: Row) -> Iterator[dict[str, Any]]:
    for one in source.table(row, "path") or ():
        yield {
            "dataset": row["dataset"],
            "backbone": row["backbone"],
            "of": f"{row['dataset']} · {row['backbone']}",
            "dictionary": row["dictionary"],
            "classifier": f"{row['variant']} · {row['dictionary']}",
            "weights": max(round(one["weights_per_class"], 3), 0.01),
            "accuracy": round(one["test_percent"], 2),
            "penalty": one["penalty"],
        }


def draw_paths(values: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A Vega-Lite specification."""
    x = {"field": "weights", "type": "quantitative", "title": "weights a class", "scale": {"type": "log"}}
    y = {"field": "accuracy", "type": "quantitative", "title": "test accuracy, %", "scale": {"zero": False}}
    legend = {"orient": "bottom", "columns": 2, "labelLimit": 420, "title": None}
    panel = {
        "width": 300,
        "height": 220,
        "mark": {"type": "line", "point": True, "strokeWidth": 1.6},
        "encoding": {
            "x": x,
            "y": y,
            "color": {"field": "classifier", "type": "nominal", "legend": legend},
            "order": {"field": "weights", "type": "quantitative"},
            "tooltip": [{"field": name} for name in ("classifier", "weights", "accuracy", "penalty")],
        },
    }
    header = {"labelLimit": 520, "title": None}
    facet = {"field": "of", "type": "nominal", "title": None, "sort": None, "header": header}
    return {"data": {"values": list(values)}, "facet": facet, "columns": 2, "spec": panel}


def _on_codes(source: StudyResults) -> list[Row]:
    """The first classifier on codes of every dictionary."""
    rows: dict[tuple[str, str], Row] = {}
    for row in source.firsts("classifier"):
        if (source.results / "local" / f"{row['cell_id']}.parquet").is_file():
            rows.setdefault((str(row["dataset"]), about(row)), row)
    return list(rows.values())[:_MOST_FIGURES]


def _classes(source: StudyResults, row: Row) -> list[str]:
    space = source.scenes[row["dataset"]].space
    features = [value for group in space.groups for value in group.values]
    return features if str(row["variant"]).startswith("features") else list(space.object_names)


def local_pictures(source: StudyResults) -> Iterator[Exhibit]:
    """Single decisions (paper: local explanations)."""
    for row in _on_codes(source):
        if row["dataset"] in source.scenes and (table := source.table(row, "local")):
            yield Exhibit(
                f"Decisions: {row['dataset']}, {about(row)}",
                f"The first test images, and the atoms that add most to the logit of the class given "
                f"({row['variant']}). All contributions of an image sum to its logit; atoms of one name stay two "
                "bars.",
                "Images, each with bars of contributions.",
                partial(draw_local, source, row, table[:_LOCAL]),
            )


def draw_local(source: StudyResults, row: Row, table: list[dict[str, Any]]) -> Figure:
    """Images at the left, bars at their right."""
    names, classes = source.names(row), _classes(source, row)
    images = source.images(row["dataset"], [one["image"] for one in table])
    lines = -(-len(table) // 2)
    figure = Figure(figsize=(7.6, 1.5 * lines), dpi=200)
    for i, one in enumerate(table):
        line, side = divmod(i, 2)
        bottom, left = 1 - (line + 0.92) / lines, 0.5 * side
        picture(figure.add_axes((left + 0.005, bottom + 0.1 / lines, 0.13, 0.62 / lines)), images[i])
        axes = figure.add_axes((left + 0.285, bottom + 0.1 / lines, 0.2, 0.66 / lines))
        bars(axes, [source.word(names, atom) for atom in one["atoms"]], one["contributions"])
        verdict = "right" if one["is_right"] else "wrong"
        text = f"{classes[one['class']]} ({verdict}), logit {one['logit']:.1f}"
        figure.text(left + 0.005, bottom + 0.82 / lines, text, fontsize=7.5, color="#3d4650", parse_math=False)
    return figure


def global_pictures(source: StudyResults) -> Iterator[Exhibit]:
    """Whole classes (paper: global explanations)."""
    for row in _on_codes(source):
        if row["dataset"] in source.scenes and (table := source.table(row, "global")):
            yield Exhibit(
                f"Classes: {row['dataset']}, {about(row)}",
                "Left bars: what atoms add, on average, to the class on images that are given it, beyond all images. "
                "Right bars, as published: how much stronger atoms are on images that show it, which no weight of "
                "the classifier enters.",
                "For some classes, bars of atoms by both rules.",
                partial(draw_global, source, row, table),
            )


def draw_global(source: StudyResults, row: Row, table: list[dict[str, Any]]) -> Figure:
    """Classes down, both rules across."""
    names, classes = source.names(row), _classes(source, row)
    shown = sorted({one["class"] for one in table})[:_CLASSES]
    figure = Figure(figsize=(7.2, 1.25 * len(shown)), dpi=200)
    for line, number in enumerate(shown):
        bottom = 1 - (line + 0.88) / len(shown)
        figure.text(0.005, bottom + 0.35 / len(shown), classes[number], fontsize=7.5, parse_math=False)
        for side, by in enumerate(("classifier", "images")):
            for one in table:
                if one["class"] == number and one["by"] == by:
                    axes = figure.add_axes((0.3 + 0.37 * side, bottom, 0.18, 0.72 / len(shown)))
                    bars(axes, [source.word(names, atom) for atom in one["atoms"]], one["values"])
                    axes.set_title("by the classifier" if by == "classifier" else "by images", fontsize=6.5, pad=2)
    return figure
