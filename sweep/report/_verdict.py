"""What a reader must know first: whether the controls gave what they must, and where each backbone gives most."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from frozen.readout.measures import Expectation, Headline, Measure
from sweep.report._format import DECIMALS, decimal, estimate_text
from sweep.report._rows import Estimate, Row

MOST_ANSWERS = 12
_MOST_FAULTS = 5


class Verdict(NamedTuple):
    """Whether the controls hold: None where none of a known answer was measured."""

    holds: bool | None
    line: str
    faults: tuple[str, ...] = ()
    """What failed, by how much, what it means and what helps."""


class Answer(NamedTuple):
    """Where a backbone gives most on a data set, by the first measure."""

    dataset: str
    backbone: str
    place: str
    first: str
    beside: str
    """The second measure, or empty."""

    @property
    def sentence(self) -> str:
        """The answer in words."""
        beside = f"; {self.beside}" if self.beside else ""
        return f"{self.backbone}: {self.first} at {self.place}{beside}"


def verdict(rows: Sequence[Row], measures: Sequence[Measure], expectations: Sequence[Expectation]) -> Verdict | None:
    """Compare the intervals of the controls with what they must give; None for a read-out that expects nothing."""
    known = {measure.column: measure for measure in measures}
    expected = [one for one in expectations if one.column in known]
    if not expected:
        return None
    found = [(one, row) for one in expected for row in rows if _answers_to(row, one)]
    if not found:
        names = ", ".join(dict.fromkeys(one.control for one in expected if one.control))
        return Verdict(None, f"No control of a known answer was measured ({names}): nothing vouches for the numbers.")
    broken = [(one, row) for one, row in found if not _holds(row.estimates[one.column], one)]
    if not broken:
        ranges = dict.fromkeys(_range(one, found, known[one.column]) for one, _ in found)
        symbols = dict.fromkeys(known[one.column].symbol for one, _ in found)
        return Verdict(True, f"Controls hold ({', '.join(symbols)}): {', '.join(ranges)}.")
    faults = [_fault(one, row, known[one.column]) for one, row in broken]
    more = len(faults) - _MOST_FAULTS
    told = faults[:_MOST_FAULTS] + ([f"and {more} more"] if more > 0 else [])
    advice = dict.fromkeys(one.otherwise for one, _ in broken)
    cells = len({row.cell_id for _, row in broken})
    line = f"Controls fail: {cells} of {len({row.cell_id for _, row in found})} cells do not give what they must."
    return Verdict(False, line, (*told, *advice))


def answers(rows: Iterable[Row], measures: Sequence[Measure], headline: Headline | None = None) -> list[Answer]:
    """Each backbone's cell with the largest headline measure, a data set each; controls do not compete."""
    known = {measure.column: measure for measure in measures}
    chosen = headline if headline and headline.column in known else Headline(column=measures[0].column)
    first, second = known[chosen.column], known.get(chosen.beside) if chosen.beside else None
    best: dict[tuple[str, str], Row] = {}
    for row in rows:
        if (
            row.is_control
            or row.failed
            or not row.estimates[first.column].is_defined
            or not _is_at(row, chosen.where)
        ):
            continue
        place = (row.dataset, row.backbone)
        if place not in best or row.estimates[first.column].value > best[place].estimates[first.column].value:
            best[place] = row
    return [
        Answer(
            row.dataset,
            row.backbone,
            " · ".join(row.values.values()),
            f"{first.label} {_written(row.estimates[first.column], first)}",
            f"{second.symbol} {_written(row.estimates[second.column], second)}" if second else "",
        )
        for row in best.values()
    ]


def _answers_to(row: Row, one: Expectation) -> bool:
    known = not one.control or one.control in (row.control, row.backbone)
    estimate = row.estimates.get(one.column)
    return known and not row.failed and estimate is not None and estimate.is_defined and _is_at(row, one.where)


def _is_at(row: Row, where: Iterable[tuple[str, str]]) -> bool:
    return all(row.values[name] == value for name, value in where)


def _holds(estimate: Estimate, one: Expectation) -> bool:
    """Whether the interval reaches what is expected."""
    low, high = (estimate.low, estimate.high) if estimate.is_bounded else (estimate.value, estimate.value)
    return low <= one.high and high >= one.low


def _range(one: Expectation, found: Sequence[tuple[Expectation, Row]], measure: Measure) -> str:
    alike = (one.control, one.column)
    values = [row.estimates[one.column].value for other, row in found if (other.control, other.column) == alike]
    low, high = (decimal(end, min(2, DECIMALS[measure.unit])) for end in (min(values), max(values)))
    name = one.control or "every row"
    return f"{name} {low}" if low == high else f"{name} {low} to {high}"


def _fault(one: Expectation, row: Row, measure: Measure) -> str:
    decimals = DECIMALS[measure.unit]
    ends = [
        f"at least {decimal(one.low, decimals)}" if math.isfinite(one.low) else "",
        f"at most {decimal(one.high, decimals)}" if math.isfinite(one.high) else "",
    ]
    must = " and ".join(filter(None, ends))
    return f"{' · '.join(row.place)}: {measure.symbol} {_written(row.estimates[one.column], measure)}, must be {must}"


def _written(estimate: Estimate, measure: Measure) -> str:
    return " ".join(estimate_text(estimate.value, estimate.low, estimate.high, DECIMALS[measure.unit])).rstrip()
