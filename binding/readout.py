"""The binding read-out: what a sweep measures in each cell when its study says `readout: binding`.

It fulfils the contract `frozen.readout.readout.Readout`, and knows nothing of the engine.
"""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import lru_cache
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from binding._pack_memory import multiplications
from binding._tables import curve_table, sample_table, suggestion_table
from binding._together import Trainings, together
from binding.breakdown import breakdown, seen_in_training
from binding.cells import DIMENSIONS, GRID_COLUMN_KINDS, GRID_COLUMNS, VERSION, BindingCell, Shared, cells
from binding.columns import CHOICES, COLUMN_KINDS, COLUMNS, EXTRA_MEASURES, FILES, MEASURES
from binding.controls import CONTROL_ALIASES, CONTROL_MEANINGS, EXPECTATIONS
from binding.extras import EXTRA_ESTIMATES
from binding.fit import FitConfig
from binding.forecast import forecast_s
from binding.information import FLAGS, MILD_FLAGS
from binding.keys import BindingKeys, BindingStudy, read_keys
from binding.measurement import Measurement, measuring
from binding.method import method
from binding.parts import probes
from binding.predictions import predictions
from binding.probe_file import ProbeFile
from binding.probes import FAMILIES, HeadShape, Probe, Target
from binding.samples import MeasureConfig, Samples, SplitSamples
from binding.stored import Stored, compare, estimate_columns, recompute
from binding.through import (
    CLASS_LOGITS,
    JOINT,
    KEPT_ESTIMATES,
    LOSSES,
    WHOLE,
    kept_estimates,
    losses_from_bytes,
    losses_to_bytes,
    mapped,
    without_rare,
)
from binding.warnings import few_steps, little_to_bind, shared_scenes, training_lengths
from frozen.capture.sites import Site
from frozen.data.scenes import SPLITS, Entropies, Scene, Split, prior_source
from frozen.data.scenes.priors import PriorSource
from frozen.intervals import IntervalConfig, Losses
from frozen.readout.cells import Cell, LeftOut, Mistake
from frozen.readout.defaults import ReadoutDefaults
from frozen.readout.exhibit import ShownSample
from frozen.readout.measures import DepthColumn, DepthCurve, Headline
from frozen.readout.needs import Inputs
from frozen.readout.outcome import Outcome
from frozen.readout.readout import Difference, Method, StudyReader
from frozen.readout.study import Study


def _curve(name: str, through: str) -> DepthCurve:
    where = (("through", through),)
    return DepthCurve(name=name, column="direct_binding_ratio", none=0.0, full=1.0, where=where)


