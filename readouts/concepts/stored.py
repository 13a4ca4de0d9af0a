"""What follows from a cell's row and its samples, without measuring again: aggregates and comparisons."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from frozen.intervals import IntervalConfig, interval, resample, spread
from frozen.readout.comparing import difference, refuse_other_samples
from frozen.readout.readout import Difference
from readouts.concepts.bound import COVERED, mass_shares, resampled_aucs

Means = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class DerivedMeasure:
    """A measure as a function of means over images, or over atoms.

    Attributes:
        column: of the row.
        of: from means of the samples' columns, each [resamples], to values [resamples].
        bounds: what it can be.
    """

    column: str
    of: Callable[[Means], np.ndarray]
    bounds: tuple[float, float] = (-math.inf, math.inf)


def _ratio(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.divide(one, other, out=np.full(np.shape(one), np.nan), where=np.asarray(other) > 0)


def _worst(means: Means) -> np.ndarray:
    groups = [name.removeprefix("in_") for name in means if name.startswith("in_")]
    each = np.stack([_ratio(means[f"right_{group}"], means[f"in_{group}"]) for group in groups])
    return 100 * np.nanmin(np.where(np.isnan(each), np.inf, each), axis=0)


_PERCENT = (0.0, 100.0)
_POINTS = (-100.0, 100.0)
QUANTITIES: dict[str, tuple[DerivedMeasure, ...]] = {
    "dictionary": (
        DerivedMeasure(
            "explained_variance", lambda means: 1 - _ratio(means["error"], means["power"]), (-math.inf, 1.0)
        ),
        DerivedMeasure("reconstruction_cosine", lambda means: means["cosine"], (-1.0, 1.0)),
        DerivedMeasure("l0", lambda means: means["l0"], (0.0, math.inf)),
        DerivedMeasure("zero_shot_percent", lambda means: 100 * means["zero_shot"], _PERCENT),
        DerivedMeasure(
            "zero_shot_lost", lambda means: 100 * (means["zero_shot"] - means["zero_shot_modelled"]), _POINTS
        ),
    ),
    "fidelity": (
        DerivedMeasure("zero_shot_percent", lambda means: 100 * means["zero_shot"], _PERCENT),
        DerivedMeasure(
            "zero_shot_lost", lambda means: 100 * (means["zero_shot"] - means["zero_shot_modelled"]), _POINTS
        ),
        DerivedMeasure("accuracy_percent", lambda means: 100 * means["probe"], _PERCENT),
        DerivedMeasure("probe_lost", lambda means: 100 * (means["probe"] - means["probe_modelled"]), _POINTS),
    ),
    "codes": (DerivedMeasure("l0", lambda means: means["l0"], (0.0, math.inf)),),
    "names": (
        DerivedMeasure("named_percent", lambda means: 100 * _ratio(means["named"], means["alive"]), _PERCENT),
        DerivedMeasure("name_z", lambda means: _ratio(means["z"], means["alive"])),
        DerivedMeasure("name_margin", lambda means: _ratio(means["margin"], means["alive"]), (0.0, 2.0)),
        DerivedMeasure("name_score", lambda means: _ratio(means["score"], means["alive"]), (-1.0, 1.0)),
        DerivedMeasure("name_accuracy_percent", lambda means: 100 * _ratio(means["right"], means["known"]), _PERCENT),
    ),
    "classifier": (
        DerivedMeasure("accuracy_percent", lambda means: 100 * means["accuracy"], _PERCENT),
        DerivedMeasure("concepts_per_decision", lambda means: means["concepts"], (0.0, math.inf)),
        DerivedMeasure("accuracy_at_5", lambda means: 100 * means["at_5"], _PERCENT),
        DerivedMeasure("concepts_absolute", lambda means: means["concepts_absolute"], (0.0, math.inf)),
        DerivedMeasure("concepts_published", lambda means: means["concepts_published"], (0.0, math.inf)),
        DerivedMeasure("worst_group_percent", _worst, _PERCENT),
    ),
    "intervention": (
        DerivedMeasure("accuracy_percent", lambda means: 100 * means["accuracy"], _PERCENT),
        DerivedMeasure("accuracy_change", lambda means: 100 * (means["accuracy"] - means["before"]), _POINTS),
        DerivedMeasure("random_change", lambda means: 100 * (means["random"] - means["before"]), _POINTS),
        DerivedMeasure("change_beyond_random", lambda means: 100 * (means["accuracy"] - means["random"]), _POINTS),
        DerivedMeasure("worst_group_percent", _worst, _PERCENT),
    ),
    "monosemanticity": (
        DerivedMeasure("monosemanticity", lambda means: _ratio(means["alike"], means["known"]), (-1.0, 1.0)),
    ),
    "stability": (DerivedMeasure("mmcs", lambda means: means["nearest"], (-1.0, 1.0)),),
}
"""What each stage measures as means; `binding` measures areas under curves, see `bound`."""


def recompute(row: Mapping[str, Any], samples: pa.Table) -> dict[str, object]:
    """Every column of a row that follows from its samples; equal to the row's, to the last bit.

    Raises:
        ValueError: a table that lacks a column.
    """
    config = IntervalConfig(level=row["interval_level"], resamples=row["interval_resamples"])
    drawn = _Drawn.of(row["stage"], {"": samples}, config, row["seed"])
    columns: dict[str, object] = {}
    for name, (value, bounds) in drawn.values[""].items():
        if math.isnan(value):
            columns |= dict.fromkeys((name, f"{name}_low", f"{name}_high"))
            continue
        found = spread(value, _finite(drawn.resampled[""][name], value), [], drawn.n_samples, seed=row["seed"])
        estimate = interval(value, found, config.level, bounds)
        columns |= dict(zip((name, f"{name}_low", f"{name}_high"), estimate, strict=True))
    return columns


def compare(
    cells: Mapping[str, tuple[Mapping[str, Any], pa.Table]],
    pairs: Iterable[tuple[str, str]],
    columns: Iterable[str],
    config: IntervalConfig,
    *,
    seed: int,
) -> list[Difference]:
    """Paired differences between cells of one stage on the same images, or the same atoms.

    Raises:
        ValueError: cells of different stages or samples.
    """
    first_name, (first, _) = next(iter(cells.items()))
    for name, (row, _) in cells.items():
        if row["stage"] != first["stage"]:
            raise ValueError(f"{first_name} is a cell of the stage {first['stage']}, {name} of {row['stage']}")
    refuse_other_samples({name: (row, len(samples)) for name, (row, samples) in cells.items()})
    drawn = _Drawn.of(first["stage"], {name: samples for name, (_, samples) in cells.items()}, config, seed)
    wanted, found = list(columns), []
    for one, other in pairs:
        for column in wanted:
            both = drawn.values[one].get(column), drawn.values[other].get(column)
            if both[0] is None or both[1] is None or math.isnan(both[0][0] - both[1][0]):
                continue
            values = both[0][0], both[1][0]
            resampled = _finite(drawn.resampled[one][column] - drawn.resampled[other][column], values[0] - values[1])
            n_samples = drawn.n_samples
            found.append(difference(one, other, column, values, resampled, n_samples, level=config.level, seed=seed))
    return found


def _finite(resampled: np.ndarray, value: float) -> np.ndarray:
    """Resamples in which a quantity is not defined say nothing of it."""
    return np.where(np.isfinite(resampled), resampled, value)


@dataclass(frozen=True)
class _Drawn:
    """Quantities of several cells, and over one set of resamples for all of them."""

    values: dict[str, dict[str, tuple[float, tuple[float, float]]]]
    resampled: dict[str, dict[str, np.ndarray]]
    n_samples: int

    @classmethod
    def of(cls, stage: str, tables: Mapping[str, pa.Table], config: IntervalConfig, seed: int) -> _Drawn:
        n_samples = len(next(iter(tables.values())))
        if stage == "binding":
            return cls._of_binding(tables, config, seed, n_samples)
        values: dict[str, dict[str, tuple[float, tuple[float, float]]]] = {}
        resampled: dict[str, dict[str, np.ndarray]] = {}
        losses = {
            f"{name} {column}": table.column(column).to_numpy().astype(np.float64)[None]
            for name, table in tables.items()
            for column in table.column_names
        }
        drawn = resample(losses, resamples=config.resamples, seed=seed)
        for name, table in tables.items():
            point = {column: losses[f"{name} {column}"].mean(axis=1) for column in table.column_names}
            means = {column: drawn.both[f"{name} {column}"] for column in table.column_names}
            quantities = [one for one in QUANTITIES[stage] if _has(one, point)]
            values[name] = {one.column: (float(one.of(point)[0]), one.bounds) for one in quantities}
            resampled[name] = {one.column: one.of(means) for one in quantities}
        return cls(values, resampled, n_samples)

    @classmethod
    def _of_binding(cls, tables: Mapping[str, pa.Table], config: IntervalConfig, seed: int, n_samples: int) -> _Drawn:
        values: dict[str, dict[str, tuple[float, tuple[float, float]]]] = {}
        resampled: dict[str, dict[str, np.ndarray]] = {}
        for name, table in tables.items():
            found = resampled_aucs(table, config.resamples, seed)
            n_kinds = len(found.auc)
            mean = float(found.auc.mean()) if n_kinds else math.nan
            values[name] = {
                "bound_auc": (mean, (0.0, 1.0)),
                "kinds_covered": (float((found.auc > COVERED).sum()) if n_kinds else math.nan, (0.0, n_kinds)),
            }
            resampled[name] = {
                "bound_auc": np.nanmean(found.resampled, 0) if n_kinds else np.zeros(config.resamples),
                "kinds_covered": (found.resampled > COVERED).sum(0).astype(np.float64),
            }
            for kind, (share, shares) in mass_shares(table, config.resamples, seed).items():
                values[name][f"{kind}_mass_percent"] = (100 * share, _PERCENT)
                resampled[name][f"{kind}_mass_percent"] = 100 * shares
        return cls(values, resampled, n_samples)


def _has(quantity: DerivedMeasure, point: Means) -> bool:
    """Whether a table has what a quantity is computed from; those of zero-shot accuracy are not always there."""
    try:
        quantity.of(point)
    except (KeyError, ValueError):
        return False
    return True
