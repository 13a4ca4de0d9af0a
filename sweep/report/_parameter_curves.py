"""A measure against a number in which data sets differ: lines with their intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

from frozen.readout.measures import Measure
from sweep.report._curves import (
    CONTROL_DASHES,
    PANEL_HEIGHT_INCHES,
    PANEL_LETTERS,
    PANEL_WIDTH_INCHES,
    Dashes,
    LineStyle,
    add_legend,
    draw_curve,
    dress,
    value_limits,
)
from sweep.report._lettering import measure_text, plain, wrapped
from sweep.report._parameters import Line, ParameterAxis
from sweep.report._rows import Row, distinct, lines_of, panels_of


def parameter_curves(
    rows: Sequence[Row], measure: Measure, styles: Mapping[str, LineStyle], axis: ParameterAxis
) -> Figure | None:
    """Draw a measure, at the best depth of each data set, over a setting of the data sets.

    Args:
        rows: prepared rows.
        measure: what the y axis shows.
        styles: colour and marker of each line in the rows.
        axis: where the data sets stand.

    Returns:
        A figure with a column a backbone and a row a panel of the layout and line of data sets; None where nothing is
        defined.
    """
    rows = [row for row in rows if row.estimates[measure.column].is_defined]
    panels = [
        (line, backbone, name)
        for line in axis.lines
        for name in panels_of(row for row in rows if not row.is_control)
        for backbone in distinct(row.backbone for row in rows if not row.is_control)
    ]
    drawn = [panel for panel in panels if any(_is_in(panel, row) for row in rows)]
    if not drawn:
        return None
    lines = list(dict.fromkeys((line.label, name) for line, _, name in drawn))
    columns = distinct(backbone for _, backbone, _ in drawn)
    size = (1.0 + PANEL_WIDTH_INCHES * len(columns), 1.2 + PANEL_HEIGHT_INCHES * len(lines))
    figure = Figure(figsize=size, dpi=150, layout="constrained")
    grid = figure.subplots(len(lines), len(columns), sharex=True, sharey=True, squeeze=False)
    controls = distinct(row.control for row in rows if row.is_control)
    dashes = {name: CONTROL_DASHES[position % len(CONTROL_DASHES)] for position, name in enumerate(controls)}
    limits = value_limits([row.estimates[measure.column] for row in rows], measure)
    for line, backbone, name in drawn:
        axes = grid[lines.index((line.label, name))][columns.index(backbone)]
        axes.set_ylim(*limits)
        of_line = [row for row in rows if row.dataset in line.points]
        _draw_controls(
            axes, [row for row in of_line if _is_control_in(backbone, name, row)], measure, line, styles, dashes
        )
        for style in lines_of(row for row in of_line if not row.is_control):
            of_style = [row for row in of_line if _is_in((line, backbone, name), row) and row.line == style]
            curve = _best(of_style, measure)
            x = np.array([line.points[row.dataset] for row in curve])
            draw_curve(axes, x, curve, measure, styles[style], style)
    _name(grid, lines, columns, measure, axis)
    figure.suptitle(wrapped(f"{measure.label} by {axis.title}", 20 + 34 * len(columns)), fontsize=11)
    add_legend(figure, {style: styles[style] for style in lines_of(rows)}, dashes, n_columns=2 * len(columns))
    return figure


def _is_in(panel: tuple[Line, str, str], row: Row) -> bool:
    line, backbone, name = panel
    return not row.is_control and row.dataset in line.points and (row.backbone, row.panel) == (backbone, name)


def _is_control_in(backbone: str, name: str, row: Row) -> bool:
    return row.is_control and (not row.control_of or (row.control_of, row.panel) == (backbone, name))


def _best(rows: Iterable[Row], measure: Measure) -> list[Row]:
    """The row with the largest estimate of each data set, in the order of the rows."""
    best: dict[str, Row] = {}
    for row in rows:
        value = row.estimates[measure.column].value
        if row.dataset not in best or value > best[row.dataset].estimates[measure.column].value:
            best[row.dataset] = row
    return list(best.values())


def _draw_controls(
    axes: Axes,
    rows: Sequence[Row],
    measure: Measure,
    line: Line,
    styles: Mapping[str, LineStyle],
    dashes: Mapping[str, Dashes],
) -> None:
    """A dashed line with its band for each control and line of the figure; families are not averaged."""
    for control in distinct(row.control for row in rows):
        for style in lines_of(row for row in rows if row.control == control):
            curve = _best([row for row in rows if (row.control, row.line) == (control, style)], measure)
            curve.sort(key=lambda row: line.points[row.dataset])
            found = [row.estimates[measure.column] for row in curve]
            x = [line.points[row.dataset] for row in curve]
            ends = [(one.low, one.high) if one.is_bounded else (one.value, one.value) for one in found]
            looks = {"color": styles[style].colour, "zorder": 1}
            values = [one.value for one in found]
            axes.plot(x, values, linestyle=dashes[control], linewidth=1.0, alpha=0.8, **looks)
            axes.fill_between(x, *zip(*ends, strict=True), alpha=0.07, linewidth=0, **looks)


def _name(
    grid: np.ndarray, lines: list[tuple[str, str]], columns: list[str], measure: Measure, axis: ParameterAxis
) -> None:
    places = sorted({x for line in axis.lines for x in line.points.values()})
    for axes in grid.flat:
        axes.set_xscale("log" if axis.is_log else "linear")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xticks(places, [f"{place:g}" for place in places])
        dress(axes, "")
    for axes in grid[-1]:
        axes.set_xlabel(plain(axis.title), fontsize=9)
    for (label, name), axes in zip(lines, grid[:, 0], strict=True):
        of_line = "\n".join(wrapped(text, PANEL_LETTERS) for text in (label, name) if text and len(lines) > 1)
        axes.set_ylabel(f"{of_line}\n{measure_text(measure)}".strip(), fontsize=9)
    for backbone, axes in zip(columns, grid[0], strict=True):
        axes.set_title(wrapped(backbone, 34), fontsize=9)
