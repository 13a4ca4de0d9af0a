"""A measure against depth: lines with their intervals, a panel a backbone and combination of panel dimensions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from frozen.readout.measures import Measure
from sweep.report._format import ceiling
from sweep.report._layout import Layout
from sweep.report._lettering import measure_text, plain, thinned, wrapped
from sweep.report._rows import Estimate, Row, distinct, foremost, lines_of, panels_of

# Okabe and Ito's palette without black and yellow, which are poor lines on white
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
Dashes = tuple[int, tuple[float, ...]]
CONTROL_DASHES: tuple[Dashes, ...] = (
    (0, (5, 2)),
    (0, (1, 1.5)),
    (0, (5, 2, 1, 2)),
    (0, (8, 2, 2, 2, 2, 2)),
    (0, (9, 3)),
    (0, (1, 4)),
    (0, (3, 1, 1, 1, 1, 1)),
)
FAR = 0.5
"""How far beyond all estimates their intervals are drawn, in spans of the estimates."""
PANEL_WIDTH_INCHES = 3.3
PANEL_HEIGHT_INCHES = 2.5
LETTER_WIDTH_INCHES = 0.075
LETTER_HEIGHT_SHARE = 0.075
PLACE_LETTERS, PANEL_LETTERS, CONTROL_LETTERS, LINE_LETTERS = 14, 24, 28, 40


@dataclass(frozen=True)
class LineStyle:
    colour: str
    marker: str


def line_styles(rows: Sequence[Row]) -> dict[str, LineStyle]:
    """One colour and marker a line, the same in every figure of a report."""
    return {
        line: LineStyle(COLOURS[position % len(COLOURS)], MARKERS[position % len(MARKERS)])
        for position, line in enumerate(lines_of(rows))
    }


def depth_curves(
    rows: Sequence[Row], measure: Measure, styles: Mapping[str, LineStyle], layout: Layout, title: str
) -> Figure:
    """Draw a measure of one data set over depth.

    Args:
        rows: the rows of one data set. Controls of the data set become horizontal lines in every panel; those of a
            backbone are dashed in its panels.
        measure: what the y axis shows.
        styles: colour and marker of each line in the rows.
        layout: the dimensions; without one of depth a panel has one place.
        title: what the figure is titled after the measure's name, the data set as a rule.

    Returns:
        A figure with a column a backbone and a row a panel of the layout, all on one y axis.
    """
    rows = foremost(rows, measure)
    cells = [row for row in rows if not row.is_control]
    controls = [row for row in rows if row.is_control and row.estimates[measure.column].is_defined]
    of_dataset = [row for row in controls if not row.control_of]
    dashes = dict(zip(distinct(row.control for row in controls), cycle(CONTROL_DASHES), strict=False))
    backbones, names = distinct(row.backbone for row in cells), panels_of(cells)
    size = (1.6 + PANEL_WIDTH_INCHES * len(backbones), 1.2 + PANEL_HEIGHT_INCHES * len(names))
    figure = Figure(figsize=size, dpi=150, layout="constrained")
    panels = figure.subplots(len(names), len(backbones), sharey=True, squeeze=False)
    limits = value_limits([row.estimates[measure.column] for row in rows], measure)
    for name, row_of_panels in zip(names, panels, strict=True):
        for backbone, axes in zip(backbones, row_of_panels, strict=True):
            of_backbone = [row for row in cells if row.backbone == backbone]
            axes.set_ylim(*limits)
            _draw_controls(axes, of_dataset, measure, styles, dashes)
            own = [row for row in controls if (row.control_of, row.panel) == (backbone, name)]
            _draw_own_controls(axes, own, measure, styles, dashes)
            _draw_lines(axes, [row for row in of_backbone if row.panel == name], measure, styles)
            _name_places(axes, of_backbone)
            dress(axes, layout.depth.label if layout.depth else "")
        _label_controls(row_of_panels[-1], of_dataset, measure)
        of_panel = f"{wrapped(name, PANEL_LETTERS)}\n" if len(names) > 1 else ""
        row_of_panels[0].set_ylabel(of_panel + measure_text(measure), fontsize=9)
    for backbone, axes in zip(backbones, panels[0], strict=True):
        axes.set_title(wrapped(backbone, 34), fontsize=9)
    figure.suptitle(wrapped(f"{measure.label} · {title}", 25 + 34 * len(backbones)), fontsize=11)
    lines = lines_of(row for row in rows if row.estimates[measure.column].is_defined)
    own_dashes = {name: dashes[name] for name in distinct(row.control for row in controls if row.control_of)}
    add_legend(figure, {line: styles[line] for line in lines}, own_dashes, n_columns=2 * len(backbones))
    return figure


def value_limits(estimates: Iterable[Estimate], measure: Measure) -> tuple[float, float]:
    """Limits of the y axis: all estimates, their intervals unless far beyond, and a unit's ceiling in any case."""
    shown, most = [one for one in estimates if one.is_defined], ceiling(measure)
    values = [0.0, *([] if most is None else [most]), *(one.value for one in shown)]
    room = FAR * (max(values) - min(values) or 1.0)
    ends = [*values, *(end for one in shown for end in (one.low, one.high) if math.isfinite(end))]
    low, high = max(min(ends), min(values) - room), min(max(ends), max(values) + room)
    margin = 0.05 * (high - low or 1.0)
    usual = (-margin, margin) if most is None else (-0.1 * most, 1.05 * most)
    return min(usual[0], low - margin), max(usual[1], high + margin)


