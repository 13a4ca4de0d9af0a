"""What a cell's captures say: its row and its per-image results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from frozen.readout.cells import Cell
from frozen.readout.needs import Inputs
from frozen.readout.outcome import Outcome
from readouts.class_embedding.aspects import (
    ATTRIBUTION,
    BOUND_CLASS,
    MEMORIES,
    MEMORIES_OTHER_CLASS,
    MEMORY,
    MEMORY_WEIGHTS,
    OUTPUT,
    PROBE,
    PROJECTION,
    RELEVANCY,
    ClassCell,
)
from readouts.class_embedding.attribution import added_sites
from readouts.class_embedding.bound import BOUND_MEASURES, BOUND_TOKENS
from readouts.class_embedding.columns import COLUMNS
from readouts.class_embedding.estimates import estimates_of, sample_table
from readouts.class_embedding.measured import FEW_IMAGES, N_MAPS, Measured, array_bytes, parquet, which_show
from readouts.class_embedding.memory_rows import inspected, of_weights, remembered, remembered_other
from readouts.class_embedding.probes import Statistics, ridge
from readouts.class_embedding.probes import twice_ranks as score_ranks
from readouts.class_embedding.projection import (
    Ranks,
    class_gain,
    class_gain_p,
    composition,
    identified,
    rise,
    select,
)
from readouts.class_embedding.relevancy_rows import deleted, relevant

CELLS_AT_ONCE = 32
"""Cells whose bootstraps share their draws; a run that is stopped loses no more than these."""


def measure_cells(cells: Mapping[Cell, Inputs], device: torch.device) -> Iterator[tuple[Cell, Outcome]]:
    """Rows and per-image results of the cells of one backbone on one data set.

    Cells of a bundle have one seed and mostly the same images, so that the bootstrap draws once for many of them.
    """
    left = iter(cells.items())
    while part := list(islice(left, CELLS_AT_ONCE)):
        found = {cell: _measured(cell, inputs, device) for cell, inputs in part}
        own: ClassCell = part[0][0].settings
        rows = estimates_of({cell.cell_id: one.samples for cell, one in found.items()}, own.intervals, own.seed)
        for cell, one in found.items():
            yield cell, _outcome(cell, one, rows[cell.cell_id])


def _measured(cell: Cell, inputs: Inputs, device: torch.device) -> Measured:
    own: ClassCell = cell.settings
    if own.aspect.startswith("keep_"):
        return deleted(cell, inputs, device)
    return _ANALYSES.get(own.aspect, projected)(cell, inputs)


def _outcome(cell: Cell, found: Measured, estimated: Mapping[str, float | None]) -> Outcome:
    own: ClassCell = cell.settings
    first: Any = found.samples[found.samples.column_names[0]].to_numpy()
    few = int(np.isfinite(first).sum()) < FEW_IMAGES and own.aspect not in (MEMORY_WEIGHTS, MEMORY)
    row: dict[str, Any] = {**dict.fromkeys(COLUMNS), **estimated}
    row |= {
        "split": own.rules.split,
        "n_test": len(found.samples),
        "n_tokens": found.n_tokens,
        "n_classes": cell.description.n_classes,
        "seed": own.seed,
        "interval_level": own.intervals.level,
        "interval_resamples": own.intervals.resamples,
        "flags": [*found.flags, *(["few_images"] if few else [])],
        **found.extra,
    }
    return Outcome(row=row, samples=found.samples, files=dict(found.files), products=dict(found.products))


def projected(cell: Cell, inputs: Inputs) -> Measured:
    """Identifiability of a site's tokens, and how it came about."""
    own: ClassCell = cell.settings
    layout, n_classes = cell.description.layout, cell.description.n_classes
    here = Ranks.of(inputs.columns["here"])
    shows = which_show(own, inputs)
    tokens = select(own.kind, here.ranks.shape[1], layout, shows)
    if own.aspect != PROJECTION and own.rules.count_cls and own.kind == "image" and layout.has_cls:
        tokens = tokens | select("cls", here.ranks.shape[1], layout, None)
    tokens = np.broadcast_to(tokens, here.ranks.shape) & here.is_there
    values: dict[str, np.ndarray] = identified(here, tokens, n_classes)
    counted = tokens
    if own.rules.skip_first and own.aspect == PROJECTION and own.kind == "image" and not layout.n_prefix:
        counted = without_first(tokens)
        rates = identified(here, counted, n_classes)
        values |= {name: rates[name] for name in ("rate_percent", "images_percent")}
    extra: dict[str, object] = {}
    if "before" in inputs.columns:
        values["rise_percent"] = rise(here, Ranks.of(inputs.columns["before"]), counted)
    if "mlp" in inputs.columns:
        before, attention, mlp = (Ranks.of(inputs.columns[name]) for name in ("before", "attention", "mlp"))
        values |= composition(here, before, attention, mlp, tokens, test_mlp=own.rules.test_mlp)
    if own.kind == "image" and shows is not None:
        spatial = here.identifiability(n_classes)[:, layout.n_prefix :]
        values["class_gain"] = class_gain(spatial, shows)
        if own.rules.permutations:
            extra["p_value"] = class_gain_p(spatial, shows, own.rules.permutations, own.seed)
    weights = None
    if own.rules.average == "tokens" and own.aspect == PROJECTION and own.site != OUTPUT:
        weights = tokens.sum(axis=1)
        if own.kind in ("class", "context"):
            del values["images_percent"]
    extra["chance"] = (n_classes + 1) / (2 * n_classes)
    files: dict[str, bytes] = {}
    if (own.aspect, own.kind, own.site.part) == (PROJECTION, "image", "residual"):
        drawn = here.identifiability(n_classes)[:N_MAPS, layout.n_prefix :]
        files["tokens.parquet"] = parquet(pa.table({"map": drawn.tolist()}))
    return Measured(sample_table(values, weights), int(tokens.sum()), extra, files=files)


