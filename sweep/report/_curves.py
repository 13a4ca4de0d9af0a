"""A measure against depth: a line a probe with its interval, a panel a backbone and mode."""

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
from sweep.report._lettering import measure_text, plain, thinned, wrapped
from sweep.report._rows import Estimate, Row, distinct

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
LAYER_LETTERS, MODE_LETTERS, CONTROL_LETTERS, PROBE_LETTERS = 14, 24, 28, 40


@dataclass(frozen=True)
class ProbeStyle:
    colour: str
    marker: str


def probe_styles(rows: Sequence[Row]) -> dict[str, ProbeStyle]:
    """One colour and marker a probe, the same in every figure of a report."""
    return {
        probe: ProbeStyle(COLOURS[position % len(COLOURS)], MARKERS[position % len(MARKERS)])
        for position, probe in enumerate(distinct(row.probe for row in rows))
    }


def layer_curves(rows: Sequence[Row], measure: Measure, styles: Mapping[str, ProbeStyle], title: str) -> Figure:
    """Draw a measure over the layers of one data set.

    Args:
        rows: the rows of one data set. Controls of the data set become horizontal lines in every panel; those of a
            backbone are dashed in its panels.
        measure: what the y axis shows.
        styles: colour and marker of each probe in the rows.
        title: what the figure is titled after the measure's name, the data set as a rule.

    Returns:
        A figure with a column a backbone and a row a mode, all on one y axis.
    """
    cells = [row for row in rows if not row.is_control]
    controls = [row for row in rows if row.is_control and row.estimates[measure.column].is_defined]
    of_dataset = [row for row in controls if not row.control_of]
    dashes = dict(zip(distinct(row.control for row in controls), cycle(CONTROL_DASHES), strict=False))
    backbones, modes = distinct(row.backbone for row in cells), distinct(row.mode for row in cells)
    size = (1.6 + PANEL_WIDTH_INCHES * len(backbones), 1.2 + PANEL_HEIGHT_INCHES * len(modes))
    figure = Figure(figsize=size, dpi=150, layout="constrained")
    panels = figure.subplots(len(modes), len(backbones), sharey=True, squeeze=False)
    limits = value_limits([row.estimates[measure.column] for row in rows], measure)
    for mode, line_of_panels in zip(modes, panels, strict=True):
        for backbone, axes in zip(backbones, line_of_panels, strict=True):
            of_backbone = [row for row in cells if row.backbone == backbone]
            axes.set_ylim(*limits)
            _draw_controls(axes, of_dataset, measure, styles, dashes)
            own = [row for row in controls if (row.control_of, row.mode) == (backbone, mode)]
            _draw_own_controls(axes, own, measure, styles, dashes)
            _draw_probes(axes, [row for row in of_backbone if row.mode == mode], measure, styles)
            _name_layers(axes, of_backbone)
            dress(axes)
        _label_controls(line_of_panels[-1], of_dataset, measure)
        of_mode = f"{wrapped(mode, MODE_LETTERS)}\n" if len(modes) > 1 else ""
        line_of_panels[0].set_ylabel(of_mode + measure_text(measure), fontsize=9)
    for backbone, axes in zip(backbones, panels[0], strict=True):
        axes.set_title(wrapped(backbone, 34), fontsize=9)
    figure.suptitle(wrapped(f"{measure.label} · {title}", 25 + 34 * len(backbones)), fontsize=11)
    probes = distinct(row.probe for row in rows if row.estimates[measure.column].is_defined)
    own_dashes = {name: dashes[name] for name in distinct(row.control for row in controls if row.control_of)}
    add_legend(figure, {probe: styles[probe] for probe in probes}, own_dashes, n_columns=2 * len(backbones))
    return figure


def value_limits(estimates: Iterable[Estimate], measure: Measure) -> tuple[float, float]:
    """Limits of the y axis: all estimates, their intervals unless far beyond, and for a ratio 0 to 1 in any case."""
    shown = [one for one in estimates if one.is_defined]
    values = [0.0, *([1.0] if measure.unit == "ratio" else []), *(one.value for one in shown)]
    room = FAR * (max(values) - min(values) or 1.0)
    ends = [*values, *(end for one in shown for end in (one.low, one.high) if math.isfinite(end))]
    low, high = max(min(ends), min(values) - room), min(max(ends), max(values) + room)
    margin = 0.05 * (high - low or 1.0)
    usual = (-0.1, 1.05) if measure.unit == "ratio" else (-margin, margin)
    return min(usual[0], low - margin), max(usual[1], high + margin)