def _draw_lines(axes: Axes, cells: Sequence[Row], measure: Measure, styles: Mapping[str, LineStyle]) -> None:
    lines = lines_of(cells)
    is_single_place = len({row.depth for row in cells}) == 1
    for position, line in enumerate(lines):
        curve = [row for row in cells if row.line == line and math.isfinite(row.depth)]
        aside = 0.12 * (position - (len(lines) - 1) / 2) if is_single_place else 0.0
        depth = np.array([row.depth + aside for row in curve])
        draw_curve(axes, depth, curve, measure, styles[line], line)


def draw_curve(
    axes: Axes,
    depth: Float[np.ndarray, " place"],
    rows: Sequence[Row],
    measure: Measure,
    style: LineStyle,
    label: str,
) -> None:
    """Draw a line with its band; markers of rows with flags are hollow."""
    estimates = [row.estimates[measure.column] for row in rows]
    value = np.array([one.value for one in estimates])
    low, high = np.array([one.low for one in estimates]), np.array([one.high for one in estimates])
    axes.plot(
        depth,
        value,
        color=style.colour,
        marker=style.marker,
        markersize=4.5,
        linewidth=1.4,
        label=plain(label),
        zorder=3,
    )
    flagged = np.array([bool(row.flags) for row in rows], dtype=bool)
    if flagged.any():
        hollow = {"marker": style.marker, "markersize": 4.5, "markerfacecolor": "white", "color": style.colour}
        axes.plot(depth[flagged], value[flagged], linestyle="none", zorder=4, **hollow)
    axes.fill_between(depth, low, high, color=style.colour, alpha=0.18, linewidth=0, zorder=2)
    alone = _alone(value) & np.isfinite(low) & np.isfinite(high)
    if alone.any():
        reach = np.maximum(np.stack([value - low, high - value])[:, alone], 0.0)
        axes.errorbar(depth[alone], value[alone], reach, fmt="none", ecolor=style.colour, capsize=3, elinewidth=1.2)


def _alone(value: Float[np.ndarray, " place"]) -> np.ndarray:
    """Which estimates have no neighbour to draw a band to."""
    present = np.isfinite(value)
    before, after = np.append(False, present[:-1]), np.append(present[1:], False)
    return present & ~before & ~after


