"""The first cells of a limited run: few of everything rather than everything of one kind."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from frozen.paths import written
from frozen.readout.cells import Cell
from frozen.readout.measures import Dimension


def spread(cells: Sequence[Cell], n: int, dimensions: Sequence[Dimension], done: Iterable[Cell] = ()) -> list[Cell]:
    """Some of the cells: as long as there is a kind that none of them has, one with most such kinds is next.

    Kinds are data sets, backbones, controls and the values of dimensions; where all are there, those with few come
    first, then depths with few, then the order of the cells decides.

    Args:
        cells: to choose from.
        n: how many.
        dimensions: of the read-out.
        done: cells whose kinds are there already.
    """
    depths = [one.name for one in dimensions if one.role == "depth"]
    others = [one.name for one in dimensions if one.role != "depth"]

    def depth(cell: Cell) -> tuple[str, ...]:
        return ("depth", *(str(_value(cell, name)) for name in depths))

    counts: Counter[tuple[str, ...]] = Counter(kind for cell in done for kind in (*_kinds(cell, others), depth(cell)))

    def rank(number: int) -> tuple[int, int, int, int]:
        cell = cells[number]
        seen = [counts[kind] for kind in _kinds(cell, others)]
        return -seen.count(0), sum(seen), counts[depth(cell)], number

    queue = [rank(number) for number in range(len(cells))]
    heapq.heapify(queue)
    chosen: list[Cell] = []
    while queue and len(chosen) < n:
        first = heapq.heappop(queue)
        now = rank(first[-1])
        if now > first:  # choices since have made it less wanted, which they never make more
            heapq.heappush(queue, now)
            continue
        cell = cells[first[-1]]
        chosen.append(cell)
        counts.update((*_kinds(cell, others), depth(cell)))
    return chosen


def _value(cell: Cell, name: str) -> object:
    """Of a dimension; None where the cell's read-out does not have it."""
    return dict(cell.columns).get(name)


def _kinds(cell: Cell, dimensions: Sequence[str]) -> Iterator[tuple[str, ...]]:
    yield "data set", cell.dataset.name
    if cell.description.is_control:
        yield "control", cell.backbone.name
    else:
        yield "backbone", cell.control_of or written(cell.backbone.source)
        if cell.control is not None:
            yield "control", cell.control
    yield from ((cell.readout, name, str(_value(cell, name))) for name in dimensions)
