"""Reads the results of a study back: its cells with their rows and per-sample results."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frozen.readout.readout import Readout, find_readout

if TYPE_CHECKING:
    import pyarrow as pa


class ResultsError(ValueError):
    """Results that are not there, or not sound."""


@dataclass(frozen=True)
class StoredCell:
    """A cell as the results directory has it."""

    folder: Path
    row: dict[str, Any]

    @property
    def cell_id(self) -> str:
        return self.row["cell_id"]

    @property
    def place(self) -> str:
        """Where in the grid it lies."""
        names = ("dataset", "backbone", *(one.name for one in find_readout(self.row["readout"]).dimensions))
        return " · ".join(str(self.row[name]) for name in names)

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
        cells: those that were measured, in the order of their ids.
    """

    folder: Path
    cells: tuple[StoredCell, ...]

    @cached_property
    def readout(self) -> Readout:
        """What made them."""
        return find_readout(self.cells[0].row["readout"])

    def find(self, prefix: str) -> StoredCell:
        """The cell whose id begins so.

        Raises:
            ResultsError: there is none, or more than one.
        """
        found = [cell for cell in self.cells if cell.cell_id.startswith(prefix)]
        if len(found) != 1:
            kind = "several cells" if found else "no done cell"
            raise ResultsError(f"{self.folder} has {kind} whose id begins with {prefix!r}; results.csv lists them")
        return found[0]


def open_results(folder: Path) -> StoredResults:
    """The done cells of a results folder.

    Raises:
        ResultsError: there are none.
    """
    cells = []
    for path in sorted((folder / "rows").glob("*.json")):
        try:
            row = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ResultsError(f"{path} is not a row: {error}") from error
        if row.get("status") == "done":
            cells.append(StoredCell(folder, row))
    if not cells:
        raise ResultsError(f"{folder} has no done cells; give the folder of a study, such as results/quickstart")
    return StoredResults(folder, tuple(cells))
