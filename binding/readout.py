"""The binding read-out: what a sweep measures in each cell when its study says `readout: binding`.

It fulfils the engine's protocol (`frozen.readout.readout.Readout`) without importing the engine.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from binding._pack_memory import multiplications
from binding._tables import curve_table, sample_table
from binding.breakdown import breakdown
from binding.columns import COLUMNS, EXTRA_MEASURES, MEASURES
from binding.extras import EXTRA_ESTIMATES, Extra
from binding.fit import FitConfig
from binding.forecast import forecast_s
from binding.information import FLAGS, IntervalConfig
from binding.measurement import Measurement, measure_samples
from binding.method import Method, Plan, ProbeChoice, method
from binding.probe_file import ProbeFile
from binding.probes import FAMILIES, HeadShape, Probe, Target
from binding.samples import MeasureConfig, Samples, SplitSamples
from binding.search import SearchConfig
from binding.stored import Difference, Stored, compare, estimate_columns, recompute
from frozen.capture.views import Mode
from frozen.data.scenes import Scene, Split, SplitName
from frozen.models import CONTROL_MEANINGS, BackboneConfig, TokenLayout
from frozen.rows import ArrayRows


@runtime_checkable
class Task(Protocol):
    """What the read-out needs to know of a cell."""

    @property
    def dataset(self) -> Any: ...
    @property
    def backbone(self) -> BackboneConfig: ...
    @property
    def layer(self) -> str: ...
    @property
    def mode(self) -> Mode: ...
    @property
    def probe(self) -> ProbeChoice: ...
    @property
    def settings(self) -> TaskSettings: ...


@runtime_checkable
class TaskSettings(Protocol):
    """How a cell is measured."""

    @property
    def fit(self) -> FitConfig: ...
    @property
    def search(self) -> SearchConfig: ...
    @property
    def intervals(self) -> IntervalConfig: ...
    @property
    def seed(self) -> int: ...
    @property
    def n_seeds(self) -> int: ...
    @property
    def extras(self) -> tuple[Extra, ...]: ...
    @property
    def store_dtype(self) -> str: ...


@runtime_checkable
class SplitArrays(Protocol):
    """One split's stored arrays."""

    @property
    def activations(self) -> ArrayRows: ...
    @property
    def labels(self) -> Mapping[str, np.ndarray]: ...


class Outcome(NamedTuple):
    """A cell's row, its losses of every test sample, its learning curves, and what else is kept of it."""

    row: dict[str, object]
    samples: pa.Table
    curves: pa.Table
    details: pa.Table
    """Information per conjunction and per number of objects (`binding.breakdown`)."""
    probes: ProbeFile

    def files(self, known: Mapping[str, object], most_probe_bytes: int) -> dict[str, bytes]:
        """details.parquet and, where they are small enough, the tuned probes as probes.safetensors."""
        table = BytesIO()
        pq.write_table(self.details, table)
        probes = replace(self.probes, about=known).to_bytes(most_probe_bytes)
        return {"details.parquet": table.getvalue()} | ({} if probes is None else {"probes.safetensors": probes})


