"""Rows as files: which files of a results directory are rows, and what is wrong with those that should be."""

from __future__ import annotations

import json
import math
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sweep.results.columns import SCHEMA_VERSION

Row = Mapping[str, object]

FOLDER = "rows"
_NAME = re.compile(r"[0-9a-f]{20}\.json")
_MOST_BYTES = 1 << 24
_MOST_SHOWN = 10

KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "text": ("a text", lambda value: isinstance(value, str)),
    "truth": ("true or false", lambda value: isinstance(value, bool)),
    "whole": ("a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool)),
    "number": ("a finite number", lambda value: _is_number(value)),
    "list": ("a list", lambda value: isinstance(value, list)),
    "texts": ("a list of texts", lambda value: isinstance(value, list) and all(isinstance(v, str) for v in value)),
    "object": ("a JSON object as text", lambda value: _is_object(value)),
}
"""Kinds of columns; with a question mark behind it, a column of that kind may be empty."""

_IDENTITY = {
    "schema_version": "whole",
    "status": "text",
    "error": "text?",
    "readout": "text",
    "is_control": "truth",
    "control": "text?",
    "control_of": "text?",
    "dataset": "text",
    "dataset_parameters": "text",
    "data_fingerprint": "text",
    "backbone": "text",
    "weights_digest": "text?",
}
_WHERE_PRESENT = {
    "study": "text",
    "n_skipped": "whole?",
    "dataset_entry": "text",
    "dataset_point": "object",
    "gives": "object",
    "used": "object",
    "wall_s": "number?",
    "device": "text?",
    "host": "text?",
    "versions": "object",
    "notes": "texts",
    "git_commit": "text?",
}


class Damage(NamedTuple):
    """A file that has the name of a row and is none."""

    path: Path
    reason: str

    @property
    def cell(self) -> str:
        """The cell whose row it should be."""
        return self.path.stem

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class FoundRows(NamedTuple):
    """The rows of a results directory by cell, in the order of their ids, and what has the name of one."""

    rows: dict[str, Row]
    damages: tuple[Damage, ...]


def row_files(root: Path) -> list[Path]:
    """Everything in a results directory that has the name of a row; other files there are not ours."""
    return sorted(path for path in (root / FOLDER).glob("*.json") if _NAME.fullmatch(path.name))


def read_rows(root: Path) -> FoundRows:
    """Read and check every row of a results directory."""
    rows: dict[str, Row] = {}
    damages: list[Damage] = []
    kinds: dict[str, Mapping[str, str]] = {}
    for path in row_files(root):
        try:
            rows[path.stem] = _read(path, kinds)
        except FileNotFoundError:  # removed meanwhile
            continue
        except (OSError, ValueError, RecursionError) as error:
            damages.append(Damage(path, _in_words(error)))
    return FoundRows(rows, tuple(damages))


def shown(damages: Iterable[Damage]) -> Iterator[str]:
    """Lines about damaged rows, the first of them."""
    known = list(damages)
    yield from (f"damaged, and treated as missing: {damage}" for damage in known[:_MOST_SHOWN])
    if len(known) > _MOST_SHOWN:
        yield f"damaged, and treated as missing: {len(known) - _MOST_SHOWN} more rows"


def _read(path: Path, kinds: dict[str, Mapping[str, str]]) -> Row:
    """Read a row.

    Args:
        path: of the file.
        kinds: of the columns of done and failed rows of the read-outs met so far.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no row; says why.
    """
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("is a link" if stat.S_ISLNK(status.st_mode) else "is no regular file")
    if status.st_size > _MOST_BYTES:
        raise ValueError(f"has {status.st_size:,} bytes, more than a row can have")
    row = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(row, dict):
        raise ValueError(f"must be a JSON object, got {_short(row)}")
    if row.get("cell_id") != path.stem:
        raise ValueError(f"cell_id: must be that of the file's name, got {_short(row.get('cell_id'))}")
    _check(row, _IDENTITY, present=False)
    _check(row, _WHERE_PRESENT, present=True)
    if row["status"] not in ("done", "failed"):
        raise ValueError(f"status: must be done or failed, got {_short(row['status'])}")
    if row["status"] == "failed":
        _check(row, {"error": "text"}, present=False)
        _check(row, {"flags": "texts"}, present=True)
    source = f"{row['readout']}, version {row['schema_version']}, {row['status']}"
    if source not in kinds:
        kinds[source] = _kinds_of(row)
    _check(row, kinds[source], present=False)
    if row["status"] == "done" and kinds[source]:
        _refuse_without_measure(row)
    return row


def _refuse_without_measure(row: Row) -> None:
    from frozen.readout.readout import find_readout  # brings torch, which the actors that keep files do without

    measures = find_readout(str(row["readout"])).measures
    if not any(measure.column in row for measure in measures):
        raise ValueError(f"has no measure, such as {measures[0].column}")


def _kinds_of(row: Row) -> Mapping[str, str]:
    """What rows of its read-out hold; nothing is known of one that is not installed, and of other versions."""
    try:
        from frozen.readout.readout import find_readout  # brings torch

        readout = find_readout(str(row["readout"]))
    except ValueError:
        return {}
    if row["schema_version"] != SCHEMA_VERSION:
        return {}
    kinds = readout.column_kinds
    return kinds if row["status"] == "done" else {name: kinds[name] for name in readout.grid_columns if name in kinds}


def _check(row: Row, kinds: Mapping[str, str], *, present: bool) -> None:
    """Refuse a row with a column of another kind, or without one that cannot be empty.

    A column that may be empty may be absent: rows measured before it was added are sound. `present` looks at those
    columns only that are there.
    """
    for name, kind in kinds.items():
        if name not in row:
            if present or kind.endswith("?"):
                continue
            raise ValueError(f"has no column {name}")
        value = row[name]
        if value is None and kind.endswith("?"):
            continue
        words, fits = KINDS[kind.removesuffix("?")]
        if not fits(value):
            raise ValueError(f"{name}: must be {words}, got {_short(value)}")


def _is_number(value: object) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number that no float can hold
        return False


def _is_object(value: object) -> bool:
    try:
        return isinstance(value, str) and isinstance(json.loads(value), dict)
    except (ValueError, RecursionError):
        return False


def _short(value: object) -> str:
    if isinstance(value, list | dict):
        return f"{'a list' if isinstance(value, list) else 'an object'} of {len(value)}"
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _in_words(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror or error}"
    if isinstance(error, json.JSONDecodeError):
        return "is empty" if not error.doc.strip() else f"is no JSON or cut off: {error}"
    if isinstance(error, UnicodeDecodeError):
        return "is no text"
    if isinstance(error, RecursionError):
        return "is nested too deeply for a row"
    return str(error)
