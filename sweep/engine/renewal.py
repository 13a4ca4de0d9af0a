"""Which done cells have to be measured again: what they are made of has changed, or somebody needs what they gave."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from frozen.readout.cells import Cell
from frozen.readout.needs import Product
from sweep.engine.needs import Graph, closed
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


def to_measure(
    cells: Sequence[Cell],
    rows: Mapping[str, Row],
    graph: Graph,
    to_do: Sequence[Cell],
    has: Callable[[str], bool],
    after: Sequence[Cell] | None = None,
) -> tuple[list[Cell], list[Renewed]]:
    """Some cells with the done ones that have to be measured again, and why; givers before those they give to.

    Args:
        cells: of the study.
        rows: what is measured, by cell.
        graph: of the cells' needs.
        to_do: cells to be measured in any case.
        has: whether the store has an entry.
        after: cells that were measured just now; then only those that read their products are looked at.
    """
    wanted = set(to_do)
    done = [cell for cell in cells if rows.get(cell.cell_id, {}).get("status") == "done" and cell not in wanted]
    just_now = None if after is None else set(after)
    looked_at = [cell for cell in done if just_now is None or not just_now.isdisjoint(graph.givers(cell))]
    renewed = list(stale(looked_at, rows, graph))
    wanted |= {one.cell for one in renewed}
    settled = [cell for cell in done if cell not in wanted]
    if any(cell.gives for cell in settled):
        renewed += lost_products(wanted, settled, graph, has)
    again = {one.cell for one in renewed}
    by_id = {cell.cell_id: cell for cell in cells}
    return closed([*again, *to_do], by_id, [cell for cell in settled if cell not in again]), renewed