def without_first(tokens: np.ndarray) -> np.ndarray:
    """The same without the first token of every image."""
    kept = tokens.copy()
    kept[:, 0] = False
    return kept


def attributed(cell: Cell, inputs: Inputs) -> Measured:
    """What a site adds to the logit of the true class."""
    own: ClassCell = cell.settings
    blocks = sum(layer.isdigit() for layer in cell.description.layers)
    values = inputs.array("here", "attribution")[:, added_sites(blocks).index(own.site)]
    return Measured(sample_table({"attribution_nats": values}), len(values), {})


def probed(cell: Cell, inputs: Inputs) -> Measured:
    """Identifiability by a linear probe in place of the model's own classifier (section 7)."""
    own: ClassCell = cell.settings
    n_classes = cell.description.n_classes
    train, test = (inputs.columns[name]["activations"] for name in ("train", "test"))
    classes, true = inputs.array("train_labels", "class"), inputs.array("test_labels", "class")
    is_all = len(train[:1].shape) == 3
    first = int(cell.description.layout.has_cls)
    ranks = []
    for position in range(first, train[:1].shape[1]) if is_all else (None,):
        x, z = (rows[:] if position is None else rows[:][:, position] for rows in (train, test))
        fitted = ridge(Statistics.of(x, classes, n_classes), own.rules.probe_alpha)
        ranks.append(score_ranks(fitted.scores(z), true))
    twice = np.stack(ranks, axis=1).astype(np.uint16)
    here = Ranks(twice, np.zeros(twice.shape), twice)
    values = identified(here, np.ones((1, twice.shape[1]), dtype=bool), n_classes)
    products = {"ranks": array_bytes(twice)} if cell.gives else {}
    chance = {"chance": (n_classes + 1) / (2 * n_classes)}
    return Measured(sample_table(values), twice.size, chance, products=products)


def bound(cell: Cell, inputs: Inputs) -> Measured:
    """Whether tokens name the objects that are there, or others of the same features."""
    own: ClassCell = cell.settings
    found = inputs.columns["here"]["values"][:][:, BOUND_TOKENS.index(own.kind)].astype(np.float64)
    values = {
        name: found[:, place] for place, name in enumerate(BOUND_MEASURES) if np.isfinite(found[:, place]).any()
    }
    n_images = int(np.isfinite(found[:, 0]).sum())
    flags = ("few_pairs",) if n_images < FEW_IMAGES else ()
    return Measured(sample_table(values or {BOUND_MEASURES[0]: found[:, 0]}), n_images, {"chance": 50.0}, flags)


_ANALYSES = {
    MEMORIES: remembered,
    MEMORIES_OTHER_CLASS: remembered_other,
    MEMORY: inspected,
    RELEVANCY: relevant,
    BOUND_CLASS: bound,
    MEMORY_WEIGHTS: of_weights,
    ATTRIBUTION: attributed,
    PROBE: probed,
}
