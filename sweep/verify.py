"""Checks results: `python -m sweep.verify results/NAME` recomputes every aggregate, and some cells from scratch."""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from frozen.console import Terminal
from frozen.terminal import Arguments, complain, run_command
from sweep.results.directory import CELLS_FILE
from sweep.results.stored import ResultsError, StoredCell, StoredResults, open_results, study_folders

if TYPE_CHECKING:
    from frozen.readout.cells import Cell

EQUAL, DIFFERENT, USER_ERROR = 0, 1, 2
TABLE = "results.parquet"

_ROUNDING = 1e-9
"""What another order of adding, on another machine or with other threads, may change."""


def parser() -> argparse.ArgumentParser:
    """The command line's arguments."""
    arguments = Arguments(
        prog="python -m sweep.verify",
        description="Recompute every aggregate and interval from the stored per-sample losses, and a few cells from "
        "scratch: data, activations, tuning, training.",
        epilog="exit codes: 0 everything is as it should be, 1 something is not, 2 there is nothing to verify",
    )
    arguments.add_argument("results", type=Path, help="results of a study, such as results/quickstart")
    arguments.add_argument("--cells", type=int, default=1, metavar="K", help="cells to measure from scratch (1)")
    arguments.add_argument("--seed", type=int, default=0, help="seed that picks them (0)")
    arguments.add_argument(
        "--tolerance", type=float, default=1e-4, help="difference allowed from scratch: float noise (0.0001)"
    )
    arguments.add_argument("--store", type=Path, default=Path("store"), metavar="DIR", help="folder of activations")
    arguments.add_argument("--fresh", action="store_true", help="extract activations anew even where they are stored")
    return arguments


class Mismatch(NamedTuple):
    """A value that is not what it should be."""

    cell_id: str
    column: str
    stored: object
    found: object


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    from sweep.study.load import StudyError

    options = parser().parse_args(argv)
    try:
        verdicts = [_verified(folder, options) for folder in study_folders(options.results)]
    except (ResultsError, StudyError) as error:
        complain(error)
        return USER_ERROR
    return EQUAL if all(verdicts) else DIFFERENT


def _verified(folder: Path, options: argparse.Namespace) -> bool:
    """Check one read-out's results and print what came of it; returns whether nothing differs."""
    results = open_results(folder)
    wrong = [mismatch for cell in results.cells for mismatch in _aggregates(results, cell)]
    wrong += _table(results)
    cells = _chosen(results, options.cells, options.seed)
    again = [mismatch for cell in cells for mismatch in _from_scratch(results, cell, options)]
    if folder != options.results:
        Terminal().print(f"\n{folder.name}", highlight=False, markup=False)
    _print(results, cells, wrong, again)
    return not wrong and not again


def _aggregates(results: StoredResults, cell: StoredCell) -> Iterator[Mismatch]:
    """Columns that do not follow from the per-sample results."""
    if not results.readout.has_samples(cell.row):
        return
    try:
        found = results.readout.recompute(cell.row, cell.samples())
    except (ValueError, KeyError) as error:
        yield Mismatch(cell.cell_id, "samples", "", f"{type(error).__name__}: {error}")
        return
    yield from _differing(cell.cell_id, cell.row, found, _ROUNDING)


def _table(results: StoredResults) -> Iterator[Mismatch]:
    """Cells of results.parquet, where there is one, that are not as their row has them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = results.folder / TABLE
    if not path.exists():  # a merged folder has none until its study is run
        return
    try:
        table = {row["cell_id"]: row for row in pq.read_table(path).to_pylist()}
    except (OSError, pa.ArrowException) as error:
        yield Mismatch(TABLE, "", "", error)
        return
    for cell in results.cells:
        stored = table.get(cell.cell_id)
        if stored is not None:
            known = {name: cell.row.get(name) for name in stored}
            yield from (
                mismatch._replace(column=f"{mismatch.column} ({TABLE})")
                for mismatch in _differing(cell.cell_id, stored, known, 0.0)
            )


def _differing(
    cell_id: str, stored: Mapping[str, Any], found: Mapping[str, object], tolerance: float
) -> Iterator[Mismatch]:
    for column, value in found.items():
        if column not in stored or not _same(stored[column], value, tolerance):
            yield Mismatch(cell_id, column, stored.get(column), value)


def _same(stored: object, found: object, tolerance: float) -> bool:
    """Equal, numbers up to a tolerance."""
    numbers = [value for value in (stored, found) if isinstance(value, int | float)]
    if len(numbers) < 2:
        return (None if _is_nan(stored) else stored) == found
    first, second = numbers
    return first == second or abs(first - second) <= tolerance * max(1.0, abs(first), abs(second))


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _chosen(results: StoredResults, count: int, seed: int) -> list[StoredCell]:
    """Cells to measure from scratch."""
    return random.Random(seed).sample(results.cells, min(count, len(results.cells)))  # noqa: S311 - no secret


def _from_scratch(results: StoredResults, stored: StoredCell, options: argparse.Namespace) -> Iterator[Mismatch]:
    """Columns of a cell that do not come out again."""
    from sweep.engine.again import measured_again
    from sweep.engine.grid import joined
    from sweep.results.beside import file_beside

    found = file_beside(results.folder)
    grid = joined(found.grids.values())
    cells: dict[str, Cell] = {cell.cell_id: cell for cell in found.grids[stored.row["readout"]].cells}
    if stored.cell_id not in cells:
        yield Mismatch(stored.cell_id, "cell_id", stored.cell_id, f"no cell of study.yaml, but one of {CELLS_FILE}")
        return
    cell = cells[stored.cell_id]
    again, _ = measured_again(
        cell, grid, found.file.studies, found.locates, found.readouts, options.store, fresh=options.fresh
    )
    yield from _differing(stored.cell_id, stored.row, again, options.tolerance)


def _print(
    results: StoredResults, cells: list[StoredCell], wrong: Sequence[Mismatch], again: Sequence[Mismatch]
) -> None:
    from rich.box import SIMPLE
    from rich.table import Table

    console = Terminal()
    places = {cell.cell_id: cell.place for cell in results.cells}
    verdicts = Table("checked", "cells", "verdict", box=SIMPLE)
    for what, of, mismatches in (
        ("aggregates and intervals, from stored losses", results.cells, wrong),
        ("from scratch", cells, again),
    ):
        bad = len({mismatch.cell_id for mismatch in mismatches})
        verdicts.add_row(what, str(len(of)), f"{bad} differ" if bad else "equal")
    console.print(verdicts)
    for remark in results.study.remarks():
        console.print(remark, markup=False, highlight=False, soft_wrap=True)
    if not (results.folder / TABLE).exists():
        console.print(f"no {TABLE} to check; a run of the study makes it", markup=False, soft_wrap=True)
    for cell in cells:
        console.print(
            f"from scratch: {cell.cell_id[:8]}  {cell.place}", markup=False, highlight=False, soft_wrap=True
        )
    for one in (*wrong, *again):
        where = places.get(one.cell_id, "")
        line = f"{one.cell_id[:20]}  {where}: {one.column}: stored {one.stored}, recomputed {one.found}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    run_command(main)
