"""How numbers, symbols and flags are written, in the terminal and on the page alike."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from sweep.readout import Measure

NOTHING = "–"


@dataclass(frozen=True)
class Estimate:
    """A number as text, with its interval if it has one."""

    value: str
    interval: str = ""

    def __str__(self) -> str:
        return f"{self.value} {self.interval}".rstrip()


def estimate(value: float, low: float, high: float, unit: Literal["bits", "ratio"]) -> Estimate:
    """Write an estimate and its interval; an undefined estimate is a dash.

    Two decimals, and a third where a ratio's interval is too narrow to be seen in two.
    """
    if math.isnan(value):
        return Estimate(NOTHING)
    bounded = not (math.isnan(low) or math.isnan(high))
    decimals = 3 if unit == "ratio" and bounded and high - low < 0.02 else 2
    interval = f"[{_decimal(low, decimals)}, {_decimal(high, decimals)}]" if bounded else ""
    return Estimate(_decimal(value, decimals), interval)


def _decimal(value: float, decimals: int) -> str:
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
    return tuple(
        (0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", text) if part
    )


def percent(level: float) -> str:
    return f"{100 * level:.4g} %"


def counted(count: int, noun: str) -> str:
    """`1 cell`, `2 cells`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
