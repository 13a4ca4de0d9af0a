"""A measure over backbones and depth: a panel a combination of panels and lines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from frozen.readout.measures import Measure
from sweep.report._format import DECIMALS, NOTHING, ceiling, decimal
from sweep.report._layout import Layout
from sweep.report._lettering import measure_text, plain, wrapped
from sweep.report._rows import Row, depths_of, distinct, foremost, lines_of, panels_of

CELL_WIDTH_INCHES = 0.38
PLACE_LETTERS = 14
CELL_HEIGHT_INCHES = 0.36
WIDEST_INCHES = 9.5
ABSENT_COLOUR = "#dddddd"
FAILED = "×"
FAILED_COLOUR = "#b00020"
# pale where little was measured: against the paper, and inverted against a dark screen
COLOUR_MAP = "YlGnBu"
NARROWEST_INCHES = 2.2


@dataclass(frozen=True)
class _Grid:
    """The squares of one panel; `failed` and `present` say which cells failed and which there are at all."""

    estimates: Float[np.ndarray, "backbone place"]
    failed: Bool[np.ndarray, "backbone place"]
    present: Bool[np.ndarray, "backbone place"]


def heatmap(rows: Sequence[Row], measure: Measure, layout: Layout, title: str) -> Figure:
    """Draw a measure's estimates as coloured, lettered squares.

    Args:
        rows: the rows of one data set; controls among them are left out.
        measure: what the colours show.
        layout: the dimensions.
        title: what the figure is titled after the measure's name, the data set as a rule.

    Returns:
        A figure with a panel for each panel and line of the layout: backbones down, depth across. Without a dimension
        of depth the lines are across. A failed cell is a cross, an undefined estimate a dash, and what was not
        measured is left grey.
    """
    cells = foremost((row for row in rows if not row.is_control), measure)
    backbones, places = distinct(row.backbone for row in cells), (depths_of if layout.depth else lines_of)(cells)
    names, lines = panels_of(cells), lines_of(cells) if layout.depth else [""]
    facets = [(name, line) for name in names for line in lines]
    width = max(CELL_WIDTH_INCHES * len(places), NARROWEST_INCHES)
    n_columns = len(lines) if width * len(lines) <= WIDEST_INCHES else 1
    n_rows = len(facets) // n_columns
    size = (3.2 + width * n_columns, 1.0 + (CELL_HEIGHT_INCHES * len(backbones) + 0.6) * n_rows)
    figure = Figure(figsize=size, dpi=150, layout="constrained")
    panels = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False)
    norm, extend = _norm([row.estimates[measure.column].value for row in cells], measure)
    for (name, line), axes in zip(facets, panels.flat, strict=True):
        of_facet = [row for row in cells if row.panel == name and (row.line == line or not layout.depth)]
        _draw_grid(axes, _grid(of_facet, measure, layout, backbones, places), norm, min(2, DECIMALS[measure.unit]))
        _dress(axes, backbones, places, layout.across)
        axes.set_title(wrapped(" · ".join(filter(None, (name, line))), int(width * 12)), fontsize=9)
    _add_bar(figure, list(panels.flat), ScalarMappable(norm, COLOUR_MAP), extend, measure)
    figure.suptitle(wrapped(f"{measure.label} · {title}", int(11 * size[0])), fontsize=11)
    return figure


def _grid(cells: Sequence[Row], measure: Measure, layout: Layout, backbones: list[str], places: list[str]) -> _Grid:
    estimates = np.full((len(backbones), len(places)), np.nan)
    failed, present = np.zeros(estimates.shape, dtype=bool), np.zeros(estimates.shape, dtype=bool)
    for row in cells:
        place = backbones.index(row.backbone), places.index(row.at if layout.depth else row.line)
        estimates[place], failed[place], present[place] = row.estimates[measure.column].value, row.failed, True
    return _Grid(estimates, failed, present)


def _norm(values: list[float], measure: Measure) -> tuple[Normalize, str]:
    """Colours from 0 to the unit's ceiling, or to the largest estimate; estimates beyond keep the end's colour."""
    finite = [value for value in values if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=1.0)
    most = ceiling(measure) or (high if high > 0 else 1.0)
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}
    return Normalize(0.0, most), extend[low < 0, high > most]


def _draw_grid(axes: Axes, grid: _Grid, norm: Normalize, decimals: int) -> None:
    axes.imshow(np.ma.masked_invalid(grid.estimates), norm=norm, cmap=COLOUR_MAP, aspect="auto")
    axes.set_facecolor(ABSENT_COLOUR)
    for (line, column), value in np.ndenumerate(grid.estimates):
        if grid.failed[line, column]:
            text, colour = FAILED, FAILED_COLOUR
        elif grid.present[line, column]:
            text, colour = (
                _square_text(value, decimals),
                "black" if math.isnan(value) or norm(value) <= 0.55 else "white",
            )
        else:
            continue
        axes.text(column, line, text, color=colour, fontsize=7, ha="center", va="center")


def _square_text(value: float, decimals: int) -> str:
    if math.isnan(value):
        return NOTHING
    return decimal(value, decimals if abs(value) < 10 else min(1, decimals))


def _dress(axes: Axes, backbones: list[str], places: list[str], label: str) -> None:
    """Names on the axes and white lines between the squares."""
    long = max(len(place) for place in places) > 5
    axes.set_xticks(
        range(len(places)),
        [wrapped(place, PLACE_LETTERS, 1) for place in places],
        rotation=45 if long else 0,
        ha="right" if long else "center",
    )
    axes.set_yticks(range(len(backbones)), [wrapped(backbone, 30) for backbone in backbones])
    axes.set_xlabel(plain(label), fontsize=9)
    axes.tick_params(labelsize=8, length=0)
    axes.spines[:].set_visible(False)
    axes.set_xticks(np.arange(0.5, len(places) - 1), minor=True)
    axes.set_yticks(np.arange(0.5, len(backbones) - 1), minor=True)
    axes.tick_params(which="minor", length=0)
    axes.label_outer()
    axes.grid(which="minor", color="white", linewidth=1.5)


def _add_bar(figure: Figure, panels: list[Axes], colours: ScalarMappable, extend: str, measure: Measure) -> None:
    bar = figure.colorbar(colours, ax=panels, extend=extend, fraction=0.05, pad=0.02, aspect=15)
    bar.set_label(measure_text(measure), fontsize=9)
    bar.ax.tick_params(labelsize=8)
