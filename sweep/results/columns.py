"""The columns of a row: the engine's, and those of the read-out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from frozen.plain import json_of

if TYPE_CHECKING:
    from frozen.readout.cells import Cell
    from frozen.readout.readout import Readout

SCHEMA_VERSION = 2
"""Of the engine's columns."""

IDENTITY_COLUMNS = {
    "cell_id": "hash of everything the cell's measurement depends on, data and weights apart",
    "schema_version": "version of these columns",
    "status": "done or failed",
    "error": "why a failed cell failed",
    "study": "name of the study",
    "readout": "what was measured",
    "is_control": "whether it is a control",
    "control": "which control; empty for measurements",
    "control_of": "source of the backbone it is a control of; empty for those of the data set",
    "dataset": "name of the data set",
    "dataset_entry": "name of the entry of the study file that it comes from",
    "dataset_point": "of a grid of data sets: the fields in which they differ, and their values here, JSON",
    "dataset_parameters": "its settings, JSON",
    "data_fingerprint": "hash of the content of the splits it needs",
    "n_skipped": "samples of those splits left out, because their image or labels could not be had",
    "backbone": "source of the backbone, or name of the control",
    "weights_digest": "sha256 of the weights",
}
PRODUCT_COLUMNS = {
    "gives": "sha256 of every product that it made, JSON",
    "used": "sha256 of every product that it read, JSON",
}
"""Of cells that give or need products; their rows alone have them."""
VOLATILE_COLUMNS = {
    "wall_s": "seconds the cell took",
    "device": "where it was measured",
    "host": "machine",
    "versions": "versions of the main libraries, JSON",
    "notes": "what happened meanwhile, such as a pack of probes halved for lack of GPU memory",
    "git_commit": "commit of the project, empty outside a checkout",
}
"""Columns in which equal measurements may differ."""


def all_columns(readout: Readout) -> dict[str, str]:
    """Columns of results.parquet, in order, with their meaning."""
    products = PRODUCT_COLUMNS if readout.products else {}
    return {**IDENTITY_COLUMNS, **readout.grid_columns, **products, **readout.columns, **VOLATILE_COLUMNS}


def identity_columns(cell: Cell) -> dict[str, object]:
    """The columns of a row that say which cell it is."""
    return {
        "cell_id": cell.cell_id,
        "schema_version": SCHEMA_VERSION,
        "readout": cell.readout,
        "is_control": cell.is_control,
        "control": cell.control or (cell.backbone.name if cell.description.is_control else None),
        "control_of": cell.control_of,
        "dataset": cell.dataset.name,
        "dataset_entry": cell.dataset.entry,
        "dataset_point": json.dumps(cell.dataset.point),
        "dataset_parameters": json_of(cell.dataset.config),
        "backbone": cell.label,
        **dict(cell.columns),
    }
