"""The rows that an exhibit is of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

Row: TypeAlias = Mapping[str, Any]


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


def titled(rows: Sequence[Row]) -> dict[tuple[str, str, str], str]:
    """The panel of `captioned` rows in a figure, by the same key; data sets are named where there are several."""
    keys = list(captioned(rows))
    several = len({dataset for dataset, *_ in keys}) > 1
    return {key: " · ".join([*key[:several], key[1], *key[2:][: key[2] != "none"]]) for key in keys}


def panels(values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Facets of a specification, one for each value of the field `of`, in the order in which they come."""
    order = list(dict.fromkeys(value["of"] for value in values))
    return {
        "field": "of",
        "type": "nominal",
        "title": None,
        "sort": order,
        "header": {"labelLimit": 280, "labelFontSize": 10},
    }
