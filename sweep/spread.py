"""The first cells of a limited run: few of everything rather than everything of one kind."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from sweep.cells import Cell

Kind = tuple[str, str]
"""Such as mode and cls."""


def spread(cells: Sequence[Cell], n: int, done: Iterable[Cell] = ()) -> list[Cell]:
    """Some of the cells: as long as there is a kind that none of them has, one with most such kinds is next.

    Kinds are data sets, backbones, modes, probe families and controls; where all are there, those with few come
    first, then layers with few, then the order of the cells decides.

    Args:
        cells: to choose from.
        n: how many.
        done: cells whose kinds are there already.
    """
    counts: Counter[Kind] = Counter(kind for cell in done for kind in (*_kinds(cell), _layer(cell)))

    def rank(number: int) -> tuple[int, int, int, int]:
        cell = cells[number]
        seen = [counts[kind] for kind in _kinds(cell)]
        return -seen.count(0), sum(seen), counts[_layer(cell)], number

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
        counts.update((*_kinds(cell), _layer(cell)))
    return chosen


def _kinds(cell: Cell) -> Iterator[Kind]:
    yield "data set", cell.dataset.name
    yield "probe", cell.probe.family
    if cell.description.is_control:  # it has neither layers nor modes of a backbone
        yield "control", cell.backbone.name
        return
    yield "backbone", cell.control_of or cell.backbone.source
    yield "mode", cell.mode
    if cell.control is not None:
        yield "control", cell.control


def _layer(cell: Cell) -> Kind:
    return "layer", cell.layer
