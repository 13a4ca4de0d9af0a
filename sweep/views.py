"""What people look at, rebuilt from the rows: the table, the report, the lines at the end of a run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from sweep.cells import Cell
from sweep.method import method
from sweep.published import held_against
from sweep.readout import Exhibit, Readout, measured
from sweep.results import IDENTITY_COLUMNS, VOLATILE_COLUMNS, ResultsDirectory, Row, as_frame
from sweep.space import Space

CELLS_FILE = "cells.json"
"""Identities of all cells of the study, for those who look at its results while it runs."""


_REHEARSAL = "# Rehearsal: "


def as_rehearsal(study_yaml: str, limit: int) -> str:
    """The text of a study that was run on few samples, which says so in its first line."""
    few = f"at most {limit:,} samples of each split (--limit {limit}); its numbers are no results."
    return f"{_REHEARSAL}{few}\n{study_yaml}"


def rehearsal(study_yaml: str) -> str | None:
    """What the text of a study says of being a rehearsal; None if it is none."""
    first = study_yaml.partition("\n")[0]
    return first.removeprefix("# ") if first.startswith(_REHEARSAL) else None


def all_columns(readout: Readout) -> dict[str, str]:
    """Columns of results.parquet, in order, with their meaning."""
    return {**IDENTITY_COLUMNS, **readout.columns, **VOLATILE_COLUMNS}


def announce(results: ResultsDirectory, cells: Iterable[Cell], study_yaml: str) -> None:
    """Write what the study is, before any of its rows are there."""
    results.write_text("study.yaml", study_yaml)
    results.write_text(CELLS_FILE, json.dumps([cell.cell_id for cell in cells]))


def rebuild(
    results: ResultsDirectory, cells: Sequence[Cell], readout: Readout, space: Space, study_yaml: str
) -> Path:
    """Write results.parquet, results.csv and report.html; returns the path of the report."""
    kept = rebuild_table(results, cells, readout)
    return write_page(results, kept, readout, space, study_yaml, n_cells=len(cells))


def write_page(
    results: ResultsDirectory,
    rows: Sequence[Row],
    readout: Readout,
    space: Space | None,
    study_yaml: str,
    *,
    n_cells: int | None = None,
    notes: Sequence[str] = (),
    path: Path | None = None,
) -> Path:
    """Write report.html; without a `space` the read-out's exhibits know no data sets."""
    from sweep.report import Study, write_report

    def exhibits() -> Iterable[Exhibit]:
        return readout.exhibits(results.root, rows, _scenes(space))

    study = Study(
        title=space.name if space else results.root.name,
        study_yaml=study_yaml,
        flag_meanings=readout.flag_meanings,
        control_meanings=readout.control_meanings,
        probe_order=[probe.family for probe in space.probes] if space else [],
        n_cells=n_cells,
        published=list(held_against(rows, space.published)) if space else (),
        method=method(space, readout, rows) if space and rows else "",
        notes=[*notes, *filter(None, [rehearsal(study_yaml)])],
    )
    page = path or results.root / "report.html"
    frame = as_frame(rows, all_columns(readout))
    return write_report(frame, measured(readout, rows), study, page, exhibits)


def _scenes(space: Space | None) -> Mapping[str, Any]:
    """Data sets by name; those that share a name are numbered."""
    seen: Counter[str] = Counter()
    scenes: dict[str, Any] = {}
    for dataset in space.datasets if space else ():
        seen[dataset.name] += 1
        again = seen[dataset.name]
        scenes[dataset.name if again == 1 else f"{dataset.name} #{again}"] = dataset.config
    return scenes


def rebuild_table(results: ResultsDirectory, cells: Iterable[Cell], readout: Readout) -> list[Row]:
    """Write results.parquet and results.csv only; returns their rows."""
    rows = results.rows()
    kept = [rows[cell.cell_id] for cell in cells if cell.cell_id in rows]
    results.write_table(kept, all_columns(readout))
    return kept


def show(results: ResultsDirectory, cells: Iterable[Cell], readout: Readout, console: Console) -> int:
    """Print the table of results; returns the number of failed cells."""
    from sweep.report import print_table

    rows = results.rows()
    kept = [rows[cell.cell_id] for cell in cells if cell.cell_id in rows]
    print_table(as_frame(kept, all_columns(readout)), readout.measures, readout.flag_meanings, console)
    return sum(row["status"] == "failed" for row in kept)