class BindingReadout(ReadoutDefaults):
    """Measures binding information."""

    version = VERSION
    keys = BindingKeys
    dimensions = DIMENSIONS
    measures = MEASURES
    depth_curves = (
        _curve("binding", ""),
        _curve("binding in class logits", CLASS_LOGITS),
        _curve("binding in dictionaries", "dictionary"),
    )
    depth_columns = (
        DepthColumn(name="B*_direct", column="direct_binding_information_bits", where=(("through", ""),)),
        DepthColumn(name="kept by class logits", column="kept_share", where=(("through", CLASS_LOGITS),)),
        DepthColumn(name="kept by the joint space", column="kept_share", where=(("through", JOINT),)),
        DepthColumn(name="kept by a dictionary", column="kept_share", where=(("through", "dictionary"),)),
    )
    reads_maps = True
    headline = Headline(column="cautious_binding_ratio", beside="binding_ratio")
    extra_measures = EXTRA_MEASURES
    columns = COLUMNS
    grid_columns = GRID_COLUMNS
    products: ClassVar[Mapping[str, str]] = {LOSSES: "direct test losses in bits, a column a seed; parquet"}
    choices = CHOICES
    files = FILES
    flag_meanings = FLAGS
    mild_flags = MILD_FLAGS
    control_meanings = CONTROL_MEANINGS
    expectations = EXPECTATIONS
    control_aliases = CONTROL_ALIASES
    column_kinds: ClassVar[Mapping[str, str]] = {**GRID_COLUMN_KINDS, **COLUMN_KINDS}
    parts: ClassVar[Mapping[str, Any]] = {"probes": probes}

    def read(self, reader: StudyReader) -> BindingStudy | None:
        """The read-out's keys of a study."""
        return read_keys(reader)

    def cells(self, study: Study) -> Iterator[Cell | LeftOut | Mistake]:
        """Data sets, backbones, layers, modes and probe families."""
        return cells(study)

    def resolved(self, cells: Sequence[Cell]) -> Iterator[str]:
        """Steps a training on each data set."""
        return training_lengths(cells)

    def warnings(self, cells: Sequence[Cell]) -> Iterator[str]:
        """Data sets with next to nothing to bind, trainings with few steps, data sets that share scenes."""
        return chain(little_to_bind(cells), few_steps(cells), shared_scenes(cells))

    def labels(self, split: Split) -> dict[str, np.ndarray]:
        """Object codes, H(O | F = f_i) and, where the prior is known, its log-odds."""
        labels = {
            "object_codes": split.object_codes,
            "conditional_entropy_bits": split.conditional_entropy_bits(),
        }
        odds = split.prior_log_odds()
        return labels if odds is None else labels | {"prior_log_odds": odds}

    def cost(self, cell: Cell, sizes: Mapping[str, int]) -> float:
        """About how many multiplications the cell's training takes: good enough to begin with the longest cells.

        A setting that is tuned counts with the family's default, the three targets count alike.
        """
        own: BindingCell = cell.settings
        probe, space, shared = own.probe.space.probe({}), cell.dataset.config.space, own.shared
        sample_shape = own.sample_shape(cell.description)
        head = HeadShape(sample_shape[-1], space.n_objects, group_sizes=space.sizes)
        each = multiplications(probe, head, sample_shape[0] if len(sample_shape) > 1 else 1)
        trainings = (shared.search.suggestions if own.probe.space.ranges else 1) + shared.n_seeds - 1
        return each * trainings * shared.fit.schedule(sizes["train"]).epochs * sizes["train"]

    def forecast_key(self, cell: Cell) -> Hashable:
        """Shape of the activations, codes, probe and settings."""
        own: BindingCell = cell.settings
        return (
            own.sample_shape(cell.description),
            cell.dataset.config.space,
            own.probe,
            own.shared,
        )

    def forecast_s(self, cell: Cell, sizes: Mapping[str, int], device: torch.device) -> float:
        """Seconds that a cell will take on this device, after timing two batches of each training."""
        own: BindingCell = cell.settings
        return forecast_s(
            {name: sizes[name] for name in SPLITS},
            own.sample_shape(cell.description),
            cell.dataset.config.space,
            own.probe.space,
            _config(own.shared),
            feature_probe=own.probe.feature_probe,
            has_cls=cell.description.layout.has_cls,
            device=device,
        )

    def is_upper_bound(self, cell: Cell) -> bool:
        """Whether patience or a pruner may end trainings before their last epoch."""
        shared: Shared = cell.settings.shared
        return shared.fit.patience is not None or shared.search.pruner != "none"

    def bundle(self, cell: Cell) -> Hashable:
        """Heads of one block share a trial, and train together; every other cell is a trial of its own."""
        own: BindingCell = cell.settings
        site = Site.parse(own.layer)
        if site.head is None or own.passage is not None or cell.gives or not FAMILIES[own.probe.family].reads_several:
            return None
        return (cell.dataset, cell.backbone, cell.control, site.layer, site.part, own.mode, own.probe)

    def in_half_precision(self, cell: Cell) -> Cell:
        """With the products of its training steps in bfloat16."""
        settings: BindingCell = cell.settings
        fit = replace(settings.shared.fit, products="bfloat16")
        return replace(cell, settings=replace(settings, shared=replace(settings.shared, fit=fit)))

    def measure(self, cells: Mapping[Cell, Inputs], device: torch.device) -> Iterator[tuple[Cell, Outcome]]:
        """Measure the cells; those of a bundle train together."""
        found = together({cell: _measured(cell, inputs, device) for cell, inputs in cells.items()})
        yield from ((cell, one) for cell, one in found.items() if isinstance(one, Outcome))
        for one in found.values():
            if isinstance(one, Exception):
                raise one

    def recompute(self, row: Mapping[str, Any], samples: pa.Table) -> dict[str, object]:
        """The columns that follow from stored losses."""
        return recompute(Stored(row, samples))

    def compare(
        self,
        cells: Mapping[str, tuple[Mapping[str, Any], pa.Table]],
        pairs: Iterable[tuple[str, str]],
        columns: Iterable[str],
        config: IntervalConfig,
        *,
        seed: int,
    ) -> list[Difference]:
        """Paired differences of measures between cells on the same test samples."""
        return compare({name: Stored(*cell) for name, cell in cells.items()}, pairs, columns, config, seed=seed)

    def exhibits(
        self, results: Path, rows: Sequence[Mapping[str, Any]], datasets: Mapping[str, Scene]
    ) -> Iterable[Any]:
        """Drawings for the report, see `binding.exhibits`."""
        from binding.exhibits import exhibits  # brings matplotlib, which measuring does without

        return exhibits(results, rows, datasets)

    def shown_samples(
        self, results: Path, row: Mapping[str, Any], datasets: Mapping[str, Scene]
    ) -> Iterable[ShownSample]:
        """Test images by the loss of the direct probe, with true and read objects."""
        from binding.exhibits import shown_samples

        return shown_samples(results, row, datasets)

    def method(self, study: Study, rows: Sequence[Mapping[str, Any]]) -> Method:
        """What a paper says of the measurement, and cites."""
        return method(study, rows)


