"""Measures one cell in this process, without Ray: an independent check of what a run has written."""

from __future__ import annotations

from pathlib import Path

import torch

from frozen.data.scenes import SPLITS, SplitName
from frozen.readout.readout import Outcome, Readout, SplitData
from sweep.engine.controls import as_controlled
from sweep.engine.extractor import Extractor
from sweep.engine.grid import Cell
from sweep.engine.passes import Source, activation_key, plan_passes
from sweep.engine.sources import data_fingerprint, open_sources
from sweep.store.disk import DiskStore, Rows
from sweep.study.load import Locate, Space


def measured_again(
    cell: Cell, space: Space, locate: Locate, readout: Readout, store: Path, *, fresh: bool
) -> tuple[dict[str, object], Outcome]:
    """The columns that a measurement gives, with the hashes of data and weights, and all of the outcome.

    Args:
        cell: what to measure.
        space: its study.
        locate: finds the lines of mistakes.
        readout: what is measured.
        store: folder of activations; sound entries are used.
        fresh: whether to extract even what is stored.

    Raises:
        StudyError: data or weights that cannot be opened.
    """
    source = open_sources([cell], [], space, locate)[cell]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    data: dict[SplitName, SplitData] = {
        split: SplitData(
            _activations(cell, source, split, store, device, fresh=fresh),
            readout.labels(cell.dataset.config.open(split)),
        )
        for split in SPLITS
    }
    outcome = readout.measure(cell, as_controlled(cell, data), cell.description.layout, device)
    hashes = {"data_fingerprint": data_fingerprint(source), "weights_digest": source.weights_digest}
    return {**hashes, **outcome.row}, outcome


def _activations(
    cell: Cell, source: Source, split: SplitName, store: Path, device: torch.device, *, fresh: bool
) -> Rows:
    key = activation_key(cell, source, split)
    disk = DiskStore(store)
    if not fresh and disk.has(key) and disk.damage(key) is None:
        return Rows.of(disk.open(key), "activations")
    others = {activation_key(cell, source, other) for other in SPLITS if other != split}
    [job] = plan_passes([cell], {cell: source}, others)
    extractor = Extractor(device)
    return Rows.of([extractor.extract(job, block)[key] for block in range(job.n_blocks)], "activations")
