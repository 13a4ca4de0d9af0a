"""Exhibits of where information lies: their values are those of the results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import vl_convert

from binding.exhibits._breakdown import breakdowns, draw_counts, parts
from frozen.readout.exhibit import Exhibit


def row(cell: str, *, layer: str = "2", bits: float = 1.0, **changes: Any) -> dict[str, Any]:
    return {
        "cell_id": cell,
        "status": "done",
        "dataset": "shapes",
        "dataset_parameters": "{}",
        "backbone": "shipped:vit",
        "layer": layer,
        "mode": "cls",
        "probe": "linear",
        "direct_binding_information_bits": bits,
        **changes,
    }


def part(kind: str, name: str, entropy: float | None, direct: float | None) -> dict[str, Any]:
    ends = {"direct_bits": direct, "direct_bits_low": direct, "direct_bits_high": direct}
    return {"part": kind, "name": name, "n_samples": 5, "entropy_bits": entropy, **ends}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    (tmp_path / "details").mkdir()
    table = pa.Table.from_pylist(
        [
            part("conjunction", "red big circle", 0.5, 0.25),
            part("conjunction", "red big square", 0.0, 0.0),
            part("conjunction", "blue big square", None, None),
            part("object_count", "1", 0.0, 0.0),
            part("object_count", "10", 4.0, 3.0),
        ]
    )
    for cell in ("a", "b"):
        pq.write_table(table, tmp_path / "details" / f"{cell}.parquet")
    return tmp_path


def drawable(exhibit: Exhibit) -> dict[str, Any]:
    """The specification of an exhibit, which Vega-Lite can draw."""
    drawing: Any = exhibit.draw()
    assert vl_convert.vegalite_to_svg(drawing).startswith("<svg")
    return drawing


def test_the_best_layer_is_shown_as_shares_of_its_bits(results: Path) -> None:
    rows = [row("a", bits=1.0), row("b", layer="3", bits=2.0), row("nothing kept", bits=9.0), {"status": "failed"}]
    rows.append(row("a", bits=8.0, is_control=True))
    conjunctions, counts = breakdowns(results, rows)
    [value] = drawable(conjunctions)["data"]["values"]
    assert (value["down"], value["across"], value["share"], value["layer"]) == ("red big", "circle", 0.5, "3")
    [value] = drawable(counts)["data"]["values"]
    assert (value["objects"], value["share"], value["low"]) == (10, 0.75, 0.75)


def test_results_without_parts_have_no_such_exhibits(results: Path) -> None:
    assert list(breakdowns(results, [row("nothing kept")])) == []
    assert [found["name"] for found in parts(results, [row("a")], "object_count")] == ["10"]
    assert draw_counts(results, [row("a")])["facet"]["field"] == "of"
