"""Compares cells on the same samples: `python -m sweep.compare results/NAME CELL CELL`, or `--all` of them."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import combinations, groupby, islice
from pathlib import Path
from typing import Any, NamedTuple

from rich.progress import Progress

from frozen.console import Terminal
from frozen.intervals import IntervalConfig, holm
from frozen.readout.measures import Measure
from frozen.readout.readout import Difference, Readout, measured
from frozen.terminal import Arguments, complain, on_one_line, run_command, say
from sweep.results.directory import ResultsDirectory
from sweep.results.spreadsheet import csv_text
from sweep.results.stored import ResultsError, StoredCell, StoredResults, open_results

DONE, USER_ERROR, INTERRUPTED = 0, 2, 130
TABLE = "comparison.csv"
"""Where the whole table goes when the terminal shows the first lines only."""

_MOST_SHOWN = 10


def parser() -> argparse.ArgumentParser:
    """The command line's arguments."""
    arguments = Arguments(
        prog="python -m sweep.compare",
        description="Differences between cells with paired intervals: one draw of seeds and samples serves both. "
        "p-values are two-sided, from the bootstrap's standard error and Student's t; those of a table are corrected "
        "after Holm, one family a measure.",
        epilog=f"The terminal shows the largest {_MOST_SHOWN} differences of each measure; if there are more, all of "
        f"them are written to --csv, by default {TABLE} in the results. exit codes: 0 compared, 2 cells that do not "
        "exist or were not measured on the same samples, 130 interrupted",
    )
    arguments.add_argument("results", type=Path, help="results of a study, such as results/quickstart")
    arguments.add_argument("cells", nargs="*", metavar="CELL", help="two or more cell ids, or beginnings of ids")
    arguments.add_argument("--all", action="store_true", help="every pair of cells on the same data set")
    arguments.add_argument(
        "--where", action="append", default=[], metavar="COLUMN=VALUE", help="with --all: only such cells"
    )
    arguments.add_argument(
        "--measure", action="append", default=[], metavar="COLUMN", help="only this measure; by default all"
    )
    arguments.add_argument("--level", type=float, default=0.95, help="coverage the intervals aim at (0.95)")
    arguments.add_argument("--resamples", type=int, default=2000, metavar="N", help="bootstrap resamples (2000)")
    arguments.add_argument("--seed", type=int, default=0, help="seed of the bootstrap (0)")
    arguments.add_argument("--csv", type=Path, metavar="FILE", help="write the table to a CSV file")
    arguments.add_argument("--json", type=Path, metavar="FILE", help="write the table to a JSON file")
    return arguments


class Line(NamedTuple):
    """One line of the table."""

    one: str
    other: str
    one_name: str
    other_name: str
    measure: str
    value_one: float
    value_other: float
    difference: float
    difference_low: float
    difference_high: float
    p_value: float
    p_holm: float


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = parser().parse_args(argv)
    try:
        config = IntervalConfig(level=options.level, resamples=options.resamples)
        results = open_results(options.results)
        lines = _compare(results, options, config)
    except ValueError as error:
        complain(error)
        return USER_ERROR
    except KeyboardInterrupt:
        complain("\ninterrupted; nothing was written")
        return INTERRUPTED
    n_shown = _print(lines, options.level)
    table = [line._asdict() for line in lines]
    place = options.csv
    if options.csv:
        options.csv.write_text(csv_text(Line._fields, lines), encoding="utf-8")
    elif n_shown < len(lines):
        place = ResultsDirectory(results.folder).write_text(TABLE, csv_text(Line._fields, lines))
    if n_shown < len(lines):
        say(f"{n_shown} of {len(lines):,} differences are shown, the largest of each measure; all are in {place}")
    for remark in results.study.remarks():
        say(remark)
    if options.json:
        options.json.write_text(json.dumps(table, indent=1), encoding="utf-8")
    return DONE


def _compare(results: StoredResults, options: argparse.Namespace, config: IntervalConfig) -> list[Line]:
    """Differences of each measure, the largest first."""
    columns = _columns(measured(results.readout, [cell.row for cell in results.cells]), options.measure)
    if options.all == bool(options.cells):
        raise ResultsError("name two or more cells, or say --all")
    if options.all:
        has_samples = results.readout.has_samples
        groups = _by_data([cell for cell in results.cells if has_samples(cell.row) and _fits(cell, options.where)])
        if not groups:
            raise ResultsError("no two done cells of one data set fit; `results.csv` lists them")
    else:
        chosen = [results.find(prefix) for prefix in options.cells]
        if len({cell.cell_id for cell in chosen}) < max(len(chosen), 2):
            raise ResultsError("needs two or more different cells")
        groups = [chosen]
    with Progress(console=Terminal(sys.stderr), transient=True) as bar:  # pyright: ignore[reportArgumentType]
        found = [
            one
            for group in groups
            for one in _differences(results.readout, group, columns, config, options.seed, bar)
        ]
    lines = _corrected(found, _names([cell for group in groups for cell in group]))
    return sorted(lines, key=lambda line: (columns.index(line.measure), -abs(line.difference)))


