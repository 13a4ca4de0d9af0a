"""What a cell's captures say: its row and its per-image results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from frozen.capture.capture import Capture
from frozen.intervals import IntervalConfig, resample
from frozen.readout.cells import Cell
from frozen.readout.needs import Inputs
from frozen.readout.outcome import Outcome
from readouts.class_embedding.attribution import added_sites
from readouts.class_embedding.cells import (
    ATTRIBUTION,
    MEMORIES,
    MEMORY_WEIGHTS,
    OUTPUT,
    PROBE,
    PROJECTION,
    ClassCell,
)
from readouts.class_embedding.columns import COLUMNS
from readouts.class_embedding.deletion import ENDS, Deletion, area, paper_area
from readouts.class_embedding.estimates import RIGHT, estimates_of, permutation_p, sample_table
from readouts.class_embedding.memories import Memories, chance_percent
from readouts.class_embedding.patches import chosen
from readouts.class_embedding.probes import Statistics, ridge
from readouts.class_embedding.probes import twice_ranks as score_ranks
from readouts.class_embedding.projection import (
    Ranks,
    class_gain,
    class_gain_p,
    composition,
    identified,
    per_image,
    rise,
    select,
)

FEW_IMAGES = 30
CELLS_AT_ONCE = 32
"""Cells whose bootstraps share their draws; a run that is stopped loses no more than these."""


@dataclass(frozen=True)
class Measured:
    """What an aspect makes of a cell."""

    samples: pa.Table
    n_tokens: int
    extra: Mapping[str, object]
    flags: tuple[str, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)


def measure_cells(cells: Mapping[Cell, Inputs]) -> Iterator[tuple[Cell, Outcome]]:
    """Rows and per-image results of the cells of one backbone on one data set.

    Cells of a bundle have one seed and mostly the same images, so that the bootstrap draws once for many of them.
    """
    left = iter(cells.items())
    while part := list(islice(left, CELLS_AT_ONCE)):
        found = {cell: _measured(cell, inputs) for cell, inputs in part}
        own: ClassCell = part[0][0].settings
        rows = estimates_of({cell.cell_id: one.samples for cell, one in found.items()}, own.intervals, own.seed)
        for cell, one in found.items():
            yield cell, _outcome(cell, one, rows[cell.cell_id])


def _measured(cell: Cell, inputs: Inputs) -> Measured:
    own: ClassCell = cell.settings
    if own.aspect.startswith("keep_"):
        return deleted(cell, inputs)
    return _ANALYSES.get(own.aspect, projected)(cell, inputs)


def _outcome(cell: Cell, found: Measured, estimated: Mapping[str, float | None]) -> Outcome:
    own: ClassCell = cell.settings
    first: Any = found.samples[found.samples.column_names[0]].to_numpy()
    few = int(np.isfinite(first).sum()) < FEW_IMAGES and own.aspect != MEMORY_WEIGHTS
    row: dict[str, Any] = {**dict.fromkeys(COLUMNS), **estimated}
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
    return Outcome(row=row, samples=found.samples, files=dict(found.files))


def projected(cell: Cell, inputs: Inputs) -> Measured:
    """Identifiability of a site's tokens, and how it came about."""
    own: ClassCell = cell.settings
    layout, n_classes = cell.description.layout, cell.description.n_classes
    here = Ranks.of(inputs.columns["here"])
    shows = _shows(own, inputs)
    tokens = select(own.kind, here.ranks.shape[1], layout, shows)
    if own.aspect != PROJECTION and own.rules.count_cls and own.kind == "image" and layout.has_cls:
        tokens = tokens | select("cls", here.ranks.shape[1], layout, None)
    tokens = np.broadcast_to(tokens, here.ranks.shape) & here.is_there
    values: dict[str, np.ndarray] = identified(here, tokens, n_classes)
    extra: dict[str, object] = {}
    if "before" in inputs.columns:
        values["rise_percent"] = rise(here, Ranks.of(inputs.columns["before"]), tokens)
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
        files["tokens.parquet"] = _parquet(pa.table({"map": drawn.tolist()}))
    return Measured(sample_table(values, weights), int(tokens.sum()), extra, files=files)


def _shows(own: ClassCell, inputs: Inputs) -> Any:
    """Which image tokens show the class; None where that is not known."""
    if "patches" not in inputs.columns:
        return None
    columns = inputs.columns["patches"]
    return chosen(columns["share"][:], columns["corner"][:], own.rules.class_patches)


