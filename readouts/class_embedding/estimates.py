"""Means over images with their intervals: images are resampled, never tokens.

A measure has one value an image (NaN where it has none) and one weight. Its estimate is the weighted mean; weights
are 1, or the number of tokens behind the value where every token counts the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from frozen.intervals import IntervalConfig, interval, resample, spread
from frozen.readout.comparing import difference, refuse_other_samples
from frozen.readout.readout import Difference
from readouts.class_embedding.columns import BOUNDS, MEASURES

PerImage = Mapping[str, Float[np.ndarray, " images"]]
"""Values of measures, one an image, NaN where an image has none."""
RIGHT = "right"
"""Column of 1 where the model classifies an image rightly, 0 where not; with it comes the accuracy link."""
_TINY = 1e-300
_Drawn = dict[tuple[str, str], tuple[float, np.ndarray, int]]


def sample_table(values: PerImage, weights: np.ndarray | None = None) -> pa.Table:
    """Per-image results as a read-out keeps them: a column a measure, and the weights where they are not all 1."""
    columns = {name: np.asarray(value, dtype=np.float64) for name, value in values.items()}
    if weights is not None:
        columns["weight"] = np.asarray(weights, dtype=np.float64)
    return pa.table(columns)


def estimates(samples: pa.Table, config: IntervalConfig, seed: int) -> dict[str, float | None]:
    """Every measure with the ends of its interval, None where no image has a value."""
    return estimates_of({"": samples}, config, seed)[""]


def estimates_of(
    tables: Mapping[str, pa.Table], config: IntervalConfig, seed: int
) -> dict[str, dict[str, float | None]]:
    """The same of several tables; images are drawn once for all that have equally many."""
    rows: dict[str, dict[str, float | None]] = {}
    for size in {len(table) for table in tables.values()}:
        alike = {name: table for name, table in tables.items() if len(table) == size}
        drawn = _drawn(alike, config, seed)
        rows |= {name: _row(name, drawn, config, seed) for name in alike}
    return rows


def _row(name: str, drawn: _Drawn, config: IntervalConfig, seed: int) -> dict[str, float | None]:
    row: dict[str, float | None] = {}
    for measure in MEASURES:
        column = measure.column
        made: Sequence[float | None] = (None, None, None)
        if (name, column) in drawn:
            value, means, n_samples = drawn[name, column]
            found = spread(value, means, [], n_samples, seed=seed)
            made = interval(value, found, config.level, BOUNDS[column])
        row |= dict(zip((column, f"{column}_low", f"{column}_high"), made, strict=True))
    return row


def _drawn(tables: Mapping[str, pa.Table], config: IntervalConfig, seed: int) -> _Drawn:
    """Of every measure of every table: its value, its value over resamples, and the number of its images."""
    losses: dict[str, np.ndarray] = {}
    counts: dict[tuple[str, str], int] = {}
    for name, table in tables.items():
        for column, (values, weights) in _means_of(table).items():
            is_there = np.isfinite(values) & (weights > 0)
            if is_there.any():
                losses[f"{name} {column} sum"] = np.where(is_there, values, 0.0)[None] * weights
                losses[f"{name} {column} weight"] = (is_there * weights)[None]
                counts[name, column] = int(is_there.sum())
    if not losses:
        return {}
    both = resample(losses, resamples=config.resamples, seed=seed).both
    found = {}
    for (name, column), n_samples in counts.items():
        total, weight = (f"{name} {column} {what}" for what in ("sum", "weight"))
        value = float(losses[total].sum() / losses[weight].sum())
        means = np.where(both[weight] > 0, both[total] / np.maximum(both[weight], _TINY), value)
        found[name, column] = (value, means, n_samples)
    return _with_links(found)


def _means_of(table: pa.Table) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Values and weights of every mean: of measures, and of agreement apart for images classified rightly or not."""
    weights = table["weight"].to_numpy() if "weight" in table.column_names else np.ones(len(table))
    names = [measure.column for measure in MEASURES if measure.column in table.column_names]
    found = {name: (table[name].to_numpy(), weights) for name in names}
    if RIGHT in table.column_names:
        right, agreement = table[RIGHT].to_numpy(), table["memory_percent"].to_numpy()
        found |= {"of right": (agreement, right), "of wrong": (agreement, 1.0 - right)}
    return found


def _with_links(found: _Drawn) -> _Drawn:
    """The accuracy link is a difference of two means."""
    for name, column in list(found):
        if column == "of right" and (name, "of wrong") in found:
            (one, draws, n_one), (other, others, n_other) = found[name, column], found[name, "of wrong"]
            found[name, "accuracy_link_percent"] = (one - other, draws - others, min(n_one, n_other))
    return found


def config_of(row: Mapping[str, Any]) -> IntervalConfig:
    """The intervals of a row."""
    return IntervalConfig(level=row["interval_level"], resamples=int(row["interval_resamples"]))


def differences(
    cells: Mapping[str, tuple[Mapping[str, Any], pa.Table]],
    pairs: Iterable[tuple[str, str]],
    columns: Iterable[str],
    config: IntervalConfig,
    *,
    seed: int,
) -> list[Difference]:
    """Paired differences of measures between cells of the same images.

    Raises:
        ValueError: cells of other images.
    """
    tables = {name: samples for name, (_, samples) in cells.items()}
    wanted = [measure.column for measure in MEASURES if measure.column in set(columns)]
    known = list(pairs)
    for one, other in known:
        refuse_other_samples({name: (cells[name][0], len(tables[name])) for name in (one, other)})
    drawn: _Drawn = {}
    for size in {len(table) for table in tables.values()}:
        drawn |= _drawn({name: table for name, table in tables.items() if len(table) == size}, config, seed)
    found: list[Difference] = []
    for one, other in known:
        for column in wanted:
            if (one, column) not in drawn or (other, column) not in drawn:
                continue
            (first, draws, n_samples), (second, others, _) = drawn[one, column], drawn[other, column]
            both, of = draws - others, (first, second)
            found.append(difference(one, other, column, of, both, n_samples, level=config.level, seed=seed))
    return found


def permutation_p(value: float, permuted: np.ndarray) -> float:
    """One-sided p-value (k + 1) / (n + 1) of k among n permuted values at least as large; never 0."""
    return float((np.sum(permuted >= value) + 1) / (len(permuted) + 1))
