"""Rows that are sound, for tests of what is done with them."""

from __future__ import annotations

import hashlib
from typing import Any

from binding.columns import COLUMN_KINDS
from sweep.results.columns import SCHEMA_VERSION

_VALUES: dict[str, Any] = {"whole": 100, "number": 0.95, "object": "{}", "list": [1], "texts": [], "text": "none"}

_MEASURED = {name: None if kind.endswith("?") else _VALUES[kind] for name, kind in COLUMN_KINDS.items()}

_IDENTITY: dict[str, Any] = {
    "schema_version": SCHEMA_VERSION,
    "status": "done",
    "error": None,
    "readout": "binding",
    "is_control": False,
    "control": None,
    "control_of": None,
    "dataset": "shapes[n=2]",
    "dataset_parameters": "{}",
    "data_fingerprint": "d" * 64,
    "backbone": "shipped:vit",
    "weights_digest": "e" * 64,
    "layer": "2",
    "layer_index": 2,
    "depth_fraction": 0.5,
    "mode": "cls",
    "probe": "linear",
    "feature_probe": "linear",
}


def cell_id(name: str) -> str:
    """An id that begins with the name where that is hexadecimal, else one made of it."""
    is_hex = set(name) <= set("0123456789abcdef")
    return f"{name:0<20}" if is_hex else hashlib.sha256(name.encode()).hexdigest()[:20]


def sound_row(name: str, **changes: Any) -> dict[str, Any]:
    """The row of a done cell with the id of a name."""
    return {**_IDENTITY, **_MEASURED, "cell_id": cell_id(name), **changes}


def failed_row(name: str, error: str = "ValueError: no\nroom", **changes: Any) -> dict[str, Any]:
    """The row of a failed cell."""
    return {**_IDENTITY, "cell_id": cell_id(name), "status": "failed", "error": error, "flags": [], **changes}
