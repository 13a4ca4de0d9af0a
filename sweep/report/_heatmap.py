"""A measure over backbones and layers: a panel a mode and probe."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from sweep.readout import Measure
from sweep.report._format import NOTHING, natural_key
from sweep.report._lettering import measure_text, plain, wrapped
from sweep.report._rows import distinct

CELL_WIDTH_INCHES = 0.44
CELL_HEIGHT_INCHES = 0.36
WIDEST_INCHES = 13.0
ABSENT_COLOUR = "#eeeeee"
FAILED = "×"


def heatmap(rows: pd.DataFrame, measure: Measure, title: str) -> Figure:
    """Draw a measure's estimates as coloured, lettered squares.

    Args:
        rows: prepared rows of one data set; controls among them are left out.
        measure: what the colours show.
        title: what the figure is titled after the measure's name, the data set as a rule.

    Returns:
        A figure with a panel for each mode and probe: backbones down, layers across. A failed cell is a cross,
        an undefined estimate a dash, and what was not measured is left grey.
    """
    cells = rows[~rows["is_control"]]
    backbones, layers = distinct(cells["backbone"]), _layers_in_depth_order(cells)
    facets = [(mode, probe) for mode in distinct(cells["mode"]) for probe in distinct(cells["probe"])]
    width = max(CELL_WIDTH_INCHES * len(layers), 1.8)
    n_probes = cells["probe"].nunique()
    columns = n_probes if width * n_probes <= WIDEST_INCHES else 1
    n_lines = len(facets) // columns
    height = CELL_HEIGHT_INCHES * len(backbones) + 0.6
    size = (max(3.0 + width * columns, 5.0), 1.0 + height * n_lines)
    figure = Figure(figsize=size, dpi=150, layout="constrained")
    panels = figure.subplots(n_lines, columns, sharex=True, sharey=True, squeeze=False)
    norm, extend = _norm(cells[measure.column].to_numpy(dtype=float), measure)
    for (mode, probe), axes in zip(facets, panels.flat, strict=True):
        of_facet = cells[(cells["mode"] == mode) & (cells["probe"] == probe)]
        estimates, failed, present = _grids(of_facet, measure, backbones, layers)
        image = axes.imshow(np.ma.masked_invalid(estimates), norm=norm, cmap="viridis", aspect="auto")
        axes.set_facecolor(ABSENT_COLOUR)
        _letter(axes, estimates, failed, present, norm)
        _dress(axes, backbones, layers)
        axes.set_title(wrapped(f"{mode} · {probe}", max(int(width * 12), 22)), fontsize=9)
    bar = figure.colorbar(image, ax=list(panels.flat), extend=extend, fraction=0.05, pad=0.02, aspect=15)
    bar.set_label(measure_text(measure), fontsize=9)
    bar.ax.tick_params(labelsize=8)
    for axes in panels[-1]:
        axes.set_xlabel("layer", fontsize=9)
    figure.suptitle(wrapped(f"{measure.label} · {title}", int(11 * size[0])), fontsize=11)
    return figure


def _layers_in_depth_order(cells: pd.DataFrame) -> list[str]:
    depth = cells.groupby("layer")["layer_index"].max().fillna(math.inf)
    return sorted((str(layer) for layer in depth.index), key=lambda layer: (depth[layer], natural_key(layer)))


def _grids(
    cells: pd.DataFrame, measure: Measure, backbones: list[str], layers: list[str]
) -> tuple[
    Float[np.ndarray, "backbone layer"], Bool[np.ndarray, "backbone layer"], Bool[np.ndarray, "backbone layer"]
]:
    """The estimates, which cells failed, and which are there at all."""
    estimates = np.full((len(backbones), len(layers)), np.nan)
    failed, present = np.zeros(estimates.shape, dtype=bool), np.zeros(estimates.shape, dtype=bool)
    for row in cells.to_dict("records"):
        place = backbones.index(row["backbone"]), layers.index(row["layer"])
        estimates[place], failed[place], present[place] = row[measure.column], row["failed"], True
    return estimates, failed, present


def _norm(values: Float[np.ndarray, " cell"], measure: Measure) -> tuple[Normalize, str]:
    """Colours from 0 to 1 for a ratio, from 0 to the largest for bits; estimates beyond keep the end's colour."""
    finite = values[np.isfinite(values)]
    low, high = min(finite, default=0.0), max(finite, default=1.0)
    ceiling = 1.0 if measure.unit == "ratio" else (high if high > 0 else 1.0)
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}
    return Normalize(0.0, ceiling), extend[bool(low < 0), bool(high > ceiling)]


def _letter(
    axes: Axes,
    estimates: Float[np.ndarray, "backbone layer"],
    failed: Bool[np.ndarray, "backbone layer"],
    present: Bool[np.ndarray, "backbone layer"],
    norm: Normalize,
) -> None:
    for (line, column), value in np.ndenumerate(estimates):
        if not present[line, column]:
            continue
        defined = math.isfinite(value)
        text = f"{value:.2f}" if defined and abs(value) < 10 else f"{value:.1f}" if defined else NOTHING
        colour = "black" if not defined or float(norm(value)) > 0.6 else "white"
        if failed[line, column]:
            text, colour = FAILED, "#b00020"
        axes.text(column, line, text, color=colour, fontsize=7, ha="center", va="center")


def _dress(axes: Axes, backbones: list[str], layers: list[str]) -> None:
    """Names on the axes and white lines between the squares."""
    long = max(len(layer) for layer in layers) > 5
    axes.set_xticks(
        range(len(layers)),
        [plain(layer) for layer in layers],
        rotation=45 if long else 0,
        ha="right" if long else "center",
    )
    axes.set_yticks(range(len(backbones)), [wrapped(backbone, 30) for backbone in backbones])
    axes.tick_params(labelsize=8, length=0)
    axes.spines[:].set_visible(False)
    axes.set_xticks(np.arange(0.5, len(layers) - 1), minor=True)
    axes.set_yticks(np.arange(0.5, len(backbones) - 1), minor=True)
    axes.tick_params(which="minor", length=0)
    axes.grid(which="minor", color="white", linewidth=1.5)
