"""Names as figures write them: never taken for a formula, broken where they are long."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

from sweep.readout import Measure
from sweep.report._format import symbol_parts


def plain(text: str) -> str:
    """Keep dollar signs from starting a formula."""
    return text.replace("$", r"\$")


def wrapped(text: str, width: int) -> str:
    """Break a name after its separators, so that no line is longer than the width."""
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
    return plain("\n".join(line.strip() for line in lines))


def measure_text(measure: Measure) -> str:
    """Symbol and unit, with a subscript set as one where it is made of letters."""
    base, subscript = symbol_parts(measure)
    if re.fullmatch(r"[A-Za-z0-9]+", subscript):
        return rf"{plain(base)}$_{{\mathrm{{{subscript}}}}}$ ({measure.unit})"
    return f"{plain(measure.symbol)} ({measure.unit})"


def thinned(centres: Sequence[float], widths: Sequence[float]) -> list[int]:
    """Positions of the labels that can stand side by side: the first, the last and what fits between."""
    last = len(centres) - 1
    kept: list[int] = []
    for position, (centre, width) in enumerate(zip(centres, widths, strict=True)):
        clear_of_previous = not kept or centre - centres[kept[-1]] >= (width + widths[kept[-1]]) / 2
        clear_of_last = position == last or centres[last] - centre >= (width + widths[last]) / 2
        if clear_of_previous and (clear_of_last or position == 0):
            kept.append(position)
    return kept
