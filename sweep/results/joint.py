"""The results of a study of several read-outs: a folder of results for each, and what they share beside them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sweep.results.directory import ResultsDirectory
from sweep.results.rows import Damage, FoundRows, Row

if TYPE_CHECKING:
    import pyarrow as pa


class JointResults(ResultsDirectory):
    """Results of several read-outs. Rows lie in the folder of their read-out, which is that of a study of its own.

    Args:
        whole: the folder of all; it keeps the lock, the logs, the study file and the joint report.
        names: of the read-outs.
    """

    def __init__(self, whole: ResultsDirectory, names: Iterable[str]) -> None:
        super().__init__(whole.root)
        self._whole = whole
        self._parts = {name: whole.part(name) for name in names}

    @property
    def folders(self) -> tuple[ResultsDirectory, ...]:
        """Those of the read-outs."""
        return tuple(self._parts.values())

    def part(self, name: str) -> ResultsDirectory:
        """The folder of a read-out."""
        return self._parts[name]

    def where(self, name: str) -> str:
        return self._whole.where(name)

    def absolute(self) -> ResultsDirectory:
        return JointResults(self._whole.absolute(), self._parts)

    def refuse_unwritable(self, remedy: str) -> None:
        for results in (self._whole, *self.folders):
            results.refuse_unwritable(remedy)

    @contextmanager
    def locked(self) -> Iterator[None]:
        with self._whole.locked():
            yield

    def refuse_if_busy(self) -> None:
        self._whole.refuse_if_busy()

    def read(self) -> FoundRows:
        """Sound rows of all read-outs by cell, and what is damaged."""
        found = [results.read() for results in self.folders]
        rows = {cell: row for one in found for cell, row in one.rows.items()}
        return FoundRows(rows, tuple(damage for one in found for damage in one.damages))

    def set_aside(self, damage: Damage) -> Path:
        """Move what is no row out of the way, in the folder it is in."""
        [results] = [one for one in self.folders if damage.path.is_relative_to(one.root)]
        return results.set_aside(damage)

    def row(self, cell: str) -> Row:
        return self._of(cell).row(cell)

    def rows_of(self, cells: Iterable[str]) -> dict[str, Row]:
        wanted = list(cells)
        return {cell: row for results in self.folders for cell, row in results.rows_of(wanted).items()}

    def _table(self, kind: str, cell: str) -> pa.Table | None:
        return self._of(cell)._table(kind, cell)

    def write(
        self,
        row: Row,
        samples: pa.Table | None = None,
        curves: pa.Table | None = None,
        suggestions: pa.Table | None = None,
        files: Mapping[str, bytes] | None = None,
    ) -> None:
        """Write a cell into the folder of its read-out; arguments and errors are those of `ResultsDirectory`."""
        self._parts[str(row["readout"])].write(row, samples, curves, suggestions, files)

    def write_text(self, name: str, text: str) -> Path:
        return self._whole.write_text(name, text)

    def _of(self, cell: str) -> ResultsDirectory:
        """The folder that has a cell's row, or the first."""
        return next((results for results in self.folders if results.rows_of([cell])), self.folders[0])
