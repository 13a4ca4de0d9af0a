"""The results directory: the state of a study, one row a cell, written atomically.

rows/CELL.json is the truth; samples/CELL.parquet and curves/CELL.parquet stand beside it. The table
(results.parquet, results.csv) is a view that can be rebuilt at any time.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from sweep.places import refuse_unwritable
from sweep.spreadsheet import safe_cell

if TYPE_CHECKING:
    import pandas as pd

Row = Mapping[str, object]

IDENTITY_COLUMNS = {
    "cell_id": "hash of everything the cell's measurement depends on, data and weights apart",
    "schema_version": "version of these columns",
    "status": "done or failed",
    "error": "why a failed cell failed",
    "study": "name of the study",
    "readout": "what was measured",
    "is_control": "whether it is a control",
    "control": "which control; empty for measurements",
    "control_of": "source of the backbone it is a control of; empty for those of the data set",
    "dataset": "name of the data set",
    "dataset_entry": "name of the entry of the study file that it comes from",
    "dataset_point": "of a grid of data sets: the fields in which they differ, and their values here, JSON",
    "dataset_parameters": "its settings, JSON",
    "data_fingerprint": "hash of the content of the three splits",
    "n_skipped": "samples of the three splits left out, because their image or prior could not be had",
    "backbone": "source of the backbone, or name of the control",
    "weights_digest": "sha256 of the weights",
    "layer": "embed, number of a block, or final",
    "layer_index": "position in depth: embed is -1",
    "depth_fraction": "0 at embed, 1 at final",
    "mode": "what of the layer's tokens the probe sees",
    "z_dim": "width of what the probe sees, of one token for mode all",
    "n_tokens": "tokens the probe sees; 1 for pooled modes",
    "probe": "probe family",
    "feature_probe": "family of the features probe",
}
VOLATILE_COLUMNS = {
    "wall_s": "seconds the cell took",
    "device": "where its probes were trained",
    "host": "machine",
    "versions": "versions of the main libraries, JSON",
    "notes": "what happened meanwhile, such as a pack of probes halved for lack of GPU memory",
    "git_commit": "commit of the project, empty outside a checkout",
}
"""Columns in which equal measurements may differ."""


_FOLDERS = ("rows", "samples", "curves", "probes", "tensorboard", "tune")
_FILES = ("lock", "study.yaml", "cells.json", "results.parquet", "results.csv", "report.html", "optuna.journal")


class BusyError(RuntimeError):
    """Another run writes to the same results directory."""


class ResultsDirectory:
    """Rows of one study."""

    def __init__(self, root: Path) -> None:
        self.root = root

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
        refuse_unwritable(self.root, remedy, folders=_FOLDERS, files=_FILES)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory for one run; the lock dies with the process.

        Raises:
            BusyError: another run holds it, or its lock is a link to somewhere else.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        path = self.root / "lock"
        if path.is_symlink():
            raise BusyError(f"{path} is a link, and would be written through; remove it")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        with os.fdopen(descriptor, "r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                file.seek(0)
                raise BusyError(f"{self.root} is in use by process {file.read().strip() or '?'}") from error
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    def refuse_if_busy(self) -> None:
        """Ask before anything is started whether another run holds the directory; makes nothing.

        Raises:
            BusyError: another run holds it.
        """
        if (self.root / "lock").exists():
            with self.locked():
                pass

    def rows(self) -> dict[str, Row]:
        """All rows by cell, whatever study file they came from."""
        files = sorted((self.root / "rows").glob("*.json"))
        return {path.stem: json.loads(path.read_text()) for path in files}

    def row(self, cell: str) -> Row:
        """The row of a cell."""
        return json.loads((self.root / "rows" / f"{cell}.json").read_text())

    def curves(self, cell: str) -> pa.Table | None:
        """Learning curves of a cell; None if it has none."""
        path = self.root / "curves" / f"{cell}.parquet"
        return pq.read_table(path) if path.is_file() else None

    def write(
        self,
        row: Row,
        samples: pa.Table | None = None,
        curves: pa.Table | None = None,
        files: Mapping[str, bytes] | None = None,
    ) -> None:
        """Write a cell's row, after what belongs to it, so that a row is never without its samples.

        Args:
            row: the row.
            samples: losses of the test samples.
            curves: learning curves.
            files: what else belongs to the cell, by folder and suffix: `probes.safetensors`.

        Raises:
            ValueError: a number of the row is not finite; nothing is written.
        """
        cell = str(row["cell_id"])
        text = json.dumps(row, indent=1, allow_nan=False)
        path = self.root / "rows" / f"{cell}.json"
        stale = set(self.root.glob(f"*/{cell}.*")) if path.exists() else set()
        made: dict[Path, Callable[[Path], object]] = {
            self.root / name / f"{cell}.parquet": partial(pq.write_table, table)
            for name, table in (("samples", samples), ("curves", curves))
            if table is not None
        }
        for name, content in (files or {}).items():
            folder, _, suffix = name.partition(".")
            made[self.root / folder / f"{cell}.{suffix}"] = partial(_write_bytes, content)
        made[path] = lambda temporary: temporary.write_text(text)
        for target, write in made.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            _atomically(target, write)
        for old in stale - set(made):
            old.unlink(missing_ok=True)

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
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
