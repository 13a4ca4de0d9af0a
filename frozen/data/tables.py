"""Tables of rows, whatever wrote them: csv with any usual separator, jsonl, parquet."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

from frozen.data.dataset import DataError
from frozen.git_lfs import lfs_pointer

_SEPARATORS = (",", ";", "\t", "|")
_MISSING = frozenset(("", "nan", "na", "n/a", "#n/a", "<na>", "nat", "null", "none"))
"""What stands for a value that is not there, whatever wrote the table; no letter case."""


def read_table(path: Path, columns: Sequence[str], named: frozenset[str]) -> Iterator[dict[str, str]]:
    """Rows of a table with all values as text, nothing as the empty text.

    Args:
        path: a file whose name ends as `TABLE_ENDINGS` say.
        columns: to read; every row must have them.
        named: texts that are values, though they usually say that there is none.

    Raises:
        DataError: a table that is not there or cannot be read, or that lacks a column.
    """
    reader = next(reader for ending, reader in _READERS.items() if path.name.endswith(ending))
    try:
        if pointer := lfs_pointer(path):
            raise ValueError(pointer)
        rows = reader(path, columns)
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as a table ({error})") from error
    for number, row in enumerate(rows, start=1):
        if absent := [name for name in columns if name not in row]:
            raise DataError(f"{path}: row {number} has no column {absent[0]!r}; {_there_are(absent[0], row)}")
        if odd := [name for name in columns if isinstance(row[name], list | dict)]:
            raise DataError(f"{path}: row {number} has {row[odd[0]]!r} as {odd[0]}; it must be text or a number")
        yield {name: _text(row[name], named) for name in columns}


def _there_are(absent: str, row: Mapping[str, object]) -> str:
    names = [str(name) for name in row if name is not None]
    close = get_close_matches(absent, names, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}there are {', '.join(names)}"


def _text(value: object, named: frozenset[str]) -> str:
    """A value as text without blanks around it; the empty text for one that is missing."""
    text = "" if value is None else str(value).strip()
    return "" if text.lower() in _MISSING and text not in named else text


def _csv(path: Path, columns: Sequence[str]) -> Sequence[Mapping[str, object]]:
    """Rows of a table with a separator that its header tells, with or without a byte order mark."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        header = file.readline()
        file.seek(0)
        rows = csv.DictReader(file, strict=True, delimiter=_separator(header, columns))
        rows.fieldnames = [name.strip() for name in rows.fieldnames or ()]
        return list(rows)


def _separator(header: str, columns: Sequence[str]) -> str:
    """What separates most of the columns that are asked for; else most columns, and a comma before others."""

    def found(separator: str) -> tuple[int, int]:
        names = [name.strip() for name in next(csv.reader([header], delimiter=separator), [])]
        return len(set(columns) & set(names)), len(names)

    return max(_SEPARATORS, key=found)


def _json_lines(path: Path, columns: Sequence[str]) -> Sequence[Mapping[str, object]]:
    del columns
    with path.open(encoding="utf-8-sig") as file:
        rows = [json.loads(line) for line in file if line.strip()]
    if bad := [row for row in rows if not isinstance(row, dict)]:
        raise ValueError(f"expected an object in each line, got {bad[0]!r}")
    return rows


def _parquet(path: Path, columns: Sequence[str]) -> Sequence[Mapping[str, object]]:
    del columns
    import pyarrow.parquet as pq

    return pq.read_table(path).to_pylist()


_READERS = {".csv": _csv, ".jsonl": _json_lines, ".parquet": _parquet}
TABLE_ENDINGS = tuple(_READERS)
"""What the name of a table ends in."""
