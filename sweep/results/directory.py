"""The results directory: the state of a study, one row a cell, written atomically.

rows/CELL.json is the truth; samples/CELL.parquet and curves/CELL.parquet stand beside it. The table
(results.parquet, results.csv) is a view that can be rebuilt at any time.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from frozen.whole_files import appearing
from sweep.engine.places import PlaceError, refuse_unwritable
from sweep.results.rows import FOLDER, Damage, FoundRows, Row, read_rows
from sweep.results.spreadsheet import safe_cell
from sweep.store.lease import BEAT_S, BusyError, lease
from sweep.store.remote import RemoteFolder

if TYPE_CHECKING:
    import pandas as pd

CELLS_FILE = "cells.json"
"""Identities of all cells of the study, for those who look at its results while it runs."""
VIEWS_FILE = ".views"
"""What table and report were made from."""

__all__ = ["BusyError", "LinkError", "ResultsDirectory", "Row", "as_frame"]

DAMAGED = "damaged"
"""Folder for what has the name of a row and is none."""
_FOLDERS = (FOLDER, "samples", "curves", "suggestions", "probes", DAMAGED, "tensorboard", "tune")
_WRITTEN_IN_PLACE = ("lock", "optuna.journal", "mlflow.db")
_FILES = (
    "lock",
    "study.yaml",
    "cells.json",
    "results.parquet",
    "results.csv",
    "report.html",
    "optuna.journal",
    VIEWS_FILE,
)


class LinkError(PlaceError):
    """Part of a results directory is a link, or no file: what is written there would land elsewhere."""


class ResultsDirectory:
    """Rows of one study."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def folders(self) -> tuple[ResultsDirectory, ...]:
        """Folders of rows: this one, or those of the read-outs where there are several."""
        return (self,)

    def part(self, name: str) -> ResultsDirectory:
        """The folder of one of several read-outs, in this one."""
        return ResultsDirectory(self.root / name)

    def where(self, name: str) -> str:
        """Where a file of the directory is found, for people."""
        return str(self.root / name)

    def absolute(self) -> ResultsDirectory:
        """The same directory, for a process of this machine that works in another folder."""
        return ResultsDirectory(self.root.absolute())

    def refuse_unwritable(self, remedy: str) -> None:
        """Try to write here, before anything is started; leaves nothing behind.

        Raises:
            PlaceError: it cannot be done.
        """
        refuse_links(self.root)
        refuse_unwritable(self.root, remedy, folders=_FOLDERS, files=_FILES)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory for one run; the lock dies with the process.

        Raises:
            BusyError: another run holds it.
            LinkError: something in it is a link to elsewhere.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        refuse_links(self.root)
        path = self.root / "lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        with os.fdopen(descriptor, "r+") as file, ExitStack() as held:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                file.seek(0)
                raise BusyError(f"{self.root} is in use by process {file.read().strip() or '?'}") from error
            except OSError:  # some file systems of clusters have no locks
                held.enter_context(lease(RemoteFolder(self.root.resolve().as_uri()), BEAT_S))
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    def refuse_if_busy(self) -> None:
        """Ask before anything is started whether another run holds the directory; makes nothing.

        Raises:
            BusyError: another run holds it.
            LinkError: something in it is a link to elsewhere.
        """
        refuse_links(self.root)
        if (self.root / "lock").exists():
            with self.locked():
                pass

    def rows(self) -> dict[str, Row]:
        """All sound rows by cell, whatever study file they came from."""
        return self.read().rows

    def read(self) -> FoundRows:
        """All sound rows by cell, and what is damaged."""
        return read_rows(self.root)

    def set_aside(self, damage: Damage) -> Path:
        """Move what is no row out of the way of the row that will be there; returns where it is now."""
        folder = self.made_folder(DAMAGED)
        place, number = folder / damage.path.name, 1
        while os.path.lexists(place):
            number += 1
            place = folder / f"{damage.path.stem}.{number}{damage.path.suffix}"
        return damage.path.rename(place)

    def row(self, cell: str) -> Row:
        """The row of a cell."""
        return json.loads((self.root / "rows" / f"{cell}.json").read_text())

    def rows_of(self, cells: Iterable[str]) -> dict[str, Row]:
        """Rows of some cells, of those that have one."""
        return {cell: self.row(cell) for cell in cells if (self.root / "rows" / f"{cell}.json").is_file()}

    def samples(self, cell: str) -> pa.Table | None:
        """Per-sample results of a cell; None if it has none."""
        return self._table("samples", cell)

    def curves(self, cell: str) -> pa.Table | None:
        """Learning curves of a cell; None if it has none."""
        return self._table("curves", cell)

    def suggestions(self, cell: str) -> pa.Table | None:
        """Hyper-parameters that were tried for a cell; None if there are none."""
        return self._table("suggestions", cell)

    def _table(self, kind: str, cell: str) -> pa.Table | None:
        path = self.root / kind / f"{cell}.parquet"
        return pq.read_table(path) if path.is_file() else None

    def write(
        self,
        row: Row,
        samples: pa.Table | None = None,
        curves: pa.Table | None = None,
        suggestions: pa.Table | None = None,
        files: Mapping[str, bytes] | None = None,
    ) -> None:
        """Write a cell's row, after what belongs to it, so that a row is never without its samples.

        Args:
            row: the row.
            samples: losses of the test samples.
            curves: learning curves.
            suggestions: hyper-parameters that were tried.
            files: what else belongs to the cell, by folder and suffix: `probes.safetensors`.

        Raises:
            ValueError: a number of the row is not finite; nothing is written.
            LinkError: a folder is a link to elsewhere; nothing is written.
        """
        cell = str(row["cell_id"])
        if odd := [name for name, value in row.items() if isinstance(value, float) and not math.isfinite(value)]:
            raise ValueError(f"the read-out gave no finite number for {', '.join(odd)}")
        text = json.dumps(row, indent=1, allow_nan=False)
        refuse_links(self.root)
        path = self.root / FOLDER / f"{cell}.json"
        stale = set(self.files_of(cell)) if path.exists() else set()
        made: dict[Path, Callable[[Path], object]] = {
            self.root / name / f"{cell}.parquet": partial(pq.write_table, table)
            for name, table in (("samples", samples), ("curves", curves), ("suggestions", suggestions))
            if table is not None
        }
        for name, content in (files or {}).items():
            folder, _, suffix = name.partition(".")
            made[self.root / folder / f"{cell}.{suffix}"] = partial(_write_bytes, content)
        made[path] = lambda temporary: temporary.write_text(text)
        for target, write in made.items():
            self.made_folder(target.parent.name)
            _atomically(target, write)
        for old in stale - set(made):
            old.unlink(missing_ok=True)

    def files_of(self, cell: str) -> list[Path]:
        """Everything that belongs to a cell, in no folder that is a link."""
        folders = (path for path in self.root.glob("*") if path.is_dir() and not path.is_symlink())
        return sorted(file for folder in folders if folder.name != DAMAGED for file in folder.glob(f"{cell}.*"))

    def made_folder(self, name: str) -> Path:
        """A folder of the results, made if it is not there.

        Raises:
            LinkError: it is a link to elsewhere, or no folder.
        """
        folder = self.root / name
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise LinkError(f"{folder} must be a folder, and is none; move it away")
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def write_text(self, name: str, text: str) -> Path:
        """Write a text file at once."""
        path = self.root / name
        self.root.mkdir(parents=True, exist_ok=True)
        _atomically(path, lambda temporary: temporary.write_text(text))
        return path

    def write_table(self, rows: Iterable[Row], columns: Iterable[str]) -> Path:
        """Write results.parquet and results.csv from some rows; returns the path of the former."""
        frame = as_frame(rows, columns)
        table = _without_null_types(pa.Table.from_pandas(frame, preserve_index=False))
        path = self.root / "results.parquet"
        self.root.mkdir(parents=True, exist_ok=True)
        _atomically(path, lambda temporary: pq.write_table(table, temporary))
        _atomically(self.root / "results.csv", lambda temporary: frame.map(safe_cell).to_csv(temporary, index=False))
        return path


