"""What a read-out makes of a cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from jaxtyping import Float64, Int64

SUGGESTIONS = pa.schema(
    [
        ("target", pa.string()),
        ("number", pa.int32()),
        ("values", pa.string()),
        ("ranges", pa.string()),
        ("loss", pa.float64()),
        ("status", pa.string()),
        ("best_epoch", pa.int32()),
        ("curve", pa.list_(pa.float64())),
    ]
)
"""Hyper-parameters that were tried for a target: JSON of what was drawn and of Optuna's distributions, the validation
loss (less is better; null where it is not finite), complete or pruned, its epoch, and the loss after each epoch."""


@dataclass(frozen=True)
class Outcome:
    """A measured cell."""

    row: Mapping[str, object]
    """Values of the read-out's columns; plain numbers, strings, lists, None."""
    samples: pa.Table | None = None
    """Per-sample results, enough to recompute every aggregate without measuring again."""
    curves: pa.Table | None = None
    """Learning curves in long form: one row an epoch, with a column `epoch`."""
    suggestions: pa.Table | None = None
    """What was tried, with the schema SUGGESTIONS."""
    steps: int = 0
    """Optimiser steps of all trainings."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """What else is kept of the cell, by folder and suffix: `details.parquet` becomes details/CELL.parquet."""
    products: Mapping[str, bytes] = field(default_factory=dict)
    """What other cells may need, by the names that the cell gives."""


class PerImage(NamedTuple):
    """A measure image by image, in the order of the test split; the measure is their mean.

    Attributes:
        values: of every training's test images, missing where an image has none.
        unit: images of one number are resampled together, such as a scene and its twin; None for each by itself.
    """

    values: Float64[np.ndarray, "seeds images"]
    unit: Int64[np.ndarray, " images"] | None = None
