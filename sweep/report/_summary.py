"""What was measured, in one paragraph."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from sweep.report._format import counted, percent
from sweep.report._rows import distinct

LONGEST_LIST = 4


def summary(rows: pd.DataFrame) -> str:
    """Say how much was measured, on what, how surely, and what failed.

    Args:
        rows: prepared rows.
    """
    if rows.empty:
        return "No cell has been measured yet."
    cells, controls = rows[~rows["is_control"]], rows[rows["is_control"]]
    what = [f"{counted(len(cells), 'cell')} of {_listed(cells, 'backbone', 'backbone')}"] if len(cells) else []
    what += (
        [f"{counted(len(controls), 'control cell')} ({_listed(controls, 'backbone', 'control')})"]
        if len(controls)
        else []
    )
    samples = _range(rows, "n_test", lambda value: f"{value:,.0f}")
    sentences = [
        f"{' and '.join(what)}, on {_listed(rows, 'dataset', 'data set')}"
        + (f", tested on {samples} samples." if samples else "."),
        _certainty(rows),
        _outcome(rows),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _certainty(rows: pd.DataFrame) -> str:
    seeds = _range(rows, "n_seeds", lambda value: counted(int(value), "seed"))
    level = _range(rows, "interval_level", percent)
    parts = [f"Each probe was fitted with {seeds}"] if seeds else []
    parts += [f"intervals are at {level}"] if level else []
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _outcome(rows: pd.DataFrame) -> str:
    n_failed = int(rows["failed"].sum())
    if n_failed == len(rows):
        return "All cells failed: there is no estimate to show."
    return f"{counted(n_failed, 'cell')} failed." if n_failed else "No cell failed."


def _listed(rows: pd.DataFrame, column: str, noun: str) -> str:
    """`2 backbones (a, b)`, without the names where they are many."""
    names = distinct(rows[column])
    count = counted(len(names), noun)
    return f"{count} ({', '.join(names)})" if len(names) <= LONGEST_LIST else count


def _range(rows: pd.DataFrame, column: str, written: Callable[[float], str]) -> str:
    values = rows[column].dropna()
    if values.empty:
        return ""
    low, high = float(values.min()), float(values.max())
    return written(low) if low == high else f"{written(low)} to {written(high)}"
