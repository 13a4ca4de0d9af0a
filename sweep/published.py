"""Published numbers beside those a study has measured."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from sweep.cells import Cell
from sweep.results import ResultsDirectory, Row
from sweep.space import Published

_PLACE = ("dataset", "backbone", "layer", "mode", "probe")


class Line(NamedTuple):
    """A published number and one cell that measured it; without a cell nothing is measured yet."""

    column: str
    dataset: str
    backbone: str
    layer: str
    mode: str
    probe: str
    published: float
    measured: float | None
    measured_low: float | None
    measured_high: float | None
    difference: float | None
    tolerance: float
    verdict: str
    source: str

    @property
    def place(self) -> str:
        """Where in the grid, data set apart."""
        return " · ".join(part for part in (self.backbone, self.layer, self.mode, self.probe) if part)

    @property
    def numbers(self) -> tuple[str, str, str, str]:
        """Published, measured with its interval, difference and tolerance, as text."""
        interval = ""
        if self.measured_low is not None and self.measured_high is not None:
            interval = f" [{self.measured_low:.3f}, {self.measured_high:.3f}]"
        measured = "" if self.measured is None else f"{self.measured:.3f}{interval}"
        difference = "" if self.difference is None else f"{self.difference:+.3f}"
        return f"{self.published:.3f}", measured, difference, f"{self.tolerance:.3f}"


def held_against(rows: Iterable[Row], published: Iterable[Published]) -> Iterator[Line]:
    """A line for every cell that a published number is about."""
    done = [row for row in rows if row["status"] == "done" and not row["is_control"]]
    for number in published:
        wanted = {name: getattr(number, name) for name in _PLACE if getattr(number, name) is not None}
        fitting = [row for row in done if all(row[name] == value for name, value in wanted.items())]
        for row in fitting:
            yield _line(number, row)
        if not fitting:
            yield _line(number, {**dict.fromkeys(_PLACE, ""), **wanted}, "not measured")


def _line(number: Published, row: Row, otherwise: str = "undefined") -> Line:
    """The number beside a row's; a row without it gets the other verdict."""
    measured = _number(row, number.column)
    difference = None if measured is None else measured - number.value
    verdict = otherwise
    if difference is not None:
        verdict = "reproduced" if abs(difference) <= number.tolerance else "differs"
    place = {name: str(row[name]) for name in _PLACE}
    return Line(
        column=number.column,
        **place,
        published=number.value,
        measured=measured,
        measured_low=_number(row, f"{number.column}_low"),
        measured_high=_number(row, f"{number.column}_high"),
        difference=difference,
        tolerance=number.tolerance,
        verdict=verdict,
        source=number.source,
    )


def _number(row: Row, column: str) -> float | None:
    value = row.get(column)
    return value if isinstance(value, int | float) else None


def show_published(
    results: ResultsDirectory, cells: Iterable[Cell], published: Sequence[Published], console: Console
) -> None:
    """Print the table and write it to published.csv; nothing where a study names no published numbers."""
    if not published:
        return
    rows = results.rows()
    lines = list(held_against([rows[cell.cell_id] for cell in cells if cell.cell_id in rows], published))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([Line._fields, *lines])
    results.write_text("published.csv", text.getvalue())
    table = Table("where", "column", "published", "measured", "difference", "tolerance", "", box=SIMPLE)
    for line in lines:
        table.add_row(line.place, line.column, *line.numbers, line.verdict)
    console.print("\npublished | measured | difference", highlight=False)
    wide = console if console.is_terminal else Console(file=console.file, width=max(console.width, 120))
    wide.print(table)
