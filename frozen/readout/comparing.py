"""Paired comparison of cells: on the same samples, or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from frozen.intervals import p_value, spread, student_interval
from frozen.readout.readout import Difference


class IncomparableError(ValueError):
    """Cells that were not measured on the same samples."""


def refuse_other_samples(cells: Mapping[str, tuple[Mapping[str, Any], int]]) -> None:
    """Refuse cells that cannot be compared sample by sample.

    Args:
        cells: row and number of samples by name.

    Raises:
        IncomparableError: one of them is of another data set than the first, or of another number of samples.
    """
    (first_name, (first, n_samples)), *others = cells.items()
    for name, (row, n_others) in others:
        if row["data_fingerprint"] != first["data_fingerprint"]:
            raise IncomparableError(
                f"{first_name} and {name} are not on the same samples: data set {first['dataset']} "
                f"({first['data_fingerprint'][:8]}) and {row['dataset']} ({row['data_fingerprint'][:8]}); "
                "compare cells of one data set"
            )
        if n_others != n_samples:
            raise IncomparableError(
                f"{first_name} and {name} are not on the same samples: {n_samples} and {n_others} of them; "
                "compare cells that read the same images"
            )


def difference(
    one: str,
    other: str,
    column: str,
    values: tuple[float, float],
    resampled: Float[np.ndarray, " resamples"],
    n_samples: int,
    *,
    level: float,
    seed: int,
) -> Difference:
    """The difference of a measure that is drawn over samples alone, with its interval and p-value.

    Args:
        one: name of the first cell.
        other: name of the second cell.
        column: of the measure.
        values: of the two cells.
        resampled: differences over resamples that both cells share.
        n_samples: samples that were resampled.
        level: coverage that the interval aims at.
        seed: of the resampling.
    """
    value = values[0] - values[1]
    found = spread(value, resampled, [], n_samples, seed=seed)
    return Difference(one, other, column, values, student_interval(value, found, level), p_value(value, found))