def refuse_links(root: Path) -> None:
    """Refuse a results directory whose parts are links, since what is written to them would land elsewhere.

    The directory itself may be a link.

    Raises:
        LinkError: names the part.
    """
    for path in root.iterdir() if root.is_dir() else ():
        mode, is_folder, is_file = path.lstat().st_mode, path.name in _FOLDERS, path.name in _WRITTEN_IN_PLACE
        if stat.S_ISLNK(mode) and (is_folder or is_file or path.is_dir()):
            raise LinkError(
                f"{path} is a link, and what is written there would land elsewhere; remove it, or put what it leads "
                "to in its place (only the results directory itself may be a link)"
            )
        if (is_folder and not stat.S_ISDIR(mode)) or (is_file and not stat.S_ISREG(mode)):
            raise LinkError(f"{path} must be a {'folder' if is_folder else 'file'}, and is none; move it away")


def as_frame(rows: Iterable[Row], columns: Iterable[str]) -> pd.DataFrame:
    """Rows as a pandas table with all columns, in their order, numbers as numbers."""
    import pandas as pd

    names, rows = list(columns), list(rows)
    frame = pd.DataFrame([{name: row.get(name) for name in names} for row in rows], columns=names)
    for name in names:
        values = [row.get(name) for row in rows]
        numeric = all(value is None or isinstance(value, int | float) for value in values)
        if numeric and any(value is not None for value in values):
            frame[name] = pd.to_numeric(frame[name])
    return frame


def _write_bytes(content: bytes, path: Path) -> None:
    path.write_bytes(content)


def _without_null_types(table: pa.Table) -> pa.Table:
    """Columns in which nothing is known yet become text, so that readers need no special case."""
    replaced = {pa.null(): pa.string(), pa.list_(pa.null()): pa.list_(pa.string())}
    fields = [field.with_type(replaced.get(field.type, field.type)) for field in table.schema]
    return table.cast(pa.schema(fields))


def _atomically(path: Path, write: Callable[[Path], object]) -> None:
    with appearing(path, is_flushed=True) as half:
        write(half)