def _draw_probes(axes: Axes, cells: Sequence[Row], measure: Measure, styles: Mapping[str, ProbeStyle]) -> None:
    probes = distinct(row.probe for row in cells)
    is_single_layer = len({row.layer_index for row in cells}) == 1
    for position, probe in enumerate(probes):
        curve = [row for row in cells if row.probe == probe and math.isfinite(row.layer_index)]
        aside = 0.12 * (position - (len(probes) - 1) / 2) if is_single_layer else 0.0
        depth = np.array([row.layer_index + aside for row in curve])
        draw_curve(axes, depth, [row.estimates[measure.column] for row in curve], styles[probe], probe)


def draw_curve(
    axes: Axes, depth: Float[np.ndarray, " layer"], estimates: list[Estimate], style: ProbeStyle, label: str
) -> None:
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
    axes.fill_between(depth, low, high, color=style.colour, alpha=0.18, linewidth=0, zorder=2)
    alone = _alone(value) & np.isfinite(low) & np.isfinite(high)
    if alone.any():
        reach = np.maximum(np.stack([value - low, high - value])[:, alone], 0.0)
        axes.errorbar(depth[alone], value[alone], reach, fmt="none", ecolor=style.colour, capsize=3, elinewidth=1.2)


def _alone(value: Float[np.ndarray, " layer"]) -> np.ndarray:
    """Which estimates have no neighbour to draw a band to."""
    present = np.isfinite(value)
    before, after = np.append(False, present[:-1]), np.append(present[1:], False)
    return present & ~before & ~after


def _name_layers(axes: Axes, cells: Sequence[Row]) -> None:
    """Mark every layer, and name those that there is room to name."""
    names = {row.layer_index: row.layer for row in cells if math.isfinite(row.layer_index)}
    depths = sorted(names)
    if not depths:
        axes.set_xticks([])
        return
    margin = 0.5 if len(depths) == 1 else max(0.04 * (depths[-1] - depths[0]), 0.15)
    axes.set_xlim(depths[0] - margin, depths[-1] + margin)
    widths = [LETTER_WIDTH_INCHES * (min(len(names[depth]), LAYER_LETTERS) + 1.5) for depth in depths]
    inches_a_step = (PANEL_WIDTH_INCHES - 0.4) / (depths[-1] - depths[0] + 2 * margin)
    named = [depths[position] for position in thinned([depth * inches_a_step for depth in depths], widths)]
    axes.set_xticks(named, [wrapped(names[depth], LAYER_LETTERS, 1) for depth in named])
    axes.set_xticks(depths, minor=True)


def dress(axes: Axes) -> None:
    axes.set_xlabel("layer", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_controls(
    axes: Axes,
    controls: Sequence[Row],
    measure: Measure,
    styles: Mapping[str, ProbeStyle],
    dashes: Mapping[str, Dashes],
) -> None:
    for row in controls:
        estimate, colour = row.estimates[measure.column], styles[row.probe].colour
        axes.axhline(estimate.value, color=colour, linestyle=dashes[row.control], linewidth=1.0, alpha=0.8, zorder=1)
        if estimate.is_bounded:
            axes.axhspan(estimate.low, estimate.high, color=colour, alpha=0.07, linewidth=0, zorder=0)


def _draw_own_controls(
    axes: Axes,
    controls: Sequence[Row],
    measure: Measure,
    styles: Mapping[str, ProbeStyle],
    dashes: Mapping[str, Dashes],
) -> None:
    """Controls of the panel's backbone: a dashed line over the layers, or across the panel for a single one."""
    for control, probe in sorted({(row.control, row.probe) for row in controls}):
        curve = [row for row in controls if (row.control, row.probe) == (control, probe)]
        if len(curve) == 1:
            _draw_controls(axes, curve, measure, styles, dashes)
            continue
        depth = np.array([row.layer_index for row in curve])
        ends = np.array([(one.value, one.low, one.high) for one in (row.estimates[measure.column] for row in curve)])
        looks = {"color": styles[probe].colour, "zorder": 1}
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


def add_legend(
    figure: Figure, styles: Mapping[str, ProbeStyle], dashes: Mapping[str, Dashes], n_columns: int
) -> None:
    """Name the probes, and the controls that are told apart by their dashes."""
    handles = [
        *(Line2D([], [], color=of.colour, marker=of.marker, markersize=4.5, linewidth=1.4) for of in styles.values()),
        *(Line2D([], [], color="#666666", linestyle=dash, linewidth=1.0) for dash in dashes.values()),
    ]
    names = [*styles, *(f"control {name}" for name in dashes)]
    figure.legend(
        handles,
        [wrapped(name, PROBE_LETTERS, 1) for name in names],
        loc="outside lower center",
        ncols=min(len(names), n_columns),
        fontsize=8.5,
        frameon=False,
    )
