"""A measure against depth: a line a probe with its interval, a panel a backbone and mode."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sweep.readout import Measure
from sweep.report._lettering import measure_text, plain, thinned, wrapped
from sweep.report._rows import columns_of, distinct

# Okabe and Ito's palette without black and yellow, which are poor lines on white
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
CONTROL_STYLES = ((0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)), (0, (8, 2, 2, 2, 2, 2)))
PANEL_WIDTH_INCHES = 3.3
PANEL_HEIGHT_INCHES = 2.5
LABEL_WIDTH_INCHES = 0.075
LABEL_HEIGHT_SHARE = 0.075


@dataclass(frozen=True)
class ProbeStyle:
    colour: str
    marker: str


def probe_styles(rows: pd.DataFrame) -> dict[str, ProbeStyle]:
    """One colour and marker a probe, the same in every figure of a report."""
    return {
        probe: ProbeStyle(COLOURS[position % len(COLOURS)], MARKERS[position % len(MARKERS)])
        for position, probe in enumerate(distinct(rows["probe"]))
    }


def layer_curves(rows: pd.DataFrame, measure: Measure, styles: Mapping[str, ProbeStyle], title: str) -> Figure:
    """Draw a measure over the layers of one data set.

    Args:
        rows: prepared rows of one data set; controls among them become horizontal lines.
        measure: what the y axis shows.
        styles: colour and marker of each probe in the rows.
        title: what the figure is titled after the measure's name, the data set as a rule.

    Returns:
        A figure with a column a backbone and a row a mode, all on one y axis.
    """
    cells, controls = rows[~rows["is_control"]], rows[rows["is_control"] & rows[measure.column].notna()]
    backbones, modes = distinct(cells["backbone"]), distinct(cells["mode"])
    size = (1.6 + PANEL_WIDTH_INCHES * len(backbones), 1.2 + PANEL_HEIGHT_INCHES * len(modes))
    figure = Figure(figsize=size, dpi=150, layout="constrained")
    panels = figure.subplots(len(modes), len(backbones), sharey=True, squeeze=False)
    limits = _value_limits(rows, measure)
    for mode, line_of_panels in zip(modes, panels, strict=True):
        for backbone, axes in zip(backbones, line_of_panels, strict=True):
            axes.set_ylim(*limits)
            _draw_controls(axes, controls, measure, styles)
            of_panel = cells[(cells["backbone"] == backbone) & (cells["mode"] == mode)]
            _draw_probes(axes, of_panel, measure, styles)
            _dress(axes, cells[cells["backbone"] == backbone])
        _label_controls(line_of_panels[-1], controls, measure)
        line_of_panels[0].set_ylabel(
            f"{plain(mode)}\n{measure_text(measure)}" if len(modes) > 1 else measure_text(measure)
        )
    for backbone, axes in zip(backbones, panels[0], strict=True):
        axes.set_title(wrapped(backbone, 34), fontsize=9)
    figure.suptitle(wrapped(f"{measure.label} · {title}", 25 + 34 * len(backbones)), fontsize=11)
    _add_legend(figure, [probe for probe in styles if probe in set(rows["probe"])], styles, columns=len(backbones))
    return figure


def _value_limits(rows: pd.DataFrame, measure: Measure) -> tuple[float, float]:
    """Limits of the y axis: all estimates and intervals, and for a ratio 0 to 1 in any case."""
    values = rows[list(columns_of(measure))].to_numpy(dtype=float)
    values = values[np.isfinite(values)]
    ends = [0.0, *([1.0] if measure.unit == "ratio" else []), *values]
    low, high = min(ends), max(ends)
    margin = 0.05 * (high - low or 1.0)
    usual = (-0.1, 1.05) if measure.unit == "ratio" else (-margin, margin)
    return min(usual[0], low - margin), max(usual[1], high + margin)


def _draw_probes(axes: Axes, cells: pd.DataFrame, measure: Measure, styles: Mapping[str, ProbeStyle]) -> None:
    probes = distinct(cells["probe"])
    is_single_layer = cells["layer_index"].nunique() == 1
    for position, probe in enumerate(probes):
        curve = cells[(cells["probe"] == probe) & cells["layer_index"].notna()]
        value, low, high = (curve[column].to_numpy(dtype=float) for column in columns_of(measure))
        aside = 0.12 * (position - (len(probes) - 1) / 2) if is_single_layer else 0.0
        depth = curve["layer_index"].to_numpy(dtype=float) + aside
        style = styles[probe]
        axes.plot(
            depth,
            value,
            color=style.colour,
            marker=style.marker,
            markersize=4.5,
            linewidth=1.4,
            label=plain(probe),
            zorder=3,
        )
        axes.fill_between(depth, low, high, color=style.colour, alpha=0.18, linewidth=0, zorder=2)
        alone = _alone(value) & np.isfinite(low) & np.isfinite(high)
        if alone.any():
            reach = np.abs(np.stack([value - low, high - value])[:, alone])
            axes.errorbar(
                depth[alone], value[alone], reach, fmt="none", ecolor=style.colour, capsize=3, elinewidth=1.2
            )


def _alone(value: Float[np.ndarray, " layer"]) -> np.ndarray:
    """Which estimates have no neighbour to draw a band to."""
    present = np.isfinite(value)
    before, after = np.append(False, present[:-1]), np.append(present[1:], False)
    return present & ~before & ~after


def _dress(axes: Axes, cells: pd.DataFrame) -> None:
    """Name the layers that there is room to name, and lay a light grid."""
    layers = cells.dropna(subset=["layer_index"]).groupby("layer_index")["layer"].first()
    depths = [float(str(depth)) for depth in layers.index]
    axes.tick_params(labelsize=8)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("layer", fontsize=9)
    if not depths:
        axes.set_xticks([])
        return
    margin = max(0.04 * (depths[-1] - depths[0]), 0.5 if len(depths) == 1 else 0.15)
    axes.set_xlim(depths[0] - margin, depths[-1] + margin)
    widths = [LABEL_WIDTH_INCHES * (len(name) + 1.5) for name in layers]
    inches_a_step = (PANEL_WIDTH_INCHES - 0.4) / (depths[-1] - depths[0] + 2 * margin)
    kept = thinned([depth * inches_a_step for depth in depths], widths)
    axes.set_xticks([depths[i] for i in kept], [plain(layers.iloc[i]) for i in kept])
    axes.set_xticks(depths, minor=True)


def _draw_controls(axes: Axes, controls: pd.DataFrame, measure: Measure, styles: Mapping[str, ProbeStyle]) -> None:
    for position, control in enumerate(distinct(controls["backbone"])):
        dashes = CONTROL_STYLES[position % len(CONTROL_STYLES)]
        for row in controls[controls["backbone"] == control].to_dict("records"):
            value, low, high = (row[column] for column in columns_of(measure))
            colour = styles[row["probe"]].colour
            axes.axhline(value, color=colour, linestyle=dashes, linewidth=1.0, alpha=0.8, zorder=1)
            if math.isfinite(low) and math.isfinite(high):
                axes.axhspan(low, high, color=colour, alpha=0.07, linewidth=0, zorder=0)


def _label_controls(axes: Axes, controls: pd.DataFrame, measure: Measure) -> None:
    """Name the controls at the right edge, once for lines that lie together, names pushed apart."""
    bottom, top = axes.get_ylim()
    gap = LABEL_HEIGHT_SHARE * (top - bottom)
    marks: list[tuple[float, str]] = []
    for control in distinct(controls["backbone"]):
        values = sorted(controls.loc[controls["backbone"] == control, measure.column])
        marks += [(value, control) for value in _cluster_centres(values, gap)]
    marks.sort()
    heights = _spread([value for value, _ in marks], gap, top)
    for (value, control), height in zip(marks, heights, strict=True):
        axes.annotate(
            plain(control),
            xy=(1.0, value),
            xytext=(1.06, height),
            xycoords=axes.get_yaxis_transform(),
            fontsize=7.5,
            color="#444444",
            verticalalignment="center",
            arrowprops={"arrowstyle": "-", "color": "#888888", "linewidth": 0.6, "shrinkA": 0, "shrinkB": 0},
            annotation_clip=False,
        )


def _cluster_centres(values: Iterable[float], gap: float) -> list[float]:
    """Means of the runs of sorted values whose steps are smaller than the gap."""
    clusters: list[list[float]] = []
    for value in values:
        if clusters and value - clusters[-1][-1] < gap:
            clusters[-1].append(value)
        else:
            clusters.append([value])
    return [sum(cluster) / len(cluster) for cluster in clusters]


def _spread(values: list[float], gap: float, top: float) -> list[float]:
    """Move sorted values apart to at least the gap, upwards first and then down from the top."""
    heights: list[float] = []
    for value in values:
        heights.append(max(value, heights[-1] + gap) if heights else value)
    ceiling = top
    for position in reversed(range(len(heights))):
        heights[position] = min(heights[position], ceiling)
        ceiling = heights[position] - gap
    return heights


def _add_legend(figure: Figure, probes: list[str], styles: Mapping[str, ProbeStyle], columns: int) -> None:
    handles = [
        Line2D([], [], color=styles[probe].colour, marker=styles[probe].marker, markersize=4.5, linewidth=1.4)
        for probe in probes
    ]
    figure.legend(
        handles,
        [plain(probe) for probe in probes],
        loc="outside lower center",
        ncols=min(len(probes), 2 * columns),
        fontsize=8.5,
        frameon=False,
    )