def remembered(cell: Cell, inputs: Inputs) -> Measured:
    """Key-value agreement and memory match (section 5.2)."""
    own: ClassCell = cell.settings
    columns = inputs.columns["here"]
    agree, match = columns["agrees"][:].astype(bool), columns["matches"][:].astype(bool)
    tokens = select(own.kind, agree.shape[1], cell.description.layout, None)
    values = {"memory_percent": 100 * per_image(agree, tokens), "match_percent": 100 * per_image(match, tokens)}
    reduction = Memories(int(own.site.layer), own.site.part)  # pyright: ignore[reportArgumentType]
    extra: dict[str, object] = {"chance": chance_percent(reduction.n_memories(cell.description))}
    if own.kind == "cls":
        is_right = inputs.columns["output"]["ranks"][:][:, 0] == 0
        values[RIGHT] = is_right.astype(np.float64)
        extra["p_value"] = _link_p(values["memory_percent"], is_right, own)
    return Measured(sample_table(values), int(tokens.sum()) * len(agree), extra)


def _link_p(agreement: np.ndarray, is_right: np.ndarray, own: ClassCell) -> float | None:
    """One-sided p-value of the mean agreement of images classified rightly minus that of the others."""
    if is_right.all() or not is_right.any() or not own.rules.permutations:
        return None
    rng = np.random.default_rng([own.seed, 4])
    drawn = [rng.permutation(is_right) for _ in range(own.rules.permutations)]
    value, *permuted = (agreement[one].mean() - agreement[~one].mean() for one in (is_right, *drawn))
    return permutation_p(float(value), np.array(permuted))


def of_weights(cell: Cell, inputs: Inputs) -> Measured:
    """Class-value agreement: one value a class (section 5.1)."""
    cosines, classes = inputs.array("here", "value_cosine"), inputs.array("labels", "class")
    present, first = np.unique(classes, return_index=True)
    missing = len(present) < cell.description.n_classes
    samples = sample_table({"value_cosine": cosines[first]})
    return Measured(samples, 0, {}, ("missing_classes",) if missing else ())


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
    return Measured(sample_table(values), twice.size, {"chance": (n_classes + 1) / (2 * n_classes)})


def deleted(cell: Cell, inputs: Inputs) -> Measured:
    """Area below the deletion curve of one order, and whether its first token shows the class."""
    own: ClassCell = cell.settings
    need = dict(cell.needs)["here"]
    assert isinstance(need, Capture)
    reduction = need.reduction
    assert isinstance(reduction, Deletion)
    place, end = reduction.orders.index(own.kind), next(i for i, end in enumerate(ENDS) if end in own.aspect)  # pyright: ignore
    correct = inputs.array("here", "correct")[:, place, end]
    areas = paper_area if own.rules.auc == "paper" else area
    values = {"auc": areas(correct, reduction.counts)}
    extra: dict[str, object] = {}
    maps = inputs.array("here", "maps")[:, place]
    shows = _shows(own, inputs)
    if shows is not None and own.kind != "random":
        values["pointing_percent"] = 100.0 * shows[np.arange(len(maps)), maps.argmax(1)]
        extra["chance"] = 100.0 * float(shows.mean())
    files = {"deletion.parquet": _parquet(curve_table(correct, reduction.counts, own.intervals, own.seed))}
    if end == 0:
        files["maps.parquet"] = _parquet(pa.table({"map": maps[:N_MAPS].tolist()}))
    return Measured(sample_table(values), maps.size, extra, files=files)


def curve_table(correct: np.ndarray, counts: Any, config: IntervalConfig, seed: int) -> pa.Table:
    """Accuracy in percent with its interval, for every number of tokens kept."""
    losses = {str(n): 100.0 * correct[:, place][None].astype(np.float64) for place, n in enumerate(counts)}
    both = resample(losses, resamples=config.resamples, seed=seed).both
    ends = [(1 - config.level) / 2, (1 + config.level) / 2]
    bounds = np.stack([np.quantile(both[str(n)], ends) for n in counts])
    means = [float(losses[str(n)].mean()) for n in counts]
    return pa.table({"kept": list(counts), "accuracy": means, "low": bounds[:, 0], "high": bounds[:, 1]})


def _parquet(table: pa.Table) -> bytes:
    buffer = BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


N_MAPS = 8
"""Images whose relevancy maps are kept for the report."""
_ANALYSES = {
    MEMORIES: remembered,
    MEMORY_WEIGHTS: of_weights,
    ATTRIBUTION: attributed,
    PROBE: probed,
}
