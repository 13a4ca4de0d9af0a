"""A measure over backbones and layers: a panel a mode and probe."""

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
from sweep.report._format import NOTHING, decimal, natural_key
from sweep.report._lettering import measure_text, wrapped
from sweep.report._rows import Row, distinct

CELL_WIDTH_INCHES = 0.38
LAYER_LETTERS = 14
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

    estimates: Float[np.ndarray, "backbone layer"]
    failed: Bool[np.ndarray, "backbone layer"]
    present: Bool[np.ndarray, "backbone layer"]


def heatmap(rows: Sequence[Row], measure: Measure, title: str) -> Figure:
    """Draw a measure's estimates as coloured, lettered squares.

    Args:
        rows: the rows of one data set; controls among them are left out.
        measure: what the colours show.
        title: what the figure is titled after the measure's name, the data set as a rule.

    Returns:
        A figure with a panel for each mode and probe: backbones down, layers across. A failed cell is a cross,
        an undefined estimate a dash, and what was not measured is left grey.
    """
    cells = [row for row in rows if not row.is_control]
    backbones, layers = distinct(row.backbone for row in cells), _layers_in_depth_order(cells)
    modes, probes = distinct(row.mode for row in cells), distinct(row.probe for row in cells)
    facets = [(mode, probe) for mode in modes for probe in probes]
    width = max(CELL_WIDTH_INCHES * len(layers), NARROWEST_INCHES)
    n_columns = len(probes) if width * len(probes) <= WIDEST_INCHES else 1
    n_lines = len(facets) // n_columns
    size = (3.2 + width * n_columns, 1.0 + (CELL_HEIGHT_INCHES * len(backbones) + 0.6) * n_lines)
    figure = Figure(figsize=size, dpi=150, layout="constrained")
    panels = figure.subplots(n_lines, n_columns, sharex=True, sharey=True, squeeze=False)
    norm, extend = _norm([row.estimates[measure.column].value for row in cells], measure)
    for (mode, probe), axes in zip(facets, panels.flat, strict=True):
        of_facet = [row for row in cells if (row.mode, row.probe) == (mode, probe)]
        _draw_grid(axes, _grid(of_facet, measure, backbones, layers), norm)
        _dress(axes, backbones, layers)
        axes.set_title(wrapped(f"{mode} · {probe}", int(width * 12)), fontsize=9)
    _add_bar(figure, list(panels.flat), ScalarMappable(norm, COLOUR_MAP), extend, measure)
    figure.suptitle(wrapped(f"{measure.label} · {title}", int(11 * size[0])), fontsize=11)
    return figure


def _layers_in_depth_order(cells: Sequence[Row]) -> list[str]:
    """All layers' names; one that ends several backbones of unequal depth comes where it is deepest."""
    depth: dict[str, float] = {}
    for row in cells:
        index = math.inf if math.isnan(row.layer_index) else row.layer_index
        depth[row.layer] = max(index, depth.get(row.layer, -math.inf))
    return sorted(depth, key=lambda layer: (depth[layer], natural_key(layer)))


def _grid(cells: Sequence[Row], measure: Measure, backbones: list[str], layers: list[str]) -> _Grid:
    estimates = np.full((len(backbones), len(layers)), np.nan)
    failed, present = np.zeros(estimates.shape, dtype=bool), np.zeros(estimates.shape, dtype=bool)
    for row in cells:
        place = backbones.index(row.backbone), layers.index(row.layer)
        estimates[place], failed[place], present[place] = row.estimates[measure.column].value, row.failed, True
    return _Grid(estimates, failed, present)


def _norm(values: list[float], measure: Measure) -> tuple[Normalize, str]:
    """Colours from 0 to 1 for a ratio, from 0 to the largest for bits; estimates beyond keep the end's colour."""
    finite = [value for value in values if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=1.0)
    ceiling = 1.0 if measure.unit == "ratio" or high <= 0 else high
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}
    return Normalize(0.0, ceiling), extend[low < 0, high > ceiling]


def _draw_grid(axes: Axes, grid: _Grid, norm: Normalize) -> None:
    axes.imshow(np.ma.masked_invalid(grid.estimates), norm=norm, cmap=COLOUR_MAP, aspect="auto")
    axes.set_facecolor(ABSENT_COLOUR)
    for (line, column), value in np.ndenumerate(grid.estimates):
        if grid.failed[line, column]:
            text, colour = FAILED, FAILED_COLOUR
        elif grid.present[line, column]:
            text, colour = _square_text(value), "black" if math.isnan(value) or norm(value) <= 0.55 else "white"
        else:
            continue
        axes.text(column, line, text, color=colour, fontsize=7, ha="center", va="center")


def _square_text(value: float) -> str:
    if math.isnan(value):
        return NOTHING
    return decimal(value, 2 if abs(value) < 10 else 1)


def _dress(axes: Axes, backbones: list[str], layers: list[str]) -> None:
    """Names on the axes and white lines between the squares."""
    long = max(len(layer) for layer in layers) > 5
    axes.set_xticks(
        range(len(layers)),
        [wrapped(layer, LAYER_LETTERS, 1) for layer in layers],
        rotation=45 if long else 0,
        ha="right" if long else "center",
    )
    axes.set_yticks(range(len(backbones)), [wrapped(backbone, 30) for backbone in backbones])
    axes.set_xlabel("layer", fontsize=9)
    axes.tick_params(labelsize=8, length=0)
    axes.spines[:].set_visible(False)
    axes.set_xticks(np.arange(0.5, len(layers) - 1), minor=True)
    axes.set_yticks(np.arange(0.5, len(backbones) - 1), minor=True)
    axes.tick_params(which="minor", length=0)
    axes.label_outer()
    axes.grid(which="minor", color="white", linewidth=1.5)


def _add_bar(figure: Figure, panels: list[Axes], colours: ScalarMappable, extend: str, measure: Measure) -> None:
    bar = figure.colorbar(colours, ax=panels, extend=extend, fraction=0.05, pad=0.02, aspect=15)
    bar.set_label(measure_text(measure), fontsize=9)
    bar.ax.tick_params(labelsize=8)
