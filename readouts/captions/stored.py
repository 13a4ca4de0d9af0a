"""What follows from a cell's stored captions without decoding again: aggregates, intervals and comparisons.

Images are resampled, a scene together with its twin. Each measure is a sum over images divided by another, and both
are drawn anew. Differences of two cells are of the same draw.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from jaxtyping import Float64, Int64

from frozen.intervals import Estimate, IntervalConfig, interval, resample, spread
from frozen.readout.comparing import difference, refuse_other_samples
from frozen.readout.outcome import PerImage
from frozen.readout.readout import Difference
from readouts.captions.categories.names import CATEGORIES
from readouts.captions.columns import RATIOS, SHARES, TEMPLATE_PERCENT, Ratio

Row = Mapping[str, Any]


class Sums(NamedTuple):
    """Of one ratio: what is summed over each unit of resampling.

    Attributes:
        over: numerators.
        under: denominators.
    """

    over: Float64[np.ndarray, " units"]
    under: Float64[np.ndarray, " units"]

    @property
    def value(self) -> float:
        """The ratio."""
        return float(self.over.sum() / self.under.sum())


def sums_of(samples: pa.Table) -> dict[str, Sums]:
    """Sums of every ratio that the samples have, by its column; those without a single case are left out.

    Raises:
        ValueError: a table without units.
    """
    if "unit" not in samples.column_names:
        raise ValueError("the samples have no column unit")
    _, unit = np.unique(samples["unit"].to_numpy(), return_inverse=True)
    found: dict[str, Sums] = {}
    for one in RATIOS:
        if not {one.over, one.under} - {""} <= set(samples.column_names):
            continue
        over = _numbers(samples, one.over)
        under = _numbers(samples, one.under) if one.under else np.ones(len(over))
        is_there = ~(np.isnan(over) | np.isnan(under))
        sums = Sums(*(_by_unit(np.where(is_there, part, 0.0), unit) for part in (over, under)))
        if sums.under.sum() > 0:
            found[one.column] = sums
    return found


def _numbers(samples: pa.Table, name: str) -> Float64[np.ndarray, " samples"]:
    return samples[name].to_numpy(zero_copy_only=False).astype(np.float64)


def _by_unit(values: Float64[np.ndarray, " samples"], unit: Int64[np.ndarray, " samples"]) -> np.ndarray:
    return np.bincount(unit, weights=values)


def estimates(
    sums: Mapping[str, Sums], ratios: Sequence[Ratio], config: IntervalConfig, *, seed: int
) -> dict[str, Estimate]:
    """Every ratio with its interval."""
    drawn, n_units = drawn_ratios({"": sums}, config, seed)
    found = {}
    for one in ratios:
        if one.column in sums:
            value = one.scale * sums[one.column].value
            deviations = spread(value, one.scale * drawn["", one.column], [], n_units, seed=seed)
            bounds = (0.0 if one.most == 100 else -np.inf, np.inf if one.most is None else one.most)
            found[one.column] = interval(value, deviations, config.level, bounds)
    return found


def drawn_ratios(
    cells: Mapping[str, Mapping[str, Sums]], config: IntervalConfig, seed: int
) -> tuple[dict[tuple[str, str], Float64[np.ndarray, " resamples"]], int]:
    """Ratios over resamples, by cell and column, and the number of units; a draw without a case keeps the value."""
    parts = {
        f"{cell}\n{column}\n{part}": getattr(sums, part)[None]
        for cell, of in cells.items()
        for column, sums in of.items()
        for part in ("over", "under")
    }
    if not parts:
        return {}, 0
    drawn = resample(parts, resamples=config.resamples, seed=seed)
    found = {}
    for cell, of in cells.items():
        for column, sums in of.items():
            over, under = (drawn.both[f"{cell}\n{column}\n{part}"] for part in ("over", "under"))
            safe = np.where(under > 0, under, 1.0)
            found[cell, column] = np.where(under > 0, over / safe, sums.value)
    return found, drawn.n_samples


def recompute(row: Row, samples: pa.Table) -> dict[str, object]:
    """Every column of a row that follows from the samples.

    Raises:
        ValueError: a table that is not complete.
    """
    config = IntervalConfig(level=row["interval_level"], resamples=row["interval_resamples"])
    captions = samples["caption"].to_pylist()
    top = top_caption(captions)
    samples = samples.append_column("is_top", pa.array([float(text == top) for text in captions]))
    found = estimates(sums_of(samples), RATIOS, config, seed=row["seed"])
    shares = _shares(samples, config, row["seed"])
    columns: dict[str, object] = {}
    for one in RATIOS:
        values = found.get(one.column, (None, None, None))
        columns |= dict(zip((one.column, f"{one.column}_low", f"{one.column}_high"), values, strict=True))
    return {
        **columns,
        "shares": json.dumps(shares),
        **{column: shares.get(category, [0.0])[0] if shares else None for category, column in SHARES.items()},
        "distinct_captions": len(set(captions)),
        "top_caption": top,
        "n_test": len(captions),
        "n_units": len(np.unique(samples["unit"].to_numpy())),
        "flags": _flags(found),
    }


def caption_bits(samples: pa.Table) -> PerImage | None:
    """Caption bits of every image; None where there are none."""
    if not {"choice_bits", "unit"} <= set(samples.column_names):
        return None
    return PerImage(_numbers(samples, "choice_bits")[None], samples["unit"].to_numpy().astype(np.int64))


def _shares(samples: pa.Table, config: IntervalConfig, seed: int) -> dict[str, list[float]]:
    """Share in percent of every category that occurs, with its interval; captions without a part are left out."""
    if "shares" not in samples.column_names:
        return {}
    column: Any = samples["shares"].combine_chunks()
    values = column.to_numpy_ndarray() if hasattr(column, "to_numpy_ndarray") else np.array(column.to_pylist())
    _, unit = np.unique(samples["unit"].to_numpy(), return_inverse=True)
    has_parts = ~np.isnan(values[:, 0])
    under = _by_unit(has_parts.astype(np.float64), unit)
    if not has_parts.any():
        return {}
    sums = {
        name: Sums(_by_unit(np.where(has_parts, of, 0.0), unit), under)
        for name, of in zip(CATEGORIES, values.T, strict=True)
        if np.nansum(of) > 0
    }
    ratios = [Ratio(name, "", "", 1.0, 100.0, "", "", "percent", "") for name in sums]
    found = estimates(sums, ratios, config, seed=seed)
    return {name: [round(value, 4) for value in estimate] for name, estimate in found.items()}


def top_caption(captions: Sequence[str]) -> str | None:
    """The most frequent one; of several the first in the alphabet; None of none."""
    counts = Counter(captions)
    return min(counts, key=lambda text: (-counts[text], text)) if counts else None


def _flags(found: Mapping[str, Estimate]) -> list[str]:
    flags = []
    if found["top_caption_percent"].value >= TEMPLATE_PERCENT:
        flags.append("template_collapse")
    if "specificity_bits" in found and found["specificity_bits"].low <= 0:
        flags.append("not_specific")
    if "ended_percent" in found and found["ended_percent"].value < 50:
        flags.append("never_ends")
    return flags


def compare(
    cells: Mapping[str, tuple[Row, pa.Table]],
    pairs: Iterable[tuple[str, str]],
    columns: Iterable[str],
    config: IntervalConfig,
    *,
    seed: int,
) -> list[Difference]:
    """Paired differences of measures; one draw of images serves all cells.

    Raises:
        IncomparableError: cells of other images.
    """
    refuse_other_samples({name: (row, len(samples)) for name, (row, samples) in cells.items()})
    sums = {name: sums_of(samples) for name, (_, samples) in cells.items()}
    drawn, n_units = drawn_ratios(sums, config, seed)
    scales = {one.column: one.scale for one in RATIOS}
    found = []
    wanted = list(columns)
    for one, other in pairs:
        for column in wanted:
            if column not in sums[one] or column not in sums[other]:
                continue
            scale = scales[column]
            values = scale * sums[one][column].value, scale * sums[other][column].value
            resampled = scale * (drawn[one, column] - drawn[other, column])
            found.append(difference(one, other, column, values, resampled, n_units, level=config.level, seed=seed))
    return found
