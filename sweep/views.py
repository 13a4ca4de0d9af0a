"""What people look at, rebuilt from the rows: the table, the report, the lines at the end of a run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rich.console import Console

from sweep.cells import Cell
from sweep.readout import Readout
from sweep.results import IDENTITY_COLUMNS, VOLATILE_COLUMNS, ResultsDirectory, as_frame


def all_columns(readout: Readout) -> dict[str, str]:
    """Columns of results.parquet, in order, with their meaning."""
    return {**IDENTITY_COLUMNS, **readout.columns, **VOLATILE_COLUMNS}


def rebuild(results: ResultsDirectory, cells: Iterable[Cell], readout: Readout, study: str, study_yaml: str) -> Path:
    """Write results.parquet, results.csv, the figures and report.html; returns the path of the report."""
    from sweep.report import write_report

    rows = results.rows()
    kept = [rows[cell.cell_id] for cell in cells if cell.cell_id in rows]
    columns = all_columns(readout)
    results.write_table(kept, columns)
    return write_report(
        as_frame(kept, columns),
        readout.measures,
        title=study,
        study_yaml=study_yaml,
        flag_meanings=readout.flag_meanings,
        folder=results.root,
    )


def show(results: ResultsDirectory, cells: Iterable[Cell], readout: Readout, console: Console) -> int:
    """Print the table of results; returns the number of failed cells."""
    from sweep.report import print_table

    rows = results.rows()
    kept = [rows[cell.cell_id] for cell in cells if cell.cell_id in rows]
    print_table(as_frame(kept, all_columns(readout)), readout.measures, console)
    return sum(row["status"] == "failed" for row in kept)