def _measured(cell: Cell, inputs: Inputs, device: torch.device) -> Trainings[Outcome]:
    own: BindingCell = cell.settings
    scene, shared = cell.dataset.config, own.shared
    splits = {name: _samples(cell, inputs, name) for name in SPLITS}
    if own.passage is not None and own.passage.is_map:
        codes = without_rare({name: np.asarray(one.activations) for name, one in splits.items()})
        splits = {name: one._replace(activations=codes[name]) for name, one in splits.items()}
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
        _config(shared),
        feature_probe=own.probe.feature_probe,
        device=device,
    )
    if LOSSES in inputs.products:
        measurement = _beside(measurement, losses_from_bytes(inputs.products[LOSSES]), shared)
    seen = seen_in_training(splits["train"].object_codes, splits["test"].object_codes)
    details = breakdown(measurement.targets, splits["test"], seen, scene.space, shared.intervals, seed=shared.seed)
    row = {
        "through": own.passage and own.passage.through,
        **_shape(splits["test"]),
        **_counts(scene, splits, shared),
        "seen_share": float(seen.mean()),
        **_row(measurement),
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


def _beside(measurement: Measurement, whole: Losses, shared: Shared) -> Measurement:
    """A measurement through a map, with what the same probes lost on the activations before it."""
    entropy = measurement.sample_entropies_bits[None]
    values = {"direct": measurement.losses.direct, "entropy": entropy, WHOLE: whole}
    return replace(
        measurement,
        estimates=measurement.estimates | kept_estimates(values, shared.intervals, seed=shared.seed),
        extra_bits=measurement.extra_bits | {WHOLE: whole},
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


def _config(shared: Shared) -> MeasureConfig:
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


def _samples(cell: Cell, inputs: Inputs, split: str) -> Samples:
    labels, passage = inputs.columns[f"{split}_labels"], cell.settings.passage
    activations = inputs.columns[split]["activations"]
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


def _row(measurement: Measurement) -> dict[str, object]:
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
    return row | estimate_columns({**dict.fromkeys((*EXTRA_ESTIMATES, *KEPT_ESTIMATES)), **measurement.estimates})


def _hyperparameters(probe: Probe) -> dict[str, object]:
    return {"family": probe.family, **{item.name: getattr(probe, item.name) for item in fields(probe)}}
