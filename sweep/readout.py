"""What the engine knows of a measurement: a read-out turns a cell's activations into one row.

The engine never sees colours, shapes or codes. A read-out is found by name (`readout: binding` in the
study file) among the entry points of the group `sweep.readouts`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Measure:
    """A measured quantity of a row, as tables and figures show it.

    The row's columns `column`, `column_low` and `column_high` hold the estimate and its interval.
    """

    column: str
    label: str
    symbol: str
    unit: Literal["bits", "ratio"]
    meaning: str
