"""Which done cells have to be measured again: what they are made of has changed, or somebody needs what they gave."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from frozen.readout.cells import Cell
from frozen.readout.needs import Product
from sweep.engine.needs import Graph
from sweep.engine.sources import data_fingerprint
from sweep.results.directory import Row


class Renewed(NamedTuple):
    """A done cell that is measured again, and why."""

    cell: Cell
    reason: str


def stale(done: Iterable[Cell], rows: Mapping[str, Row], graph: Graph) -> Iterator[Renewed]:
    """Done cells whose data, weights or products are no longer those that they were measured with."""
    for cell in done:
        row, source = rows[cell.cell_id], graph.sources.get(cell)
        if source is not None:
            now = (data_fingerprint(source), source.weights_digest)
            if (row["data_fingerprint"], row["weights_digest"]) != now:
                yield Renewed(cell, "data or weights have changed")
                continue
        used: dict[str, str] = json.loads(str(row.get("used") or "{}"))
        for name, need in cell.needs_of(Product):
            giver = rows.get(need.giver)
            given = json.loads(str((giver or {}).get("gives") or "{}")).get(need.name)
            if given is not None and given != used.get(name):
                yield Renewed(cell, f"{name} of cell {need.giver[:8]} is another one now")
                break


def lost_products(
    to_do: Iterable[Cell], done: Iterable[Cell], graph: Graph, has: Callable[[str], bool]
) -> list[Renewed]:
    """Done cells that have to give a product again, because it left the store and a cell to be measured needs it.

    Args:
        to_do: cells to be measured.
        done: cells with a sound row.
        graph: of their needs.
        has: whether the store has an entry.
    """
    settled = set(done)
    found: dict[Cell, Renewed] = {}

    def look(cell: Cell) -> None:
        for _, need in cell.needs_of(Product):
            giver = graph.giver(need)
            if giver in found or giver not in settled:
                continue
            if not has(graph.given(giver)[need.name]):
                found[giver] = Renewed(giver, f"{need.name} is needed and no longer in the store")
                look(giver)

    for cell in to_do:
        look(cell)
    return list(found.values())
