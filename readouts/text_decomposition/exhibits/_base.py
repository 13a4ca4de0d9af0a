"""What all exhibits need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

Row: TypeAlias = Mapping[str, Any]


def of(rows: Sequence[Row], analysis: str) -> Iterator[Row]:
    """Measured rows of an analysis, controls left out."""
    return (
        row
        for row in rows
        if row.get("status") == "done" and not row.get("is_control") and row.get("analysis") == analysis
    )


def place(row: Row) -> dict[str, str]:
    """Where a row comes from, by the names of the report's filters."""
    return {"dataset": str(row["dataset"]), "backbone": str(row["backbone"])}


def panels(values: Sequence[Mapping[str, Any]], panel: Mapping[str, Any], columns: int = 2) -> dict[str, Any]:
    """Panels by the field `of`, which names them."""
    header = {"labelLimit": 520, "labelAnchor": "start", "title": None}
    facet = {"field": "of", "type": "nominal", "title": None, "sort": None, "header": header}
    return {"data": {"values": list(values)}, "facet": facet, "columns": columns, "spec": panel}


def panel_of(row: Row) -> str:
    """Name of a row's panel."""
    return f"{row['dataset']} · {row['backbone']}"
