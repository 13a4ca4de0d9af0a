"""What all exhibits need."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

from frozen.readout.exhibit import Exhibit

Row: TypeAlias = Mapping[str, Any]


def of(rows: Sequence[Row], analysis: str) -> Iterator[Row]:
    """Measured rows of an analysis, controls left out."""
    return (
        row
        for row in rows
        if row.get("status") == "done" and not row.get("is_control") and row.get("analysis") == analysis
    )


def drawn(
    values: Iterable[Mapping[str, Any]], title: str, caption: str, alternative: str, draw: Callable[[Any], Any]
) -> Iterator[Exhibit]:
    """An exhibit of these values; none where there are none."""
    known = list(values)
    if known:
        yield Exhibit(title, caption, alternative, partial(draw, known))


def place(row: Row) -> dict[str, str]:
    """Where a row comes from, by the names of the report's filters."""
    return {"dataset": str(row["dataset"]), "backbone": str(row["backbone"])}


def panels(values: Sequence[Mapping[str, Any]], panel: Mapping[str, Any], columns: int = 2) -> dict[str, Any]:
    """Panels by the field `of`, which names them."""
    header = {"labelLimit": 520, "labelAnchor": "start", "title": None}
    facet = {"field": "of", "type": "nominal", "title": None, "sort": None, "header": header}
    return {"data": {"values": list(values)}, "facet": facet, "columns": columns, "spec": panel}


def depth(layer: str) -> int:
    """Where a layer stands among others; an attention that pools has no other beside it."""
    return int(layer) if layer.isdigit() else -1


def panel_of(row: Row) -> str:
    """Name of a row's panel."""
    return f"{row['dataset']} · {row['backbone']}"
