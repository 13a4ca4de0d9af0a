"""The binding read-out: what a sweep measures in each cell when its study says `readout: binding`.

It fulfils the engine's protocol (`sweep.readout.Readout`) without importing the engine.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from io import BytesIO
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from binding._pack_memory import multiplications
from binding._tables import curve_table, sample_table
from binding.activations import ArrayRows
from binding.backbones import CONTROL_MEANINGS, BackboneConfig, TokenLayout
from binding.breakdown import breakdown
from binding.extras import EXTRA_ESTIMATES, Extra
from binding.fit import FitConfig
from binding.forecast import forecast_s
from binding.information import FLAGS, IntervalConfig
from binding.measurement import Measurement, measure_samples
from binding.method import Method, Plan, ProbeChoice, method
from binding.modes import Mode
from binding.probe_file import ProbeFile
from binding.probes import FAMILIES, HeadShape, Probe, Target
from binding.samples import MeasureConfig, Samples, SplitSamples
from binding.scenes import Scene, Split, SplitName
from binding.search import SearchConfig
from binding.stored import Difference, Stored, compare, estimate_columns, recompute


@dataclass(frozen=True)
class Measure:
    """A headline measure; the row also has `column_low` and `column_high`."""

    column: str
    label: str
    symbol: str
    unit: Literal["bits", "ratio"]
    meaning: str


MEASURES = (
    Measure(
        "binding_ratio",
        "Binding ratio",
        "β*",
        "ratio",
        "B* / H(O|F), the paper's measure: of what the features F leave open about the objects O, the share that is "
        "read; 1 is full binding, 0 none",
    ),
    Measure(
        "direct_binding_ratio",
        "Binding ratio, direct",
        "β*_direct",
        "ratio",
        "B*_direct / H(O|F): the same share, by one probe that is given the features; a lower bound, which no poor "
        "probe can inflate",
    ),
    Measure(
        "object_information_ratio",
        "Object information ratio",
        "β_O",
        "ratio",
        "B_O / H(O): the share of what there is to know of the objects, features and binding together, that is read",
    ),
    Measure(
        "binding_information_bits",
        "Binding information",
        "B*",
        "bits",
        "H(O|F) - (CE_O - CE_F), from the test losses of two probes: a poor features probe inflates it, a poor "
        "objects probe deflates it",
    ),
    Measure(
        "direct_binding_information_bits",
        "Binding information, direct",
        "B*_direct",
        "bits",
        "H(O|F) - CE(O|Z,F), a lower bound of I(O;Z|F)",
    ),
    Measure("v_information_bits", "V-information", "V", "bits", "CE(O|F) - CE(O|Z,F) of the same probe family"),
)

_ESTIMATES = {
    "object_loss_bits": "CE_O, test loss of the objects probe",
    "feature_loss_bits": "CE_F, test loss of the features probe",
    "direct_loss_bits": "CE(O|Z,F), test loss of the direct probe",
    "object_information_bits": "B_O = H(O) - CE_O",
    "object_information_ratio": "β_O = B_O / H(O)",
    "feature_information_bits": "B_F = H(F) - CE_F",
    "binding_information_bits": "B* = H(O|F) - (CE_O - CE_F)",
    "binding_ratio": "β* = B* / H(O|F); empty where H(O|F) is 0",
    "direct_binding_information_bits": "B*_direct = H(O|F) - CE(O|Z,F)",
    "direct_binding_ratio": "B*_direct / H(O|F)",
    "v_information_bits": "V = CE(O|F) - CE(O|Z,F), both probes trained",
}
_BEFORE = {
    "split_policy": "which feature codes each split admits",
    "n_train": "training samples",
    "n_validation": "validation samples",
    "n_test": "test samples",
    "hyperparameters_objects": "tuned objects probe, JSON",
    "hyperparameters_features": "tuned features probe, JSON",
    "hyperparameters_direct": "tuned direct probe, JSON",
    "best_epoch_objects": "best epoch of each seed",
    "best_epoch_features": "best epoch of each seed",
    "best_epoch_direct": "best epoch of each seed; 0 is the untrained state, the prior alone",
    "train_gap_objects_bits": "test loss minus training loss of the objects probe at its best epoch",
    "train_gap_features_bits": "the same of the features probe",
    "train_gap_direct_bits": "the same of the direct probe",
    "n_suggestions": "probes tried for each target",
    "n_seeds": "trainings of each tuned probe",
    "seed": "seed of the search, of the first training and of the bootstrap",
    "interval_level": "coverage the intervals aim at",
    "interval_resamples": "bootstrap resamples behind each interval",
    "object_entropy_bits": "H(O), exact, of the test split",
    "feature_entropy_bits": "H(F), exact, of the test split",
    "conditional_entropy_bits": "H(O|F), mean over the test samples; what B* and β* use",
    "conditional_entropy_exact_bits": "H(O|F), exact, of the test split",
    "object_accuracy": "share of object bits guessed right",
    "feature_accuracy": "share of feature bits guessed right",
}
_AFTER = {
    "seed_spread_bits": "standard deviation of B* between seeds",
    "flags": "warnings, see the read-out's flag meanings",
}
COLUMNS: dict[str, str] = {
    **_BEFORE,
    **{name + end: text for name, text in (_ESTIMATES | EXTRA_ESTIMATES).items() for end in ("", "_low", "_high")},
    **_AFTER,
}
"""The read-out's columns of a row, in order, with their meaning; _low and _high bound the interval."""


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

    version = 1
    measures = MEASURES
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
