"""What was measured, in one paragraph."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from sweep.report._format import counted, percent
from sweep.report._rows import Row, distinct

LONGEST_LIST = 4


def summary(rows: Sequence[Row]) -> str:
    """Say how much was measured, on what, how surely, and what failed."""
    if not rows:
        return "No cell has been measured yet."
    sentences = (_extent(rows), _certainty(rows), _outcome(rows))
    return " ".join(sentence for sentence in sentences if sentence)


def _extent(rows: Sequence[Row]) -> str:
    cells = [row for row in rows if not row.is_control]
    controls = [row for row in rows if row.is_control]
    what = []
    if cells:
        what.append(f"{counted(len(cells), 'cell')} of {_listed((row.backbone for row in cells), 'backbone')}")
    if controls:
        of_controls = _listed((row.backbone for row in controls), "control")
        what.append(f"{counted(len(controls), 'cell')} of {of_controls}")
    samples = _range((row.n_test for row in rows), lambda value: f"{value:,.0f}")
    tested = f", tested on {samples} samples" if samples else ""
    return f"{' and '.join(what)}, on {_listed((row.dataset for row in rows), 'data set')}{tested}."


def _certainty(rows: Sequence[Row]) -> str:
    seeds = _range((row.n_seeds for row in rows), lambda value: counted(int(value), "seed"))
    level = _range((row.interval_level for row in rows), percent)
    fitted = f"Each cell was measured with {seeds}." if seeds else ""
    return f"{fitted} Intervals are at {level}.".strip() if level else fitted


def _outcome(rows: Sequence[Row]) -> str:
    n_failed = sum(row.failed for row in rows)
    if n_failed == len(rows):
        return "All cells failed: there is no estimate to show."
    return f"{counted(n_failed, 'cell')} failed." if n_failed else "No cell failed."


def _listed(names: Iterable[str], noun: str) -> str:
    """`2 backbones (a, b)`, without the names where they are many."""
    known = distinct(names)
    count = counted(len(known), noun)
    return f"{count} ({', '.join(known)})" if len(known) <= LONGEST_LIST else count


def _range(values: Iterable[float], written: Callable[[float], str]) -> str:
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return ""
    low, high = min(known), max(known)
    return written(low) if low == high else f"{written(low)} to {written(high)}"
