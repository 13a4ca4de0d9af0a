"""Reads the results of a study back: its cells with their rows and per-sample results."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from frozen.readout.readout import Readout, find_readout
from sweep.results.directory import CELLS_FILE
from sweep.results.rows import FOLDER, Damage, Row, read_rows, shown

if TYPE_CHECKING:
    import pyarrow as pa


class ResultsError(ValueError):
    """Results that are not there, or not sound."""


class StudyRows(NamedTuple):
    """The rows of a study, as it was last run.

    Attributes:
        rows: by cell, those of the study alone.
        cells: ids of all its cells, in the order of its grid; None where that is not known, and every row is its.
        foreign: rows of other settings in the same directory: of a rehearsal with `--limit`, or of a value since
            changed.
        damages: files that should be rows and are none.
    """

    rows: dict[str, Row]
    cells: list[str] | None
    foreign: dict[str, Row]
    damages: tuple[Damage, ...]

    def remarks(self) -> Iterator[str]:
        """What is not among the rows, for people."""
        if self.foreign:
            rows = "1 row" if len(self.foreign) == 1 else f"{len(self.foreign)} rows"
            yield f"left out: {rows} of other settings (of a rehearsal with --limit, or of an earlier study file)"
        yield from shown(self.damages)


def study_folders(folder: Path) -> list[Path]:
    """The folders of results in a folder: itself, or those of its read-outs where it is of a study of several."""
    is_joint = (folder / "study.yaml").is_file() and not (folder / FOLDER).is_dir()
    return (_inside(folder) if is_joint else []) or [folder]


def _inside(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob(f"*/{FOLDER}") if path.is_dir())


def study_rows(folder: Path) -> StudyRows:
    """The sound rows of a results folder that are the study's."""
    found = read_rows(folder)
    cells = _announced(folder)
    if cells is None:
        cells = _cells_of_grid(folder)
    if cells is None:
        return StudyRows(found.rows, None, {}, found.damages)
    known = set(cells)
    own, foreign = (
        {cell: row for cell, row in found.rows.items() if (cell in known) == wanted} for wanted in (True, False)
    )
    return StudyRows(own, cells, foreign, found.damages)


def _announced(folder: Path) -> list[str] | None:
    """Ids of the study's cells as its last run wrote them; None if they cannot be read."""
    path = folder / CELLS_FILE
    try:
        cells = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    except (OSError, ValueError, RecursionError):
        return None
    return cells if isinstance(cells, list) and all(isinstance(cell, str) for cell in cells) else None


def _cells_of_grid(folder: Path) -> list[str] | None:
    """The same from the study beside the rows; None where it can no longer be read."""
    from sweep.results.beside import file_beside

    try:
        found = file_beside(folder)
    except (OSError, ValueError):
        return None
    own = folder.absolute().name if found.file.is_joint else next(iter(found.grids))
    return [cell.cell_id for cell in found.grids[own].cells] if own in found.grids else None


@dataclass(frozen=True)
class StoredCell:
    """A cell as the results directory has it."""

    folder: Path
    row: Mapping[str, Any]

    @property
    def cell_id(self) -> str:
        return self.row["cell_id"]

    @property
    def parts(self) -> tuple[str, ...]:
        """Where in the grid it lies: data set, backbone, and the read-out's dimensions."""
        names = ("dataset", "backbone", *(one.name for one in find_readout(self.row["readout"]).dimensions))
        return tuple(str(self.row[name]) for name in names)

    @property
    def place(self) -> str:
        """The same in one text."""
        return " · ".join(self.parts)

    def samples(self) -> pa.Table:
        """Its per-sample results.

        Raises:
            ResultsError: they are not there, or cannot be read.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.folder / "samples" / f"{self.cell_id}.parquet"
        try:
            return pq.read_table(path)
        except (OSError, pa.ArrowException) as error:
            raise ResultsError(f"{path}: {error}; measure the cell again") from error


@dataclass(frozen=True)
class StoredResults:
    """The results of a study.

    Attributes:
        folder: where they are.
        cells: those of the study that were measured, in the order of their ids.
        study: all of its rows, and what is not among them.
    """

    folder: Path
    cells: tuple[StoredCell, ...]
    study: StudyRows

    @cached_property
    def readout(self) -> Readout:
        """What made them.

        Raises:
            ValueError: it is not installed.
        """
        return find_readout(self.cells[0].row["readout"])

    def find(self, prefix: str) -> StoredCell:
        """The cell whose id begins so.

        Raises:
            ResultsError: there is none, or more than one.
        """
        found = [cell for cell in self.cells if cell.cell_id.startswith(prefix)]
        if len(found) == 1:
            return found[0]
        if not found and any(cell.startswith(prefix) for cell in self.study.foreign):
            raise ResultsError(f"{self.folder}: the row of {prefix!r} is of other settings than the study's")
        kind = "several cells" if found else "no done cell"
        raise ResultsError(f"{self.folder} has {kind} whose id begins with {prefix!r}; results.csv lists them")


def open_results(folder: Path) -> StoredResults:
    """The done cells of a results folder.

    Raises:
        ResultsError: there are none.
    """
    study = study_rows(folder)
    cells = tuple(StoredCell(folder, row) for row in study.rows.values() if row["status"] == "done")
    if not cells:
        remarks = "".join(f"\n{remark}" for remark in study.remarks())
        inside = " or ".join(path.as_posix() for path in _inside(folder))
        remedy = f"did you mean {inside}?" if inside else "give the folder of a study, such as results/quickstart"
        raise ResultsError(f"{folder} has no done cells; {remedy}{remarks}")
    return StoredResults(folder, cells, study)
