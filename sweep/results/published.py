"""Published numbers beside those a study has measured."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from rich.console import Console

from frozen.readout.cells import Cell
from frozen.readout.readout import Readout
from frozen.readout.study import Published
from sweep.results.directory import ResultsDirectory, Row
from sweep.results.spreadsheet import csv_text


class PublishedLine(NamedTuple):
    """A published number and one cell that measured it; without a cell nothing is measured yet."""

    column: str
    dataset: str
    backbone: str
    dimensions: tuple[str, ...]
    """Values of the read-out's dimensions."""
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
        return " · ".join(part for part in (self.backbone, *self.dimensions) if part)

    @property
    def numbers(self) -> tuple[str, str, str, str]:
        """Published, measured with its interval, difference and tolerance, as text."""
        interval = ""
        if self.measured_low is not None and self.measured_high is not None:
            interval = f" [{self.measured_low:.3f}, {self.measured_high:.3f}]"
        measured = "" if self.measured is None else f"{self.measured:.3f}{interval}"
        difference = "" if self.difference is None else f"{self.difference:+.3f}"
        return f"{self.published:.3f}", measured, difference, f"{self.tolerance:g}"


def held_against(rows: Iterable[Row], published: Iterable[Published], readout: Readout) -> Iterator[PublishedLine]:
    """A line for every cell that a published number is about."""
    names = [one.name for one in readout.dimensions]
    done = [row for row in rows if row["status"] == "done" and not row["is_control"]]
    for number in published:
        wanted = dict(number.where)
        fitting = [row for row in done if all(row[name] == value for name, value in wanted.items())]
        for row in fitting:
            yield _line(number, row, names)
        if not fitting:
            empty = dict.fromkeys(("dataset", "backbone", *names), "")
            yield _line(number, empty | wanted, names, "not measured")


def _line(number: Published, row: Row, names: Sequence[str], otherwise: str = "undefined") -> PublishedLine:
    """The number beside a row's; a row without it gets the other verdict."""
    measured = _number(row, number.column)
    difference = None if measured is None else measured - number.value
    verdict = otherwise
    if difference is not None:
        verdict = "reproduced" if abs(difference) <= number.tolerance else "differs"
    return PublishedLine(
        column=number.column,
        dataset=str(row["dataset"]),
        backbone=str(row["backbone"]),
        dimensions=tuple(str(row[name]) for name in names),
        published=number.value,
        measured=measured,
        measured_low=_number(row, f"{number.column}_low"),
        measured_high=_number(row, f"{number.column}_high"),
        difference=difference,
        tolerance=number.tolerance,
        verdict=verdict,
        source=number.source,
    )


def by_place(lines: Iterable[PublishedLine]) -> dict[str, list[PublishedLine]]:
    """Lines under the cell they are about, in the order of the published numbers.

    What several cells have alike, such as an entropy of their data set, is there once and under all of them.
    """
    alike: dict[PublishedLine, list[PublishedLine]] = defaultdict(list)
    for line in lines:
        alike[line._replace(backbone="", dimensions=())].append(line)
    places: dict[str, list[PublishedLine]] = defaultdict(list)
    several = len({line.dataset for line in alike if line.dataset}) > 1
    for found in alike.values():
        place = found[0].place or "all cells" if len(found) == 1 else f"{len(found)} cells alike"
        places[" · ".join([found[0].dataset, place] if several and found[0].dataset else [place])].append(found[0])
    return places


def _number(row: Row, column: str) -> float | None:
    value = row.get(column)
    return value if isinstance(value, int | float) else None


def show_published(
    results: ResultsDirectory,
    cells: Iterable[Cell],
    published: Sequence[Published],
    readout: Readout,
    console: Console,
) -> None:
    """Print the table and write it to published.csv; nothing where a study names no published numbers."""
    if not published:
        return
    rows = results.rows()
    lines = list(held_against([rows[cell.cell_id] for cell in cells if cell.cell_id in rows], published, readout))
    names = [one.name for one in readout.dimensions]
    at = PublishedLine._fields.index("dimensions")
    head = (*PublishedLine._fields[:at], *names, *PublishedLine._fields[at + 1 :])
    values = [(*line[:at], *line.dimensions, *line[at + 1 :]) for line in lines]
    results.write_text("published.csv", csv_text(head, values))
    console.print("\npublished | measured | difference", highlight=False)
    console.print(_text(lines), markup=False, highlight=False, soft_wrap=True)


def _text(lines: Sequence[PublishedLine]) -> str:
    """A line a number, in columns, under the name of the cell."""
    head = ("", "published", "measured", "difference", "tolerance", "")
    widths = [max(map(len, column)) for column in zip(head, *(_texts(line) for line in lines), strict=True)]

    def row(texts: Sequence[str]) -> str:
        name, *numbers = (text.rjust(width) for text, width in zip(texts[:-1], widths, strict=False))
        return "  ".join(["", name.strip().ljust(widths[0]), *numbers, texts[-1]]).rstrip()

    groups = (["", place, *(row(_texts(line)) for line in found)] for place, found in by_place(lines).items())
    return "\n".join([row(head), *(text for group in groups for text in group)])


def _texts(line: PublishedLine) -> tuple[str, ...]:
    return (line.column, *line.numbers, line.verdict)