def _columns(measures: Iterable[Measure], wanted: list[str]) -> list[str]:
    offered = [measure.column for measure in measures]
    if unknown := [name for name in wanted if name not in offered]:
        raise ResultsError(f"there is no measure {', '.join(unknown)}; there are {', '.join(offered)}")
    return wanted or offered


def _fits(cell: StoredCell, conditions: list[str]) -> bool:
    for condition in conditions:
        column, found, value = condition.partition("=")
        if not found or column not in cell.row:
            raise ResultsError(f"--where {condition}: must be COLUMN=VALUE with a column of results.csv")
        if str(cell.row[column]) != value:
            return False
    return True


def _by_data(cells: Iterable[StoredCell]) -> list[list[StoredCell]]:
    groups: dict[Any, list[StoredCell]] = {}
    for cell in cells:
        groups.setdefault(cell.row["data_fingerprint"], []).append(cell)
    return [group for group in groups.values() if len(group) > 1]


def _differences(
    readout: Readout, cells: list[StoredCell], columns: list[str], config: IntervalConfig, seed: int, bar: Progress
) -> Sequence[Difference]:
    n_pairs = len(cells) * (len(cells) - 1) // 2
    pairs_of = "1 pair" if n_pairs == 1 else f"{n_pairs:,} pairs"
    doing = f"{pairs_of} of {len(cells)} cells on {on_one_line(cells[0].row['dataset'])}"
    if not bar.console.is_terminal:
        complain(f"comparing {doing}")
    stored = {cell.cell_id: (cell.row, cell.samples()) for cell in cells}
    pairs = bar.track(combinations(stored, 2), total=n_pairs, description=doing)
    return readout.compare(stored, pairs, columns, config, seed=seed)


def _names(cells: Sequence[StoredCell]) -> dict[str, str]:
    """Names by cell, of the parts in which these cells differ; those that differ in none have the id's beginning."""
    parts = {cell.cell_id: cell.parts for cell in cells}
    differ = [len(set(values)) > 1 for values in zip(*parts.values(), strict=True)]
    names = {
        cell: " · ".join(part for part, kept in zip(of, differ, strict=True) if kept) for cell, of in parts.items()
    }
    count = Counter(names.values())
    return {cell: name if count[name] == 1 else f"{name} ({cell[:8]})".strip() for cell, name in names.items()}


def _corrected(found: Sequence[Difference], names: dict[str, str]) -> list[Line]:
    corrected: dict[int, float] = {}
    for column in dict.fromkeys(one.column for one in found):
        family = [number for number, one in enumerate(found) if one.column == column]
        corrected |= dict(zip(family, holm([found[number].p_value for number in family]), strict=True))
    return [
        Line(
            one.one,
            one.other,
            names[one.one],
            names[one.other],
            one.column,
            *one.values,
            *one.difference,
            one.p_value,
            corrected[number],
        )
        for number, one in enumerate(found)
    ]


def _print(lines: list[Line], level: float) -> int:
    """Print the first lines of each measure; returns how many."""
    from rich.box import SIMPLE
    from rich.table import Table

    console = Terminal()
    shown = [line for _, of in groupby(lines, lambda line: line.measure) for line in islice(of, _MOST_SHOWN)]
    table = Table("one", "other", "measure", "difference", f"{level:.0%} interval", "p", "p (Holm)", box=SIMPLE)
    for line in shown:
        bounds = f"[{line.difference_low:+.3f}, {line.difference_high:+.3f}]"
        numbers = f"{line.difference:+.3f}", bounds, f"{line.p_value:.2g}", f"{line.p_holm:.2g}"
        table.add_row(on_one_line(line.one_name), on_one_line(line.other_name), line.measure, *numbers)
    wide = console if console.is_terminal else Terminal(width=max(console.width, 120))
    wide.print(table)
    return len(shown)


if __name__ == "__main__":
    run_command(main)
