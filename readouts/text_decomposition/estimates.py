"""Estimates with their intervals: every measure is a formula of means of per-image columns.

Images are resampled, the same ones for all columns; of images that belong together (a scene and its twin have the
same places), whole pairs are.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from frozen.intervals import Estimate, IntervalConfig, interval, resample, spread
from frozen.readout.comparing import difference, refuse_other_samples
from frozen.readout.outcome import PerImage
from frozen.readout.readout import Difference

PAIR = "pair"
"""Column of samples that says which images belong together."""
Means = Mapping[str, Any]
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Estimator:
    """How a measure follows from columns of the samples.

    Attributes:
        columns: whose means it needs.
        formula: of these means, numbers or arrays of them.
        bounds: what the measure can be.
    """

    columns: tuple[str, ...]
    formula: Callable[[Means], Any]
    bounds: tuple[float, float] = (-np.inf, np.inf)


def _ratio(part: str, whole: str) -> Callable[[Means], Any]:
    def formula(means: Means) -> Any:
        below = np.asarray(means[whole])
        return np.where(below == 0, 0.0, np.asarray(means[part]) / np.where(below == 0, 1.0, below))

    return formula


def _mean_iou(means: Means) -> Any:
    """Mean of the intersections over unions of foreground and background, from totals of all images."""
    parts = [_ratio(f"{name}_both", f"{name}_either")(means) for name in ("object", "rest")]
    return 100.0 * (parts[0] + parts[1]) / 2


ESTIMATORS: dict[str, Estimator] = {
    "accuracy_percent": Estimator(("right",), lambda m: 100.0 * m["right"], (0, 100)),
    "change_percent": Estimator(("right", "baseline"), lambda m: 100.0 * (m["right"] - m["baseline"]), (-100, 100)),
    "explained_ratio": Estimator(("explained", "total"), _ratio("explained", "total"), (-np.inf, 1)),
    "factor_ratio": Estimator(("between", "total"), _ratio("between", "total"), (-np.inf, 1)),
    "map_ratio": Estimator(("missed", "map_total"), lambda m: 1 - _ratio("missed", "map_total")(m), (-np.inf, 1)),
    "margin_share_ratio": Estimator(("margin", "whole_margin"), _ratio("margin", "whole_margin")),
    "alone_percent": Estimator(("right_alone",), lambda m: 100.0 * m["right_alone"], (0, 100)),
    "caption_bits": Estimator(("bits",), lambda m: m["bits"], (-np.inf, 1)),
    "mean_margin": Estimator(("margin",), lambda m: m["margin"]),
    "lost_bits": Estimator(("bits_lost",), lambda m: m["bits_lost"]),
    "over_guess_percent": Estimator(("right", "guess"), lambda m: 100.0 * (m["right"] - m["guess"]), (-100, 100)),
    "sum_error_ratio": Estimator(("error",), lambda m: m["error"], (0, np.inf)),
    "pointing_percent": Estimator(("pointed",), lambda m: 100.0 * m["pointed"], (0, 100)),
    "pixel_accuracy_percent": Estimator(
        ("right_pixels", "pixels"), lambda m: 100.0 * m["right_pixels"] / m["pixels"]
    ),
    "iou_percent": Estimator(("object_both", "object_either", "rest_both", "rest_either"), _mean_iou, (0, 100)),
    "precision_percent": Estimator(("precision",), lambda m: 100.0 * m["precision"], (0, 100)),
    "cue_percent": Estimator(("cue_right",), lambda m: 100.0 * m["cue_right"], (0, 100)),
    "retrieved_percent": Estimator(("retrieved",), lambda m: 100.0 * m["retrieved"], (0, 100)),
}
"""By the row's column."""


IN_GROUP, RIGHT_IN = "in_group_", "right_in_group_"
"""Columns of each group: whether an image is in it, and whether it is and was given its own class."""


def estimators(samples: pa.Table) -> dict[str, Estimator]:
    """Measures that some samples have the columns for."""
    known = set(samples.column_names)
    found = {name: one for name, one in ESTIMATORS.items() if known.issuperset(one.columns)}
    groups = sorted(name.removeprefix(IN_GROUP) for name in known if name.startswith(IN_GROUP))
    return found | ({"worst_group_percent": _worst(groups)} if groups else {})


def _worst(groups: Sequence[str]) -> Estimator:
    """The least of the groups' accuracies; a resample without any image of a group leaves it out."""

    def formula(means: Means) -> Any:
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = [np.asarray(means[RIGHT_IN + one]) / np.asarray(means[IN_GROUP + one]) for one in groups]
        return 100.0 * np.nanmin(shares, axis=0)

    return Estimator(tuple(prefix + one for one in groups for prefix in (IN_GROUP, RIGHT_IN)), formula, (0, 100))


