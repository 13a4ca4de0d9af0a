"""Rows of relevancy: deletion curves, and what single blocks and heads find relevant (section 6 of the paper)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch

from frozen.capture.capture import Capture, capture
from frozen.data.spec import open_split
from frozen.intervals import IntervalConfig, resample
from frozen.models import load
from frozen.readout.cells import Cell
from frozen.readout.needs import Inputs
from readouts.class_embedding.aspects import ClassCell
from readouts.class_embedding.deletion import ENDS, PROBE_RANKS, Deletion, area, kept_counts, paper_area
from readouts.class_embedding.estimates import sample_table
from readouts.class_embedding.measured import N_MAPS, Measured, array_of, parquet, which_show


class Curve(NamedTuple):
    """Of one order and end: correctness [images count], numbers of tokens kept, and what tokens are ordered by."""

    correct: np.ndarray
    counts: tuple[int, ...]
    maps: np.ndarray


def deleted(cell: Cell, inputs: Inputs, device: torch.device) -> Measured:
    """Area below the deletion curve of one order, and whether its first token shows the class."""
    own: ClassCell = cell.settings
    end = next(end for end in ENDS if f"_{end}_" in own.aspect)
    curve = _by_probe(cell, inputs, end, device) if own.kind == "probe" else _captured(cell, inputs, end)
    correct, counts, maps = curve
    areas = paper_area if own.rules.auc == "paper" else area
    values = {"auc": areas(correct, counts)}
    extra: dict[str, object] = {}
    shows = which_show(own, inputs)
    if shows is not None and own.kind != "random":
        values["pointing_percent"] = 100.0 * shows[np.arange(len(maps)), maps.argmax(1)]
        extra["chance"] = 100.0 * float(shows.mean())
    files = {"deletion.parquet": parquet(curve_table(correct, counts, own.intervals, own.seed))}
    if end == ENDS[0]:
        files["maps.parquet"] = parquet(pa.table({"map": maps[:N_MAPS].tolist()}))
    return Measured(sample_table(values), maps.size, extra, files=files)


def _captured(cell: Cell, inputs: Inputs, end: str) -> Curve:
    own: ClassCell = cell.settings
    need = dict(cell.needs)["here"]
    assert isinstance(need, Capture)
    reduction = need.reduction
    assert isinstance(reduction, Deletion)
    place, number = reduction.orders.index(own.kind), ENDS.index(end)  # pyright: ignore[reportArgumentType]
    correct = inputs.array("here", "correct")[:, place, number]
    return Curve(correct, reduction.counts, inputs.array("here", "maps")[:, place])


def _by_probe(cell: Cell, inputs: Inputs, end: str, device: torch.device) -> Curve:
    """Tokens in the order of minus the sum of their ranks over the blocks (section 7 of the paper).

    The order is known only when all probes are, so that the model runs again here.
    """
    own: ClassCell = cell.settings
    maps = -np.sum([array_of(content).astype(np.float32) for content in inputs.products.values()], axis=0)
    counts = kept_counts(maps.shape[1], own.rules.deletion_steps)
    config = cell.dataset.config
    model = load(cell.backbone, config, device, head=True)
    reduction = Deletion(len(inputs.products), counts, ("probe",), ends=(end,))
    labels = {"class": inputs.array("labels", "class"), PROBE_RANKS: maps}
    tables = capture(model, open_split(config, own.rules.split), [reduction], labels=labels)
    column: Any = tables[reduction].column("correct").combine_chunks()
    return Curve(column.to_numpy_ndarray()[:, 0, 0], counts, maps)


def curve_table(correct: np.ndarray, counts: Any, config: IntervalConfig, seed: int) -> pa.Table:
    """Accuracy in percent with its interval, for every number of tokens kept."""
    losses = {str(n): 100.0 * correct[:, place][None].astype(np.float64) for place, n in enumerate(counts)}
    both = resample(losses, resamples=config.resamples, seed=seed).both
    ends = [(1 - config.level) / 2, (1 + config.level) / 2]
    bounds = np.stack([np.quantile(both[str(n)], ends) for n in counts])
    means = [float(losses[str(n)].mean()) for n in counts]
    return pa.table({"kept": list(counts), "accuracy": means, "low": bounds[:, 0], "high": bounds[:, 1]})


def relevant(cell: Cell, inputs: Inputs) -> Measured:
    """What one block or head finds relevant: its part of all relevancy, and where its first token lies."""
    own: ClassCell = cell.settings
    whole = inputs.columns["here"]["relevancy"][:]
    total = np.abs(whole).sum((1, 2, 3), dtype=np.float64)
    maps = whole[:, int(own.site.layer)]
    maps = maps if own.kind == "all" else maps[:, [int(own.kind.removeprefix("head "))]]
    part = np.abs(maps).sum((1, 2), dtype=np.float64)
    values = {"relevancy_percent": np.where(total > 0, 100.0 * part / np.where(total > 0, total, 1.0), np.nan)}
    summed = maps.sum(1)
    extra: dict[str, object] = {}
    if (shows := which_show(own, inputs)) is not None:
        values["pointing_percent"] = 100.0 * shows[np.arange(len(summed)), summed.argmax(1)]
    files = {"maps.parquet": parquet(pa.table({"map": summed[:N_MAPS].tolist()}))}
    return Measured(sample_table(values), summed.size, extra, files=files)