def _name_places(axes: Axes, cells: Sequence[Row]) -> None:
    """Mark every place in depth, and name those that there is room to name."""
    names = {row.depth: row.at for row in cells if math.isfinite(row.depth)}
    depths = sorted(names)
    if not depths:
        axes.set_xticks([])
        return
    margin = 0.5 if len(depths) == 1 else max(0.04 * (depths[-1] - depths[0]), 0.15)
    axes.set_xlim(depths[0] - margin, depths[-1] + margin)
    widths = [LETTER_WIDTH_INCHES * (min(len(names[depth]), PLACE_LETTERS) + 1.5) for depth in depths]
    inches_a_step = (PANEL_WIDTH_INCHES - 0.4) / (depths[-1] - depths[0] + 2 * margin)
    named = [depths[position] for position in thinned([depth * inches_a_step for depth in depths], widths)]
    axes.set_xticks(named, [wrapped(names[depth], PLACE_LETTERS, 1) for depth in named])
    axes.set_xticks(depths, minor=True)


def dress(axes: Axes, label: str) -> None:
    axes.set_xlabel(plain(label), fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_controls(
    axes: Axes,
    controls: Sequence[Row],
    measure: Measure,
    styles: Mapping[str, LineStyle],
    dashes: Mapping[str, Dashes],
) -> None:
    for row in controls:
        estimate, colour = row.estimates[measure.column], styles[row.line].colour
        axes.axhline(estimate.value, color=colour, linestyle=dashes[row.control], linewidth=1.0, alpha=0.8, zorder=1)
        if estimate.is_bounded:
            axes.axhspan(estimate.low, estimate.high, color=colour, alpha=0.07, linewidth=0, zorder=0)


def _draw_own_controls(
    axes: Axes,
    controls: Sequence[Row],
    measure: Measure,
    styles: Mapping[str, LineStyle],
    dashes: Mapping[str, Dashes],
) -> None:
    """Controls of the panel's backbone: a dashed line over depth, or across the panel for a single place."""
    for control, line in sorted({(row.control, row.line) for row in controls}):
        curve = [row for row in controls if (row.control, row.line) == (control, line)]
        if len(curve) == 1:
            _draw_controls(axes, curve, measure, styles, dashes)
            continue
        depth = np.array([row.depth for row in curve])
        ends = np.array([(one.value, one.low, one.high) for one in (row.estimates[measure.column] for row in curve)])
        looks = {"color": styles[line].colour, "zorder": 1}
        axes.plot(depth, ends[:, 0], linestyle=dashes[control], linewidth=1.0, alpha=0.8, **looks)
        axes.fill_between(depth, ends[:, 1], ends[:, 2], alpha=0.07, linewidth=0, **looks)


def _label_controls(axes: Axes, controls: Sequence[Row], measure: Measure) -> None:
    """Name the controls at the right edge, once for lines that lie together, names pushed apart."""
    bottom, top = axes.get_ylim()
    gap = LETTER_HEIGHT_SHARE * (top - bottom)
    marks: list[tuple[float, str]] = []
    for control in distinct(row.control for row in controls):
        values = sorted(row.estimates[measure.column].value for row in controls if row.control == control)
        marks += [(value, control) for value in _cluster_centres(values, gap)]
    marks.sort()
    heights = _spread([value for value, _ in marks], gap, top)
    for (value, control), height in zip(marks, heights, strict=True):
        axes.annotate(
            wrapped(control, CONTROL_LETTERS, 1),
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


def add_legend(figure: Figure, styles: Mapping[str, LineStyle], dashes: Mapping[str, Dashes], n_columns: int) -> None:
    """Name the lines, and the controls that are told apart by their dashes; a line without a name is alone."""
    styles = {name: style for name, style in styles.items() if name}
    handles = [
        *(Line2D([], [], color=of.colour, marker=of.marker, markersize=4.5, linewidth=1.4) for of in styles.values()),
        *(Line2D([], [], color="#666666", linestyle=dash, linewidth=1.0) for dash in dashes.values()),
    ]
    names = [*styles, *(f"control {name}" for name in dashes)]
    if not names:
        return
    figure.legend(
        handles,
        [wrapped(name, LINE_LETTERS, 1) for name in names],
        loc="outside lower center",
        ncols=min(len(names), n_columns),
        fontsize=8.5,
        frameon=False,
    )
