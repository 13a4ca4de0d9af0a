"""Which rows share a table: those of the stages of a read-out that fill the same measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from frozen.readout.measures import Measure
from sweep.report._layout import Layout
from sweep.report._rows import Row, values_of


@dataclass(frozen=True)
class Group:
    """Rows that fill the same measures."""

    stages: tuple[str, ...]
    """Values of the first dimension of panels; empty where all rows are in one group."""
    measures: tuple[Measure, ...]
    """What some of its rows have; all of them where no row has any."""


def measure_groups(rows: Sequence[Row], layout: Layout, measures: Sequence[Measure]) -> list[Group]:
    """Tell the stages of a read-out apart by what they measure.

    Args:
        rows: prepared rows.
        layout: the dimensions; the first one of panels is that of the stages.
        measures: what the rows hold.

    Returns:
        Groups in the order of their first stage. A stage of which nothing is defined joins the first group.
    """
    stage = next(iter(layout.panels), None)
    names = values_of(rows, stage) if stage else [""]
    has: dict[str, set[str]] = {name: set() for name in names}
    for row in rows:
        filled = has[row.values[stage.name] if stage else ""]
        filled.update(one.column for one in measures if one.column not in filled and _is_defined(row, one))
    stages: dict[frozenset[str], list[str]] = {}
    for name in names:
        if has[name]:
            stages.setdefault(frozenset(has[name]), []).append(name)
    if len(stages) <= 1:
        filled = next(iter(stages), frozenset(one.column for one in measures))
        return [Group((), tuple(one for one in measures if one.column in filled))]
    next(iter(stages.values())).extend(name for name in names if not has[name])
    return [Group(tuple(of), tuple(one for one in measures if one.column in filled)) for filled, of in stages.items()]


def rows_of(group: Group, rows: Sequence[Row], layout: Layout) -> list[Row]:
    """The rows of a group, in their order."""
    if not group.stages:
        return list(rows)
    stage = layout.panels[0].name
    return [row for row in rows if row.values[stage] in group.stages]


def _is_defined(row: Row, measure: Measure) -> bool:
    return row.estimates[measure.column].is_defined
