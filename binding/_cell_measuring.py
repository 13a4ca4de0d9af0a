"""Measures one cell of a sweep: from what it needs to its row, its tables and its files."""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Mapping
from dataclasses import fields, replace
from functools import lru_cache
from io import BytesIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from binding._tables import curve_table, sample_table, suggestion_table
from binding._together import Trainings
from binding.breakdown import breakdown, seen_in_training
from binding.cells import BindingCell, Shared
from binding.columns import COLUMNS
from binding.extras import EXTRA_ESTIMATES
from binding.fit import FitConfig
from binding.leave_one_out import Heads, left_out
from binding.measurement import Measurement, measuring
from binding.paired import (
    LOSSES,
    PAIRED_ESTIMATES,
    RANDOM,
    WHOLE,
    losses_from_bytes,
    losses_to_bytes,
    paired_estimates,
)
from binding.predictions import predictions
from binding.probe_file import ProbeFile
from binding.probes import Probe, Target
from binding.samples import MeasureConfig, Samples, SplitSamples
from binding.stored import estimate_columns
from binding.through import coordinates_read, mapped
from frozen.capture.sites import Site
from frozen.data.scenes import SPLITS, Entropies, Scene, prior_source
from frozen.data.scenes.priors import PriorSource
from frozen.intervals import Losses
from frozen.readout.cells import Cell
from frozen.readout.needs import Inputs
from frozen.readout.outcome import Outcome


def measured(
    cell: Cell, inputs: Inputs, device: torch.device, of_heads: Mapping[str, Losses] | None = None
) -> Trainings[Outcome]:
    """One cell, step by step; see `binding._together`.

    Args:
        cell: of a study.
        inputs: what it needs.
        device: where to train.
        of_heads: losses with and without it, of a head that is left out.
    """
    own: BindingCell = cell.settings
    scene, shared = cell.dataset.config, own.shared
    splits = {name: _samples(cell, inputs, name) for name in SPLITS}
    n_coordinates = None
    if own.passage is not None and own.passage.is_map:
        codes = {name: np.asarray(one.activations) for name, one in splits.items()}
        is_read = coordinates_read(own.passage, codes, inputs.products.get("chooser"), seed=shared.seed)
        n_coordinates = int(is_read.sum())
        splits = {
            name: one._replace(activations=np.where(is_read, codes[name], np.float32(0)))
            for name, one in splits.items()
        }
    entropies, prior = _known_of_test(scene)
    measurement = yield from measuring(
        SplitSamples(
            scene.space,
            *splits.values(),
            entropies=entropies,
            prior=prior,
            has_cls=cell.description.layout.has_cls,
        ),
        own.probe.space,
        config_of(shared),
        feature_probe=own.probe.feature_probe,
        device=device,
    )
    measurement = _beside(measurement, _others(inputs) | dict(of_heads or {}), shared)
    seen = seen_in_training(splits["train"].object_codes, splits["test"].object_codes)
    details = breakdown(measurement.targets, splits["test"], seen, scene.space, shared.intervals, seed=shared.seed)
    row = {
        "through": own.passage and own.passage.through,
        "n_coordinates": n_coordinates,
        **_shape(splits["test"]),
        **_counts(scene, splits, shared),
        "seen_share": float(seen.mean()),
        **row_of(measurement),
    }
    return Outcome(
        row={name: row[name] for name in COLUMNS},
        samples=sample_table(measurement),
        curves=curve_table(measurement),
        suggestions=suggestion_table(measurement),
        steps=_steps(measurement, shared.fit, len(splits["train"].activations)),
        files=_files(
            {
                "details": details,
                "predictions": predictions(measurement.targets["direct"].head_bits, splits["test"].object_codes),
            },
            None if own.passage else _probe_file(measurement, cell, inputs.known),
            own.keep_probes_bytes,
        ),
        products={LOSSES: losses_to_bytes(measurement.losses.direct)} if cell.gives else {},
    )


@lru_cache(maxsize=8)
def _known_of_test(scene: Scene) -> tuple[Entropies | None, PriorSource]:
    """Exact entropies of a scene's test split, and how its prior is known; once for all cells of a process."""
    test = scene.open("test")
    return test.entropies, prior_source(test)


def left_out_losses(cells: Mapping[Cell, Inputs], device: torch.device) -> dict[Cell, Mapping[str, Losses]]:
    """Of heads that are to be left out of their block, the losses with and without them."""
    blocks: dict[Hashable, list[Cell]] = {}
    for cell in cells:
        own: BindingCell = cell.settings
        if (view := own.view_of_all_heads()) is not None:
            place = (cell.dataset, cell.backbone, cell.control, view, own.probe, own.shared)
            blocks.setdefault(place, []).append(cell)
    found: dict[Cell, Mapping[str, Losses]] = {}
    for heads in blocks.values():
        by_number = {Site.parse(cell.settings.layer).head: cell for cell in heads}
        first, own = heads[0], heads[0].settings
        shape = first.description.part(Site.parse(own.layer).part)
        assert not isinstance(shape, str)
        train, validation, test = (_samples(first, cells[first], name, f"{name}_heads") for name in SPLITS)
        has_cls = first.description.layout.has_cls
        samples = SplitSamples(first.dataset.config.space, train, validation, test, has_cls=has_cls)
        numbers = [number for number in by_number if number is not None]
        losses = left_out(samples, Heads(*shape), numbers, own.probe.space, config_of(own.shared), device)
        found |= {by_number[number]: one for number, one in losses.items()}
    return found


