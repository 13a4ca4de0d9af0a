"""What a cell's captures say: its row and its per-image results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from frozen.readout.cells import Cell
from frozen.readout.needs import Inputs
from frozen.readout.outcome import Outcome
from readouts.class_embedding.cells import OUTPUT, PROJECTION, ClassCell
from readouts.class_embedding.columns import COLUMNS
from readouts.class_embedding.estimates import estimates, sample_table
from readouts.class_embedding.patches import chosen
from readouts.class_embedding.projection import (
    Ranks,
    class_gain,
    class_gain_p,
    composition,
    identified,
    rise,
    select,
)

FEW_IMAGES = 30


@dataclass(frozen=True)
class Measured:
    """What an aspect makes of a cell."""

    samples: pa.Table
    n_tokens: int
    extra: Mapping[str, object]
    flags: tuple[str, ...] = ()


def measure_cell(cell: Cell, inputs: Inputs) -> Outcome:
    """Row and per-image results of one cell."""
    own: ClassCell = cell.settings
    found = projected(cell, inputs)
    first: Any = found.samples[found.samples.column_names[0]].to_numpy()
    few = int(np.isfinite(first).sum()) < FEW_IMAGES
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row |= estimates(found.samples, own.intervals, own.seed)
    row |= {
        "n_test": len(found.samples),
        "n_tokens": found.n_tokens,
        "n_classes": cell.description.n_classes,
        "seed": own.seed,
        "interval_level": own.intervals.level,
        "interval_resamples": own.intervals.resamples,
        "flags": [*found.flags, *(["few_images"] if few else [])],
        **found.extra,
    }
    return Outcome(row=row, samples=found.samples)


def projected(cell: Cell, inputs: Inputs) -> Measured:
    """Identifiability of a site's tokens, and how it came about."""
    own: ClassCell = cell.settings
    layout, n_classes = cell.description.layout, cell.description.n_classes
    here = Ranks.of(inputs.columns["here"])
    shows = _shows(own, inputs)
    tokens = select(own.token, here.ranks.shape[1], layout, shows)
    if own.aspect != PROJECTION and own.rules.count_cls and own.token == "image" and layout.has_cls:
        tokens = tokens | select("cls", here.ranks.shape[1], layout, None)
    tokens = np.broadcast_to(tokens, here.ranks.shape) & here.is_there
    values: dict[str, np.ndarray] = identified(here, tokens, n_classes)
    extra: dict[str, object] = {}
    if "before" in inputs.columns:
        values["rise_percent"] = rise(here, Ranks.of(inputs.columns["before"]), tokens)
    if "mlp" in inputs.columns:
        before, attention, mlp = (Ranks.of(inputs.columns[name]) for name in ("before", "attention", "mlp"))
        values |= composition(here, before, attention, mlp, tokens, test_mlp=own.rules.test_mlp)
    if own.token == "image" and shows is not None:
        spatial = here.identifiability(n_classes)[:, layout.n_prefix :]
        values["class_gain"] = class_gain(spatial, shows)
        if own.rules.permutations:
            extra["p_value"] = class_gain_p(spatial, shows, own.rules.permutations, own.seed)
    weights = None
    if own.rules.average == "tokens" and own.aspect == PROJECTION and own.site != OUTPUT:
        weights = tokens.sum(axis=1)
        if own.token in ("class", "context"):
            del values["images_percent"]
    extra["chance"] = (n_classes + 1) / (2 * n_classes)
    return Measured(sample_table(values, weights), int(tokens.sum()), extra)


def _shows(own: ClassCell, inputs: Inputs) -> Any:
    """Which image tokens show the class; None where that is not known."""
    if "patches" not in inputs.columns:
        return None
    columns = inputs.columns["patches"]
    return chosen(columns["share"][:], columns["corner"][:], own.rules.class_patches)