class BindingReadout:
    """Measures binding information."""

    version = 2
    measures = MEASURES
    extra_measures = EXTRA_MEASURES
    flag_meanings = FLAGS
    control_meanings = CONTROL_MEANINGS
    columns = COLUMNS

    def refuses(self, probe: ProbeChoice, mode: str, scene: Scene) -> str | None:
        """Why a probe cannot read a mode of a data set, or None."""
        n_groups = len(scene.space.groups)
        refused = FAMILIES[probe.space.family].refuses(mode, "objects", n_groups)
        if refused or probe.feature_probe is None:
            return refused
        return FAMILIES[probe.feature_probe.family].refuses(mode, "features", n_groups)

    def labels(self, split: Split) -> dict[str, np.ndarray]:
        """Object codes, H(O | F = f_i) and, where the prior is known, its log-odds."""
        labels = {
            "object_codes": split.object_codes,
            "conditional_entropy_bits": split.conditional_entropy_bits(),
        }
        odds = split.prior_log_odds()
        return labels if odds is None else labels | {"prior_log_odds": odds}

    def cost(self, cell: Task, sample_shape: tuple[int, ...], n_train: int) -> float:
        """About how many multiplications the cell's training takes: good enough to begin with the longest cells.

        A setting that is tuned counts with the family's default, the three targets count alike.
        """
        probe, space, settings = cell.probe.space.probe({}), cell.dataset.config.space, cell.settings
        has_tokens = len(sample_shape) > 1
        shape = HeadShape(sample_shape[-1], space.n_objects, group_sizes=space.sizes)
        each = multiplications(probe, shape, sample_shape[0] if has_tokens else 1)
        trainings = (settings.search.suggestions if cell.probe.space.ranges else 1) + settings.n_seeds - 1
        return each * trainings * settings.fit.epochs * n_train

    def forecast_s(
        self,
        cell: Task,
        sample_shape: tuple[int, ...],
        sizes: Mapping[SplitName, int],
        layout: TokenLayout,
        device: torch.device,
    ) -> float:
        """Seconds that a cell will take on this device, after timing two batches of each training."""
        return forecast_s(
            sizes,
            sample_shape,
            cell.dataset.config.space,
            cell.probe.space,
            _config(cell.settings),
            feature_probe=cell.probe.feature_probe,
            has_cls=layout.has_cls,
            device=device,
        )

    def measure(
        self,
        cell: Task,
        data: Mapping[SplitName, SplitArrays],
        layout: TokenLayout,
        device: torch.device,
    ) -> Outcome:
        """Measure one cell."""
        scene: Scene = cell.dataset.config
        settings = cell.settings
        splits = [_samples(data[name]) for name in ("train", "validation", "test")]
        entropies = scene.open("test").entropies
        measurement = measure_samples(
            SplitSamples(scene.space, *splits, entropies=entropies, has_cls=layout.has_cls),
            cell.probe.space,
            _config(settings),
            feature_probe=cell.probe.feature_probe,
            device=device,
        )
        row = _counts(scene, data, settings) | _row(measurement)
        return Outcome(
            {name: row[name] for name in COLUMNS},
            sample_table(measurement),
            curve_table(measurement),
            breakdown(measurement.targets, splits[2], scene.space, settings.intervals, seed=settings.seed),
            _probe_file(measurement, cell, scene),
        )

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
        self, results: Path, rows: Sequence[Mapping[str, Any]], scenes: Mapping[str, Scene]
    ) -> Iterable[Any]:
        """Drawings for the report, see `binding.exhibits`."""
        from binding.exhibits import exhibits  # brings matplotlib, which measuring does without

        return exhibits(results, rows, scenes)

    def method(self, plan: Plan, rows: Sequence[Mapping[str, Any]]) -> Method:
        """What a paper says of the measurement, and cites."""
        return method(plan, rows)


def _config(settings: TaskSettings) -> MeasureConfig:
    return MeasureConfig(
        fit=settings.fit,
        search=settings.search,
        intervals=settings.intervals,
        seed=settings.seed,
        n_seeds=settings.n_seeds,
        extras=settings.extras,
    )


def _probe_file(measurement: Measurement, cell: Task, scene: Scene) -> ProbeFile:
    return ProbeFile.of(
        measurement,
        space=scene.space,
        backbone=cell.backbone,
        layer=cell.layer,
        mode=cell.mode,
        dtype=cell.settings.store_dtype,
        about={},
    )


def _samples(split: SplitArrays) -> Samples:
    labels = split.labels
    return Samples(
        split.activations,
        labels["object_codes"],
        labels["conditional_entropy_bits"],
        labels.get("prior_log_odds"),
    )


def _counts(scene: Scene, data: Mapping[SplitName, SplitArrays], settings: TaskSettings) -> dict[str, object]:
    sizes = {f"n_{name}": len(split.activations) for name, split in data.items()}
    policy = getattr(getattr(scene, "split", None), "policy", None)
    return {
        **sizes,
        "split_policy": policy,
        "n_suggestions": settings.search.suggestions,
        "n_seeds": settings.n_seeds,
        "seed": settings.seed,
        "interval_level": settings.intervals.level,
        "interval_resamples": settings.intervals.resamples,
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
        "object_entropy_bits": exact and exact.object_bits,
        "feature_entropy_bits": exact and exact.feature_bits,
        "conditional_entropy_bits": None if math.isnan(conditional) else conditional,
        "conditional_entropy_exact_bits": exact and exact.conditional_bits,
        "object_accuracy": measurement.targets["objects"].accuracy,
        "feature_accuracy": measurement.targets["features"].accuracy,
        "seed_spread_bits": measurement.seed_spread_bits,
        "flags": measurement.flags,
    }
    return row | estimate_columns({**dict.fromkeys(EXTRA_ESTIMATES), **measurement.estimates})


def _hyperparameters(probe: Probe) -> dict[str, object]:
    return {"family": probe.family, **{item.name: getattr(probe, item.name) for item in fields(probe)}}
