"""How numbers, symbols and flags are written, in the terminal and on the page alike."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from frozen.problems import plural
from frozen.readout.measures import Measure

NOTHING = "–"
DECIMALS = {
    "bits": 2,
    "nats": 2,
    "ratio": 3,
    "percent": 1,
    "rank": 1,
    "cosine": 3,
    "count": 0,
    "seconds": 1,
}
_SIGNS = {"bits": "bits", "nats": "nats", "percent": "%", "seconds": "s"}
"""Units that are written after numbers; the others say nothing there."""
_CEILINGS = {"ratio": 1.0, "percent": 100.0, "cosine": 1.0}
FEWEST_DECIMALS = 2
"""Of a terminal that is narrow; units with fewer keep theirs."""


def unit_sign(measure: Measure) -> str:
    """How a measure's unit is written after its numbers; empty for those that have none."""
    return _SIGNS.get(measure.unit, "")


def ceiling(measure: Measure) -> float | None:
    """The largest number that a measure's unit allows, as a rule; axes reach to it whatever was measured."""
    return _CEILINGS.get(measure.unit)


def estimate_text(value: float, low: float, high: float, decimals: int) -> tuple[str, str]:
    """Write an estimate and its interval; an undefined estimate is a dash, an undefined interval is empty."""
    if math.isnan(value):
        return NOTHING, ""
    if math.isnan(low) or math.isnan(high):
        return decimal(value, decimals), ""
    return decimal(value, decimals), f"[{decimal(low, decimals)}, {decimal(high, decimals)}]"


def decimal(value: float, decimals: int) -> str:
    """Write a number, without the sign of a zero."""
    text = f"{value:.{decimals}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def symbol_parts(measure: Measure) -> tuple[str, str]:
    """Split `β*_direct` into the symbol and its subscript, which may be empty."""
    base, _, subscript = measure.symbol.partition("_")
    return base, subscript


def abbreviations(flags: Iterable[str]) -> dict[str, str]:
    """Give each flag a short name of its own: initials, or the first letters of a single word."""
    short: dict[str, str] = {}
    for flag in sorted(set(flags)):
        words = re.findall(r"[^\W_]+", flag) or [flag]
        stem = words[0][:4].lower() if len(words) == 1 else "".join(word[0] for word in words).lower()
        name, number = stem, 2
        while name in short.values():
            name, number = f"{stem}{number}", number + 1
        short[flag] = name
    return short


def natural_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key that puts `block 9` before `block 10`."""
    parts = re.split(r"([0-9]+)", text)
    return tuple((0, int(part), part) if part[0] in "0123456789" else (1, 0, part) for part in parts if part)


def percent(level: float) -> str:
    return f"{100 * level:.4g} %"


def counted(count: int, noun: str) -> str:
    """`1 cell`, `2 cells`."""
    return f"{count} {noun}" if count == 1 else f"{count} {plural(noun)}"


def first_line(error: str) -> str:
    """The first line of an error that says something."""
    return next((line.strip() for line in error.splitlines() if line.strip()), "no error was recorded")
