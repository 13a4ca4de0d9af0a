"""What an aspect makes of a cell's captures, and what all aspects share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from frozen.readout.needs import Inputs
from readouts.class_embedding.aspects import ClassCell
from readouts.class_embedding.patches import chosen

FEW_IMAGES = 30
N_MAPS = 8
"""Images whose maps are kept for the report."""


@dataclass(frozen=True)
class Measured:
    """What an aspect makes of a cell."""

    samples: pa.Table
    n_tokens: int
    extra: Mapping[str, object]
    flags: tuple[str, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)
    products: Mapping[str, bytes] = field(default_factory=dict)


def which_show(own: ClassCell, inputs: Inputs) -> Any:
    """Which image tokens show the class; None where that is not known."""
    if "patches" not in inputs.columns:
        return None
    columns = inputs.columns["patches"]
    return chosen(columns["share"][:], columns["corner"][:], own.rules.class_patches)


def parquet(table: pa.Table) -> bytes:
    """A table as a file."""
    buffer = BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def array_bytes(array: np.ndarray) -> bytes:
    """An array as a product."""
    buffer = BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def array_of(content: bytes) -> np.ndarray:
    """The array of a product."""
    return np.load(BytesIO(content), allow_pickle=False)
