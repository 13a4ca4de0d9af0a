"""Names as figures write them: never taken for a formula, broken where they are long."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from itertools import pairwise

from frozen.readout.measures import Measure
from sweep.report._format import symbol_parts, unit_sign


def plain(text: str) -> str:
    """Keep dollar signs from starting a formula."""
    return text.replace("$", r"\$")


def wrapped(text: str, width: int, most_lines: int = 3) -> str:
    """Break a name after its separators, so that no line is longer than the width; cut what is beyond all use."""
    pieces = [
        chunk
        for piece in re.findall(r"[^\s:_./·,-]*[\s:_./·,-]*", text)
        for chunk in textwrap.wrap(piece, width, drop_whitespace=False)
    ]
    lines = [""]
    for piece in pieces:
        if lines[-1] and len(lines[-1]) + len(piece.rstrip()) > width:
            lines.append("")
        lines[-1] += piece
    lines = [line.strip() for line in lines]
    if len(lines) > most_lines:
        lines = [*lines[: most_lines - 1], f"{lines[most_lines - 1][: width - 1]}…"]
    return plain("\n".join(lines))


def measure_text(measure: Measure) -> str:
    """Symbol and unit, with a subscript set as one where it is made of letters."""
    base, subscript = symbol_parts(measure)
    unit = unit_sign(measure) or measure.unit
    if re.fullmatch(r"[A-Za-z0-9]+", subscript):
        return rf"{plain(base)}$_{{\mathrm{{{subscript}}}}}$ ({unit})"
    return f"{plain(measure.symbol)} ({unit})"


def thinned(centres: Sequence[float], widths: Sequence[float]) -> list[int]:
    """Positions of the labels that can stand side by side: each n-th for the smallest such n, and the last."""
    last = len(centres) - 1

    def is_clear(left: int, right: int) -> bool:
        return centres[right] - centres[left] >= (widths[left] + widths[right]) / 2

    for step in range(1, last + 1):
        kept = [position for position in range(0, last, step) if position == 0 or is_clear(position, last)]
        if all(is_clear(left, right) for left, right in pairwise([*kept, last])):
            return [*kept, last]
    return [last]
