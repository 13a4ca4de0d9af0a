"""Measures one cell in this process, without Ray: an independent check of what a run has written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from frozen.capture.capture import Capture
from frozen.data.spec import open_split
from frozen.readout.cells import Cell
from frozen.readout.needs import Columns, Inputs, Labels, Product
from frozen.readout.outcome import Outcome
from frozen.readout.readout import Readout, Readouts
from frozen.readout.study import Study
from sweep.engine.controls import as_controlled
from sweep.engine.extractor import Extractor
from sweep.engine.grid import Grid
from sweep.engine.needs import Graph
from sweep.engine.passes import plan_passes
from sweep.engine.sources import data_fingerprint, known_columns, open_all
from sweep.store.disk import DiskStore, Rows
from sweep.store.scratch import scratch_folder
from sweep.study.load import Locate


def measured_again(
    cell: Cell,
    grid: Grid,
    studies: Mapping[str, Study],
    locates: Mapping[str, Locate],
    readouts: Readouts,
    store: Path,
    *,
    fresh: bool,
) -> tuple[dict[str, object], Outcome]:
    """The columns that a measurement gives, with the hashes of data and weights, and all of the outcome.

    Args:
        cell: what to measure; cells whose products it needs are measured first.
        grid: all cells of its file.
        studies: of the file, by their read-outs.
        locates: find the lines of mistakes of each study.
        readouts: what measures them, by name.
        store: folder of activations; sound entries are used.
        fresh: whether to extract even what is stored.

    Raises:
        StudyError: data or weights that cannot be opened.
    """
    needed = _with_givers(cell, {one.cell_id: one for one in grid.cells})
    graph = Graph(grid.cells, open_all(needed, [], studies, locates), readouts)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    outcomes: dict[str, Outcome] = {}
    for one in needed:
        readout = readouts[one.readout]
        with scratch_folder() as scratch:
            columns = {
                name: _columns(one, name, need, graph, readout, store, scratch, device, fresh=fresh)
                for name, need in one.needs
                if not isinstance(need, Product)
            }
            products = {name: outcomes[need.giver].products[need.name] for name, need in one.needs_of(Product)}
            inputs = Inputs(known_columns(one, graph.sources[one]), as_controlled(one, columns), products)
            [(_, outcomes[one.cell_id])] = readout.measure({one: inputs}, device)
    source, outcome = graph.sources[cell], outcomes[cell.cell_id]
    hashes = {"data_fingerprint": data_fingerprint(source), "weights_digest": source.weights_digest}
    return {**hashes, **outcome.row}, outcome


def _with_givers(cell: Cell, cells: dict[str, Cell]) -> list[Cell]:
    """A cell after those whose products it needs."""
    before = [one for _, need in cell.needs_of(Product) for one in _with_givers(cells[need.giver], cells)]
    return [*dict.fromkeys([*before, cell])]


def _columns(
    cell: Cell,
    name: str,
    need: Capture | Labels,
    graph: Graph,
    readout: Readout,
    store: Path,
    scratch: Path,
    device: torch.device,
    *,
    fresh: bool,
) -> Columns:
    if isinstance(need, Labels):
        return dict(readout.labels(open_split(need.dataset.config, need.split)))
    key = graph.keys(cell)[name]
    disk = DiskStore(store)
    if fresh or not disk.has(key) or disk.damage(key) is not None:
        disk = DiskStore(scratch)  # it may be larger than memory
        others = set(graph.keys(cell).values()) - {key}
        [job] = plan_passes([cell], graph, others)
        extractor = Extractor(device)
        for block in range(job.n_blocks):
            disk.write_block(key, block, extractor.extract(job, block)[key])
        disk.publish(key, {})
    tables = disk.open(key)
    return {column: Rows.of(tables, column) for column in tables[0].column_names}
