"""What people look at, rebuilt from the rows: the table, the report, the lines at the end of a run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from frozen.readout.cells import Cell
from frozen.readout.exhibit import Exhibit
from frozen.readout.readout import Readout, measured
from frozen.readout.study import Study
from sweep.results.columns import all_columns
from sweep.results.directory import CELLS_FILE, DAMAGED, ResultsDirectory, Row, as_frame
from sweep.results.method import method
from sweep.results.published import held_against

_REHEARSAL = "# Rehearsal: "


def rehearsal_note(limit: int) -> str:
    """What there is to say of a study that was run on few samples."""
    few = f"at most {limit:,} samples of each split (--limit {limit}); its numbers are no results."
    return f"{_REHEARSAL}{few}".removeprefix("# ")


def as_rehearsal(study_yaml: str, limit: int) -> str:
    """The text of a study that was run on few samples, which says so in its first line."""
    return f"# {rehearsal_note(limit)}\n{study_yaml}"


def rehearsal(study_yaml: str) -> str | None:
    """What the text of a study says of being a rehearsal; None if it is none."""
    first = study_yaml.partition("\n")[0]
    return first.removeprefix("# ") if first.startswith(_REHEARSAL) else None


def announce(results: ResultsDirectory, cells: Iterable[Cell], study_yaml: str) -> None:
    """Write what the study is, before any of its rows are there."""
    results.write_text("study.yaml", study_yaml)
    results.write_text(CELLS_FILE, json.dumps([cell.cell_id for cell in cells]))


def set_aside_damages(results: ResultsDirectory) -> str | None:
    """Move damaged rows away, while no other run writes here; returns where, None if there are none."""
    damages = results.read().damages
    for damage in damages:
        results.set_aside(damage)
    rows = "1 damaged row" if len(damages) == 1 else f"{len(damages)} damaged rows"
    return f"set aside in {results.where(DAMAGED)}: {rows}" if damages else None


def rebuild(
    results: ResultsDirectory, cells: Sequence[Cell], readout: Readout, study: Study, study_yaml: str
) -> Path:
    """Write results.parquet, results.csv and report.html; returns the path of the report."""
    kept = rebuild_table(results, cells, readout)
    return write_page(results, kept, readout, study, study_yaml, n_cells=len(cells))


def write_page(
    results: ResultsDirectory,
    rows: Sequence[Row],
    readout: Readout,
    study: Study | None,
    study_yaml: str,
    *,
    n_cells: int | None = None,
    notes: Sequence[str] = (),
    path: Path | None = None,
) -> Path:
    """Write report.html; without a `study` the read-out's exhibits know no data sets."""
    from sweep.report import Heading, stories, write_report

    def exhibits() -> Iterable[Exhibit]:
        return readout.exhibits(results.root, rows, _scenes(study))

    heading = Heading(
        title=study.name if study else results.root.name,
        study_yaml=study_yaml,
        flag_meanings=readout.flag_meanings,
        mild_flags=readout.mild_flags,
        headline=readout.headline,
        expectations=readout.expectations,
        control_meanings=readout.control_meanings,
        value_order=_value_order(readout, rows) if study else {},
        choices=readout.choices,
        n_cells=n_cells,
        published=list(held_against(rows, study.published, readout)) if study else (),
        method=method(study, readout, rows) if study and rows else "",
        folder=str(results.root),
        notes=[*notes, *filter(None, [rehearsal(study_yaml)])],
    )
    page = path or results.root / "report.html"
    frame = as_frame(rows, all_columns(readout))
    told = stories(results, rows, readout, _scenes(study))
    return write_report(frame, readout.dimensions, measured(readout, rows), heading, page, exhibits, told)


def _value_order(readout: Readout, rows: Sequence[Row]) -> dict[str, list[str]]:
    """Values of the dimensions that lines are told apart by, in the order of the study's grid."""
    names = [one.name for one in readout.dimensions if one.role == "line"]
    return {name: list(dict.fromkeys(str(row[name]) for row in rows)) for name in names}


def _scenes(study: Study | None) -> Mapping[str, Any]:
    """Data sets by name; those that share a name are numbered."""
    seen: Counter[str] = Counter()
    scenes: dict[str, Any] = {}
    for dataset in study.datasets if study else ():
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
    frame = as_frame(kept, all_columns(readout))
    print_table(
        frame,
        readout.dimensions,
        measured(readout, kept),
        readout.flag_meanings,
        console,
        mild_flags=readout.mild_flags,
        headline=readout.headline,
        expectations=readout.expectations,
    )
    return sum(row["status"] == "failed" for row in kept)
