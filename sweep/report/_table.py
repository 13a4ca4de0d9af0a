"""The results in a terminal, or in the file that stands in for one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from frozen.console import Terminal
from frozen.readout.measures import Dimension, Expectation, Headline, Measure
from sweep.report._format import DECIMALS, FEWEST_DECIMALS, NOTHING, counted, estimate_text, first_line
from sweep.report._groups import Group, measure_groups, rows_of
from sweep.report._layout import Layout
from sweep.report._rows import Estimate, Row, prepared
from sweep.report._verdict import MOST_ANSWERS, answers, verdict

GAP = 2
FILE_WIDTH = 100
NARROWEST_TEXT = 6
MOST_MEASURES, FEWEST_MEASURES = 4, 2
"""Printed of a group of rows: those for which there is room, but not fewer."""
_FEW_DECIMALS = {unit: min(many, FEWEST_DECIMALS) for unit, many in DECIMALS.items()}


@dataclass(frozen=True)
class _Line:
    """A row as text: its values of the dimensions, the headline estimates, flags."""

    dataset: str
    backbone: str
    is_control: bool
    failed: bool
    cells: tuple[str, ...]


def print_table(
    rows: pd.DataFrame,
    dimensions: tuple[Dimension, ...],
    measures: tuple[Measure, ...],
    flag_meanings: Mapping[str, str],
    console: Console | None = None,
    *,
    mild_flags: frozenset[str] = frozenset(),
    headline: Headline | None = None,
    expectations: Sequence[Expectation] = (),
) -> None:
    """Print the headline results, one line a cell, where each backbone gives most, and whether the controls hold.

    Args:
        rows: result rows; each measure has the columns `X`, `X_low` and `X_high`.
        dimensions: of the read-out; a column each.
        measures: what the rows hold; of rows that fill the same ones the first are printed, as there is room.
        flag_meanings: a sentence for each flag.
        console: where to print; standard output if none is given. Numbers are never cut, however narrow it is.
        mild_flags: those that say how a number could be better; they are counted.
        headline: what is said of each backbone; None takes the first measure of all rows.
        expectations: what controls must give.
    """
    console = console or Terminal()
    layout = Layout(dimensions)
    cells = prepared(rows, layout, measures)
    if not cells:
        _say(console, Text("No cell has been measured yet."))
        return
    short = {flag: flag for row in cells for flag in row.flags if flag not in mild_flags}
    groups = measure_groups(cells, layout, measures)
    printed: dict[str, Measure] = {}
    for group in groups:
        if len(groups) > 1:
            _say(console, Text(f"\n{', '.join(group.stages)}", style="bold underline"))
        own = rows_of(group, cells, layout)
        told = layout.dimensions if len(groups) == 1 else _telling(own, group, layout)
        shown = _print_group(own, told, group.measures, short, console)
        printed |= {measure.column: measure for measure in shown}
    _print_legend(cells, tuple(printed.values()), flag_meanings, mild_flags, console)
    _print_failures(cells, console)
    _print_answers(cells, measures, headline, expectations, console)


def _print_group(
    rows: Sequence[Row],
    dimensions: Sequence[Dimension],
    measures: Sequence[Measure],
    short: Mapping[str, str],
    console: Console,
) -> Sequence[Measure]:
    """Print the rows that fill the same measures, controls last; returns the measures for which there was room."""
    names = tuple(one.label for one in dimensions)
    room = _room(console)
    for count in range(min(MOST_MEASURES, len(measures)), 0, -1):
        shown = measures[:count]
        header = (*names, *(measure.symbol for measure in shown), "flags")
        lines = [_line(row, dimensions, shown, short, DECIMALS) for row in rows]
        if not _fits(header, lines, room):
            lines = [_line(row, dimensions, shown, short, _FEW_DECIMALS) for row in rows]
        if count <= FEWEST_MEASURES or _fits(header, lines, room):
            break
    widths = _widths(header, lines, room, len(names))
    _print_section([line for line in lines if not line.is_control], header, widths, len(names), console)
    if any(line.is_control for line in lines):
        _say(console, Text("\nControls", style="bold underline"))
        _print_section([line for line in lines if line.is_control], header, widths, len(names), console)
    return shown


def _print_answers(
    rows: tuple[Row, ...],
    measures: tuple[Measure, ...],
    headline: Headline | None,
    expectations: Sequence[Expectation],
    console: Console,
) -> None:
    """Last, where a terminal shows it: where each backbone gives most, and whether the controls hold."""
    found = answers(rows, measures, headline)
    if found:
        _say(console, Text())
    for one in found[:MOST_ANSWERS]:
        _say(
            console,
            Text(one.sentence if len({row.dataset for row in rows}) == 1 else f"{one.dataset} · {one.sentence}"),
        )
    if len(found) > MOST_ANSWERS:
        _say(console, Text(f"and {len(found) - MOST_ANSWERS} more, in the report", style="dim"))
    controls = verdict(rows, measures, expectations)
    if controls is not None:
        style = {True: "bold green", False: "bold red", None: "yellow"}[controls.holds]
        for line in (controls.line, *controls.faults):
            _say(console, Text(line, style=style))


def _telling(rows: Sequence[Row], group: Group, layout: Layout) -> list[Dimension]:
    """The dimensions of a group that say something: not the one that its title says, nor one without values."""
    said = layout.panels[0] if len(group.stages) == 1 else None
    return [
        one for one in layout.dimensions if one is not said and any(row.values[one.name] != NOTHING for row in rows)
    ]


def _line(
    row: Row,
    dimensions: Sequence[Dimension],
    headline: Sequence[Measure],
    short: Mapping[str, str],
    decimals: Mapping[str, int],
) -> _Line:
    estimates = [_number(row.estimates[m.column], decimals[m.unit]) for m in headline]
    if row.failed:
        estimates = ["failed", *[""] * (len(headline) - 1)]
    n_mild = sum(flag not in short for flag in row.flags)
    flags = " ".join([*(short[flag] for flag in row.flags if flag in short), *([f"+{n_mild}"] if n_mild else [])])
    cells = (*(row.values[one.name] for one in dimensions), *estimates, flags)
    return _Line(row.dataset, row.backbone, row.is_control, row.failed, cells)


def _number(estimate: Estimate, decimals: int) -> str:
    return " ".join(estimate_text(estimate.value, estimate.low, estimate.high, decimals)).rstrip()


def _room(console: Console) -> int:
    return console.width if console.is_terminal else max(console.width, FILE_WIDTH)


def _natural_widths(header: tuple[str, ...], lines: Sequence[_Line]) -> list[int]:
    columns = zip(header, *(line.cells for line in lines), strict=True)
    return [max(cell_len(cell) for cell in column) for column in columns]


def _fits(header: tuple[str, ...], lines: Sequence[_Line], room: int) -> bool:
    return _total(_natural_widths(header, lines)) <= room


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def _widths(header: tuple[str, ...], lines: Sequence[_Line], room: int, n_names: int) -> list[int]:
    """Width of each column; where the room does not suffice names and flags are folded, numbers never."""
    widths = _natural_widths(header, lines)
    foldable = [*range(n_names), len(widths) - 1]
    while _total(widths) > room:
        widest = max(foldable, key=widths.__getitem__)
        if widths[widest] <= NARROWEST_TEXT:
            break
        widths[widest] -= 1
    return widths


def _print_section(
    lines: list[_Line], header: tuple[str, ...], widths: list[int], n_names: int, console: Console
) -> None:
    for dataset in dict.fromkeys(line.dataset for line in lines):
        of_dataset = [line for line in lines if line.dataset == dataset]
        _say(console, Text(f"\n{dataset}", style="bold"))
        head = _grid(widths, n_names)
        head.add_row(*(Text(cell, style="dim") for cell in header))
        head.add_row(*(Text("─" * width, style="dim") for width in widths))
        console.print(head, crop=False)
        for backbone in dict.fromkeys(line.backbone for line in of_dataset):
            _say(console, Text(backbone, style="cyan"))
            grid = _grid(widths, n_names)
            for line in of_dataset:
                if line.backbone == backbone:
                    grid.add_row(*(Text(cell) for cell in line.cells), style="red" if line.failed else None)
            console.print(grid, crop=False)


def _grid(widths: list[int], n_names: int) -> Table:
    grid = Table(
        box=None,
        show_header=False,
        pad_edge=False,
        padding=(0, GAP, 0, 0),
        width=_total(widths),
    )
    for position, width in enumerate(widths):
        is_number = n_names <= position < len(widths) - 1
        grid.add_column(width=width, no_wrap=is_number, overflow="fold", justify="right" if is_number else "left")
    return grid


def _print_legend(
    rows: tuple[Row, ...],
    headline: tuple[Measure, ...],
    meanings: Mapping[str, str],
    mild: frozenset[str],
    console: Console,
) -> None:
    _say(console, Text())
    for measure in headline:
        _say(console, Text(f"{measure.symbol}  {measure.label} ({measure.unit})", style="dim"))
    counts = Counter(flag for row in rows for flag in row.flags)
    for flag in sorted(set(counts) - mild):
        of_cells = f"{flag} ({counted(counts[flag], 'cell')})"
        _say(console, Text(": ".join(filter(None, (of_cells, meanings.get(flag))))))
    if could_be_better := [f"{flag} {counts[flag]}" for flag in sorted(counts) if flag in mild]:
        _say(console, Text(f"+n  could be better, see the report: {', '.join(could_be_better)}", style="dim"))


def _print_failures(rows: tuple[Row, ...], console: Console) -> None:
    failures = [row for row in rows if row.failed]
    if not failures:
        return
    _say(console, Text(f"\n{counted(len(failures), 'cell')} failed", style="bold red"))
    for row in failures:
        _say(console, Text(f"{' · '.join(row.place)}: {first_line(row.error)}", style="red"))


def _say(console: Console, text: Text) -> None:
    """Print text as it is: on one line each, for the terminal to wrap and a file to keep."""
    console.print(text, soft_wrap=True)