def estimate(tables: Mapping[Key, pa.Table], config: IntervalConfig, *, seed: int) -> dict[Key, dict[str, Estimate]]:
    """Every measure of several cells; those with equally many images share the drawing of the resamples.

    Args:
        tables: samples of each cell.
        config: of the intervals.
        seed: of the resampling.
    """
    units = {key: _units(table) for key, table in tables.items()}
    found: dict[Key, dict[str, Estimate]] = {}
    sizes = {key: len(next(iter(columns.values()))) for key, columns in units.items()}
    for size in sorted(set(sizes.values())):
        keys = [key for key in tables if sizes[key] == size]
        flat = {f"{number} {name}": units[key][name][None] for number, key in enumerate(keys) for name in units[key]}
        drawn = resample(flat, resamples=config.resamples, seed=seed)
        for number, key in enumerate(keys):
            found[key] = {}
            for name, one in estimators(tables[key]).items():
                value = float(one.formula({column: units[key][column].mean() for column in one.columns}))
                both = one.formula({column: drawn.both[f"{number} {column}"] for column in one.columns})
                spreading = spread(value, both, [], size, seed=seed)
                found[key][name] = interval(value, spreading, config.level, one.bounds)
    return {key: found[key] for key in tables}


def group_estimates(samples: pa.Table, config: IntervalConfig, *, seed: int) -> dict[int, Estimate]:
    """Accuracy in each group, by its number, in percent; groups without images are left out.

    Args:
        samples: with the columns of groups.
        config: of the intervals.
        seed: of the resampling; the same resamples as those of `estimate`.
    """
    units = _units(samples)
    drawn = resample({name: values[None] for name, values in units.items()}, resamples=config.resamples, seed=seed)
    found: dict[int, Estimate] = {}
    for name in [name for name in units if name.startswith(IN_GROUP) and units[name].any()]:
        right = RIGHT_IN + name.removeprefix(IN_GROUP)
        value = 100.0 * float(units[right].mean() / units[name].mean())
        with np.errstate(invalid="ignore", divide="ignore"):
            both = 100.0 * drawn.both[right] / drawn.both[name]
        both = np.where(np.isfinite(both), both, value)  # a resample without any image of the group
        spreading = spread(value, both, [], int(np.count_nonzero(units[name])), seed=seed)
        found[int(name.removeprefix(IN_GROUP))] = interval(value, spreading, config.level, (0, 100))
    return found


def caption_bits(samples: pa.Table) -> PerImage | None:
    """Caption bits of every image of a forced choice; None of other analyses."""
    if "bits" not in samples.column_names:
        return None
    unit = samples[PAIR].to_numpy().astype(np.int64) if PAIR in samples.column_names else None
    return PerImage(samples["bits"].to_numpy().astype(np.float64)[None], unit)


def estimate_columns(estimates: Mapping[str, Estimate]) -> dict[str, float]:
    """Columns of a row: each measure with the ends of its interval."""
    return {
        f"{name}{end}": value
        for name, one in estimates.items()
        for end, value in zip(("", "_low", "_high"), one, strict=True)
    }


def differences(
    cells: Mapping[str, tuple[Mapping[str, Any], pa.Table]],
    pairs: Iterable[tuple[str, str]],
    columns: Iterable[str],
    config: IntervalConfig,
    *,
    seed: int,
) -> list[Difference]:
    """Paired differences of measures between cells.

    Raises:
        IncomparableError: cells of other images.
    """
    tables = {name: samples for name, (_, samples) in cells.items()}
    units = {name: _units(table) for name, table in tables.items()}
    refuse_other_samples({name: (row, _n_units(units[name])) for name, (row, _) in cells.items()})
    flat = {f"{name} {column}": values[None] for name, one in units.items() for column, values in one.items()}
    drawn = resample(flat, resamples=config.resamples, seed=seed)
    known = {name: estimators(table) for name, table in tables.items()}
    wanted = tuple(columns)
    made = []
    for one, other in pairs:
        for column in [name for name in wanted if name in known[one] and name in known[other]]:
            if known[one][column].columns != known[other][column].columns:
                raise ValueError(f"{one} and {other} have other groups")
            formula, needed = known[one][column].formula, known[one][column].columns
            first, second = (float(formula({c: units[name][c].mean() for c in needed})) for name in (one, other))
            drawn_of = [formula({c: drawn.both[f"{name} {c}"] for c in needed}) for name in (one, other)]
            both, n_units = drawn_of[0] - drawn_of[1], drawn.n_samples
            made.append(difference(one, other, column, (first, second), both, n_units, level=config.level, seed=seed))
    return made


def _n_units(columns: Mapping[str, np.ndarray]) -> int:
    return len(next(iter(columns.values())))


def _units(samples: pa.Table) -> dict[str, np.ndarray]:
    """Columns as float64, one value for each image, or for each pair."""
    arrays = {name: samples.column(name).to_numpy().astype(np.float64) for name in samples.column_names}
    pair = arrays.pop(PAIR, None)
    if pair is None:
        return arrays
    _, which = np.unique(pair, return_inverse=True)
    counts = np.bincount(which)
    return {name: np.bincount(which, weights=values) / counts for name, values in arrays.items()}


def table(pair: np.ndarray | None = None, **columns: np.ndarray | Sequence[float]) -> pa.Table:
    """Samples; numbers that are not counts as float32."""
    own = {} if pair is None else {PAIR: pa.array(pair.astype(np.int32))}
    return pa.table(own | {name: pa.array(np.asarray(values, np.float32)) for name, values in columns.items()})
