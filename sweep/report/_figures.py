"""The figures for a paper: drawn and named."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from frozen.readout.measures import Measure
from sweep.report._curves import depth_curves, line_styles
from sweep.report._heatmap import heatmap
from sweep.report._layout import Layout, listed
from sweep.report._parameter_curves import parameter_curves
from sweep.report._parameters import parameter_axes
from sweep.report._rows import Row, distinct

_METADATA = {"png": {"Software": None}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
_SETTINGS: Any = {"pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "binding-sweep"}
"""Text stays text, and equal figures give equal files."""


@dataclass(frozen=True)
class Picture:
    """A figure: its file name without the ending, and what it shows."""

    name: str
    caption: str
    figure: Figure

    def drawn(self, ending: str) -> bytes:
        """The figure as a file of the type pdf, svg or png."""
        buffer = io.BytesIO()
        with mpl.rc_context(_SETTINGS):
            self.figure.savefig(buffer, format=ending, metadata=_METADATA[ending])
        return buffer.getvalue()


def curve_pictures(rows: Sequence[Row], measures: Sequence[Measure], layout: Layout) -> list[Picture]:
    """Draw each measure over depth, a picture a data set; data sets without an estimate are left out.

    Args:
        rows: prepared rows.
        measures: what to draw.
        layout: the dimensions.
    """
    styles = line_styles(rows)

    def draw(of_dataset: Sequence[Row], measure: Measure, dataset: str) -> Figure:
        return depth_curves(of_dataset, measure, styles, layout, dataset)

    kind = f"{layout.depth.name}_curves" if layout.depth else "estimates"
    return list(_pictures(rows, measures, kind, f"by {layout.across or 'backbone'}", draw))


def heatmap_pictures(rows: Sequence[Row], measures: Sequence[Measure], layout: Layout) -> list[Picture]:
    """Draw each measure over backbones and depth, a picture a data set, as `curve_pictures` does."""

    def draw(of_dataset: Sequence[Row], measure: Measure, dataset: str) -> Figure:
        return heatmap(of_dataset, measure, layout, dataset)

    what = f"by {listed(list(filter(None, ('backbone', layout.across))))}"
    return list(_pictures(rows, measures, "heatmap", what, draw))


def parameter_pictures(rows: Sequence[Row], measures: Sequence[Measure], layout: Layout) -> list[Picture]:
    """Draw each measure over every number in which the data sets differ, a picture a measure and number."""
    styles, axes = line_styles(rows), parameter_axes(rows)
    suffixes = name_suffixes([axis.title for axis in axes])
    best = f", each point at its best {layout.depth.label}" if layout.depth else ""
    drawn = (
        (
            f"parameter_{measure.column}{suffixes[axis.title]}",
            measure,
            axis,
            parameter_curves(rows, measure, styles, axis),
        )
        for measure in measures
        for axis in axes
    )
    return [
        Picture(name, f"{measure.label} by {axis.title}{best}", figure)
        for name, measure, axis, figure in drawn
        if figure is not None
    ]


def _pictures(
    rows: Sequence[Row],
    measures: Sequence[Measure],
    kind: str,
    what: str,
    draw: Callable[[Sequence[Row], Measure, str], Figure],
) -> Iterator[Picture]:
    suffixes = dataset_suffixes(distinct(row.dataset for row in rows))
    for measure in measures:
        for dataset, suffix in suffixes.items():
            of_dataset = _in_filled_panels(measure, [row for row in rows if row.dataset == dataset])
            if any(row.estimates[measure.column].is_defined for row in of_dataset if not row.is_control):
                name, caption = f"{kind}_{measure.column}{suffix}", f"{measure.label} {what}, {dataset}"
                yield Picture(name, caption, draw(of_dataset, measure, dataset))


def _in_filled_panels(measure: Measure, rows: Sequence[Row]) -> list[Row]:
    """Rows without those of panels that would be empty: where no cell has the measure, and none failed."""
    shown = (row for row in rows if not row.is_control)
    filled = {row.panel for row in shown if row.failed or row.estimates[measure.column].is_defined}
    return [row for row in rows if row.panel in filled or (row.is_control and not row.control_of)]


def dataset_suffixes(datasets: list[str]) -> dict[str, str]:
    """The part of a file name that tells data sets apart; none is needed for a single one."""
    return {datasets[0]: ""} if len(datasets) == 1 else name_suffixes(datasets)


def name_suffixes(names: list[str]) -> dict[str, str]:
    """A part of a file name for each name, no two the same."""
    suffixes: dict[str, str] = {}
    for name in names:
        stem = "_" + re.sub(r"[^A-Za-z0-9.=+-]+", "_", name).strip("_")
        suffix, number = stem, 2
        while suffix.lower() in {taken.lower() for taken in suffixes.values()}:
            suffix, number = f"{stem}_{number}", number + 1
        suffixes[name] = suffix
    return suffixes
