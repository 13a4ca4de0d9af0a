"""CSV for people, who open it in spreadsheets: nothing in it is a formula there."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence

from frozen.terminal import printable

_FORMULA = re.compile(r"\s*[=+\-@＝＋－＠]")


def safe_cell(value: object) -> object:
    """A cell's value; text that a spreadsheet would calculate begins with an apostrophe, numbers stay numbers."""
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if _FORMULA.match(text) and not _is_number(text) else text


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table as CSV, every cell safe."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([safe_cell(value) for value in row] for row in rows)
    return text.getvalue()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.strip() == text