def _others(inputs: Inputs) -> dict[str, Losses]:
    """Losses of other cells with which this one is compared."""
    names = ((WHOLE, LOSSES), (RANDOM, RANDOM))
    return {target: losses_from_bytes(inputs.products[name]) for target, name in names if name in inputs.products}


def _beside(measurement: Measurement, others: Mapping[str, Losses], shared: Shared) -> Measurement:
    """A measurement with what else was lost on the same test images, and the differences."""
    entropy = measurement.sample_entropies_bits[None]
    values = {"direct": measurement.losses.direct, "entropy": entropy, **others}
    return replace(
        measurement,
        estimates=measurement.estimates | paired_estimates(values, shared.intervals, seed=shared.seed),
        extra_bits=measurement.extra_bits | dict(others),
    )


def _files(tables: Mapping[str, pa.Table], probes: ProbeFile | None, most_bytes: int) -> dict[str, bytes]:
    """Tables as NAME.parquet and, where they are small enough, the tuned probes as probes.safetensors.

    Probes that read through a map are not kept: their file would say that they read the activations.
    """
    files = {}
    for name, table in tables.items():
        buffer = BytesIO()
        pq.write_table(table, buffer)
        files[f"{name}.parquet"] = buffer.getvalue()
    kept = None if probes is None else probes.to_bytes(most_bytes)
    return files | ({} if kept is None else {"probes.safetensors": kept})


def _steps(measurement: Measurement, fit: FitConfig, n_train: int) -> int:
    """Optimiser steps of all trainings; the search trains the winner with the first seed."""
    epochs = 0
    for result in measurement.targets.values():
        epochs += sum(len(suggestion.curve) for suggestion in result.suggestions)
        epochs += sum(len(fitted.curve) for fitted in result.fits[bool(result.suggestions) :])
    return epochs * fit.schedule(n_train).steps_an_epoch


def _shape(samples: Samples) -> dict[str, object]:
    """Width of what the probe sees, and its tokens."""
    sample_shape = samples.activations.shape[1:]
    return {"z_dim": sample_shape[-1], "n_tokens": sample_shape[0] if len(sample_shape) > 1 else 1}


def config_of(shared: Shared) -> MeasureConfig:
    """How the cells of a study are measured."""
    return MeasureConfig(
        fit=shared.fit,
        search=shared.search,
        intervals=shared.intervals,
        seed=shared.seed,
        n_seeds=shared.n_seeds,
        extras=shared.extras,
    )


def _probe_file(measurement: Measurement, cell: Cell, known: Mapping[str, object]) -> ProbeFile:
    own: BindingCell = cell.settings
    return ProbeFile.of(
        measurement,
        space=cell.dataset.config.space,
        backbone=cell.backbone,
        layer=own.layer,
        mode=own.mode,
        dtype=own.shared.store_dtype,
        about=known,
    )


def _samples(cell: Cell, inputs: Inputs, split: str, need: str | None = None) -> Samples:
    """A split as the probe sees it, of the need of its name or of another."""
    labels, passage = inputs.columns[f"{split}_labels"], cell.settings.passage
    activations = inputs.columns[need or split]["activations"]
    if passage is not None:
        activations = mapped(passage, activations, cell.backbone, inputs.products.get("map"))
    return Samples(
        activations,
        labels["object_codes"][:],
        labels["conditional_entropy_bits"][:],
        labels["prior_log_odds"][:] if "prior_log_odds" in labels else None,
    )


def _counts(scene: Scene, splits: Mapping[str, Samples], shared: Shared) -> dict[str, object]:
    sizes = {f"n_{name}": len(split.activations) for name, split in splits.items()}
    schedule = shared.fit.schedule(sizes["n_train"])
    policy = getattr(getattr(scene, "split", None), "policy", None)
    return {
        **sizes,
        "batch_size": schedule.batch_size,
        "n_steps": schedule.n_steps,
        "split_policy": policy,
        "n_suggestions": shared.search.suggestions,
        "n_seeds": shared.n_seeds,
        "seed": shared.seed,
        "interval_level": shared.intervals.level,
        "interval_resamples": shared.intervals.resamples,
    }


def row_of(measurement: Measurement) -> dict[str, object]:
    """The columns that a measurement fills."""
    row: dict[str, object] = {}
    tuned: tuple[Target, ...] = ("objects", "features", "direct")
    for target in tuned:
        result = measurement.targets[target]
        row[f"hyperparameters_{target}"] = json.dumps(_hyperparameters(result.probe), sort_keys=True)
        row[f"best_epoch_{target}"] = result.best_epochs
        row[f"train_gap_{target}_bits"] = result.gap_bits
    exact, conditional = measurement.entropies, measurement.conditional_entropy_bits
    row |= {
        "prior_source": measurement.prior,
        "direct_view": measurement.targets["direct"].view,
        "object_entropy_bits": exact and exact.object_bits,
        "feature_entropy_bits": exact and exact.feature_bits,
        "conditional_entropy_bits": None if math.isnan(conditional) else conditional,
        "conditional_entropy_exact_bits": exact and exact.conditional_bits,
        "object_accuracy": measurement.targets["objects"].accuracy,
        "feature_accuracy": measurement.targets["features"].accuracy,
        "seed_spread_bits": measurement.seed_spread_bits,
        "flags": measurement.flags,
    }
    return row | estimate_columns({**dict.fromkeys((*EXTRA_ESTIMATES, *PAIRED_ESTIMATES)), **measurement.estimates})


def _hyperparameters(probe: Probe) -> dict[str, object]:
    return {"family": probe.family, **{item.name: getattr(probe, item.name) for item in fields(probe)}}
