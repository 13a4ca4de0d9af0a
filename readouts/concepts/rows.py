"""From what a stage has measured to an outcome with all columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from frozen.readout.cells import Cell
from frozen.readout.outcome import Outcome
from readouts.concepts.cells import Stage
from readouts.concepts.columns import COLUMNS
from readouts.concepts.stored import recompute


def outcome(cell: Cell, own: Mapping[str, Any], samples: pa.Table, **others: Any) -> Outcome:
    """An outcome whose aggregates follow from its samples.

    Args:
        cell: what was measured.
        own: columns that do not follow from the samples.
        samples: a row an image, or an atom.
        others: curves, files, products and steps.
    """
    stage: Stage = cell.settings
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row |= {
        "seed": stage.seed,
        "interval_level": stage.intervals.level,
        "interval_resamples": stage.intervals.resamples,
        **own,
    }
    row |= recompute(row | {"stage": stage.name}, samples)
    return Outcome(row=row, samples=samples, **others)
