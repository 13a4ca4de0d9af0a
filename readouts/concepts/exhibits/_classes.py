"""Classifiers: accuracy against their size, and what single decisions and whole classes are made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from matplotlib.figure import Figure

from frozen.readout.exhibit import Exhibit
from readouts.concepts.exhibits._base import (
    Row,
    StudyResults,
    about,
    bars,
    coloured,
    logarithmic,
    panels,
    picture,
)

_MOST_FIGURES = 3
_LOCAL, _CLASSES = 4, 6


def accuracies(source: StudyResults) -> Iterator[Exhibit]:
    """Accuracy against concepts a decision, of all classifiers; and with a few atoms a class, of those on codes."""
    rows = list(source.of("classifier"))
    along = [
        _point(row, one["concepts_per_decision"], one["test_percent"]) | {"penalty": one["penalty"]}
        for row in rows
        for one in source.table(row, "path") or ()
    ]
    few = [
        _point(row, one["atoms"], one["test_percent"])
        for row in rows
        if "from codes" in str(row["variant"])
        for one in source.table(row, "budgets") or ()
    ]
    if along:
        yield Exhibit(
            "Accuracy against concepts a decision",
            "Test accuracy of each classifier along its path of penalties, against the atoms (or dimensions) that "
            "make up 95 % of the positive contributions to the class given. One trained with Adam is a point.",
            "Lines of accuracy against concepts a decision, by backbone.",
            partial(draw_accuracies, along, "concepts a decision"),
        )
    if few:
        yield Exhibit(
            "Accuracy with few atoms a class",
            "Test accuracy when only the strongest atoms of each class keep their weights, by absolute weight times "
            "the atom's root mean square. A dense classifier loses more than its accuracy with all weights tells.",
            "Lines of accuracy against atoms a class, by backbone.",
            partial(draw_accuracies, few, "atoms a class"),
        )


def _point(row: Row, concepts: float, accuracy: float) -> dict[str, Any]:
    return {
        "dataset": row["dataset"],
        "backbone": row["backbone"],
        "of": f"{row['dataset']} · {row['backbone']}",
        "dictionary": row["dictionary"],
        "classifier": f"{row['variant']} · {row['dictionary']}",
        "concepts": max(round(concepts, 3), 0.01),
        "accuracy": round(accuracy, 2),
    }


def draw_accuracies(values: Sequence[dict[str, Any]], title: str) -> dict[str, Any]:
    """A Vega-Lite specification."""
    encoding = {
        "x": logarithmic("concepts", title),
        "y": {"field": "accuracy", "type": "quantitative", "title": "test accuracy, %", "scale": {"zero": False}},
        "color": coloured("classifier"),
        "order": {"field": "concepts", "type": "quantitative"},
        "tooltip": [{"field": name} for name in ("classifier", "concepts", "accuracy", "penalty")],
    }
    mark = {"type": "line", "point": True, "strokeWidth": 1.6}
    return panels(values, {"height": 220, "mark": mark, "encoding": encoding})


def _on_codes(source: StudyResults) -> list[Row]:
    """The first classifier on codes of every dictionary."""
    rows: dict[tuple[str, str], Row] = {}
    for row in source.firsts("classifier"):
        if (source.results / "local" / f"{row['cell_id']}.parquet").is_file():
            rows.setdefault((str(row["dataset"]), about(row)), row)
    return list(rows.values())[:_MOST_FIGURES]


def _class(source: StudyResults, row: Row, number: int) -> str:
    return source.class_of(row["dataset"], str(row["variant"]).partition(" ")[0], number)


def explanations(source: StudyResults) -> Iterator[Exhibit]:
    """Single decisions (paper: local explanations), then whole classes (global explanations)."""
    rows = [row for row in _on_codes(source) if row["dataset"] in source.scenes]
    for row in rows:
        if table := source.table(row, "local"):
            yield Exhibit(
                f"Decisions: {row['dataset']}, {about(row)}",
                f"The first test images, and the atoms that add most to the logit of the class given "
                f"({row['variant']}). All contributions of an image sum to its logit; atoms of one name stay two "
                "bars.",
                "Images, each with bars of contributions.",
                partial(draw_local, source, row, table[:_LOCAL]),
            )
    for row in rows:
        if table := source.table(row, "global"):
            yield Exhibit(
                f"Classes: {row['dataset']}, {about(row)}",
                "Left bars: what atoms add, on average, to the class on images that are given it, beyond all images. "
                "Right bars, as published: how much stronger atoms are on images that show it, which no weight of "
                "the classifier enters.",
                "For some classes, bars of atoms by both rules.",
                partial(draw_global, source, row, table),
            )


def draw_local(source: StudyResults, row: Row, table: list[dict[str, Any]]) -> Figure:
    """Images at the left, bars at their right."""
    names = source.names(row)
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
        text = f"{_class(source, row, one['class'])} ({verdict}), logit {one['logit']:.1f}"
        figure.text(left + 0.005, bottom + 0.82 / lines, text, fontsize=7.5, color="#3d4650", parse_math=False)
    return figure


def draw_global(source: StudyResults, row: Row, table: list[dict[str, Any]]) -> Figure:
    """Classes down, both rules across."""
    names = source.names(row)
    shown = sorted({one["class"] for one in table})[:_CLASSES]
    figure = Figure(figsize=(7.2, 1.25 * len(shown)), dpi=200)
    for line, number in enumerate(shown):
        bottom = 1 - (line + 0.88) / len(shown)
        figure.text(0.005, bottom + 0.35 / len(shown), _class(source, row, number), fontsize=7.5, parse_math=False)
        for side, by in enumerate(("classifier", "images")):
            for one in table:
                if one["class"] == number and one["by"] == by:
                    axes = figure.add_axes((0.27 + 0.46 * side, bottom, 0.25, 0.72 / len(shown)))
                    bars(axes, [source.word(names, atom) for atom in one["atoms"]], one["values"])
                    if not line:
                        axes.set_title("by the classifier" if by == "classifier" else "by images", fontsize=7, pad=2)
    return figure
