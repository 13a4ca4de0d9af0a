"""Differences of bits between losses on the same test images: before a map and after it, with a head and without it.

A product carries the direct losses of one cell to those that are compared with it.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from frozen.intervals import Estimate, IntervalConfig, Losses, Means, Resampled, interval, resample, spread

LOSSES = "losses"
"""The product of a cell that others are compared with."""
WHOLE = "whole"
"""Target, in tables of samples, of the direct losses on the activations before the map."""
ALL_HEADS, WITHOUT_HEAD = "all_heads", "without_head"
"""Targets of the direct losses on all heads of the block, and on all but one."""
RANDOM = "random"
"""Target of the direct losses on as many atoms, drawn at random."""


def losses_to_bytes(direct: Losses) -> bytes:
    """The direct test losses of a cell, as a product: a column a seed, parquet."""
    buffer = io.BytesIO()
    pq.write_table(pa.table({f"seed_{number}": bits for number, bits in enumerate(direct)}), buffer)
    return buffer.getvalue()


def losses_from_bytes(content: bytes) -> Losses:
    """The same back: bits [seeds samples]."""
    return np.stack([column.to_numpy() for column in pq.read_table(io.BytesIO(content)).columns])


class _Quantity(NamedTuple):
    """What follows from the mean losses of some targets.

    Attributes:
        meaning: for people.
        of: the targets.
        derive: from their means, one or many of each.
    """

    meaning: str
    of: tuple[str, ...]
    derive: Callable[[Means], np.ndarray]


def _share(means: Means) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return (means["entropy"] - means["direct"]) / (means["entropy"] - means[WHOLE])


_QUANTITIES = {
    "lost_bits": _Quantity(
        "B*_direct of the activations before the map minus B*_direct after it, on the same test images; below 0 "
        "where the map makes binding easier to read for this family; with `through`",
        (WHOLE, "direct", "entropy"),
        lambda means: means["direct"] - means[WHOLE],
    ),
    "kept_share": _Quantity(
        "B*_direct after the map over B*_direct before it; empty where the latter is not above 0; with `through`",
        (WHOLE, "direct", "entropy"),
        _share,
    ),
    "over_random_bits": _Quantity(
        "B*_direct of the chosen coordinates of a map minus that of as many random ones, on the same test images; "
        "with `through: [dictionary.conjunction]` and the like",
        (RANDOM, "direct"),
        lambda means: means[RANDOM] - means["direct"],
    ),
    "all_heads_bits": _Quantity(
        "B*_direct of all heads of the block together; with `extras: [leave_one_out]`",
        (ALL_HEADS, WITHOUT_HEAD, "entropy"),
        lambda means: means["entropy"] - means[ALL_HEADS],
    ),
    "leave_one_out_bits": _Quantity(
        "B*_direct of all heads of the block minus B*_direct without this one, on the same test images: what no "
        "other head of the block holds; with `extras: [leave_one_out]`",
        (ALL_HEADS, WITHOUT_HEAD, "entropy"),
        lambda means: means[WITHOUT_HEAD] - means[ALL_HEADS],
    ),
}
PAIRED_ESTIMATES = {name: one.meaning for name, one in _QUANTITIES.items()}


def paired_estimates(
    values: Mapping[str, Losses], config: IntervalConfig, *, seed: int
) -> dict[str, Estimate | None]:
    """Paired differences and shares, with intervals; those whose losses are not there are missing.

    Args:
        values: bits by target: `direct`, `entropy` and, as far as they were measured, the targets named above.
        config: level and number of resamples.
        seed: of the bootstrap.
    """
    found: dict[str, Estimate | None] = {}
    drawn: dict[tuple[str, ...], Resampled] = {}
    for name, one in _QUANTITIES.items():
        if not values.keys() >= set(one.of):
            continue
        if one.of not in drawn:
            used = {target: values[target] for target in one.of}
            drawn[one.of] = resample(used, resamples=config.resamples, seed=seed)
        found[name] = _estimate(one, values, drawn[one.of], config.level, seed)
    if "kept_share" in found:
        means = drawn[_QUANTITIES["kept_share"].of].both
        if not np.quantile(means["entropy"] - means[WHOLE], (1 - config.level) / 2) > 0:
            found["kept_share"] = None  # a share of nothing
    return found


def _estimate(
    one: _Quantity, values: Mapping[str, Losses], drawn: Resampled, level: float, seed: int
) -> Estimate | None:
    point = {target: np.array([values[target].mean()]) for target in one.of}
    value, both, seeds = (one.derive(means) for means in (point, drawn.both, drawn.seeds))
    at = float(value[0])
    if not (np.isfinite(at) and np.isfinite(both).all()):
        return None
    varied = spread(at, both, [(seeds, drawn.n_seeds)], drawn.n_samples, seed=seed)
    return interval(at, varied, level)
