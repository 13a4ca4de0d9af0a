"""What an exhibit is, and the rows that one is of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq
from matplotlib.figure import Figure

Drawing: TypeAlias = Figure | Mapping[str, Any] | bytes
"""A matplotlib figure, a Vega-Lite specification, or a PNG."""
Row: TypeAlias = Mapping[str, Any]


class Exhibit(NamedTuple):
    """A titled drawing of a report; drawn only when the report is written, so that one failure stays alone."""

    title: str
    caption: str
    alternative: str
    """What the drawing shows, for readers who cannot see it."""
    draw: Callable[[], Drawing]
    """Draws it. Where the values of a Vega-Lite specification have the fields dataset, backbone or translator, the
    filters of the report apply to them."""


def captioned(rows: Sequence[Row]) -> dict[tuple[str, str, str], list[Row]]:
    """Rows with captions by data set, backbone and translator, controls last; each in order of depth."""
    found: dict[tuple[str, str, str], list[Row]] = {}
    done = [row for row in rows if row.get("status") == "done"]
    for row in sorted(
        done, key=lambda row: (bool(row.get("is_control")), row["layer_index"], row["layer"] == "final")
    ):
        found.setdefault((str(row["dataset"]), str(row["backbone"]), str(row["translator"])), []).append(row)
    return found


def samples_of(results: Path, row: Row) -> pa.Table | None:
    """Per-image results of a cell; None where the file is gone."""
    path = results / "samples" / f"{row['cell_id']}.parquet"
    return pq.read_table(path) if path.exists() else None


def panels(values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Facets of a specification, one for each value of the field `of`, in the order in which they come."""
    order = list(dict.fromkeys(value["of"] for value in values))
    return {"field": "of", "type": "nominal", "title": None, "sort": order, "header": {"labelLimit": 300}}
