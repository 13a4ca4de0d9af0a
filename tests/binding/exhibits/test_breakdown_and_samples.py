"""Exhibits of where information lies and of how many samples it takes: their values are those of the results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import vl_convert

from binding.exhibits._base import Exhibit
from binding.exhibits._breakdown import breakdowns, draw_counts, parts
from binding.exhibits._samples import sample_sizes, size_points


def row(cell: str, *, layer: str = "2", train: int = 100, bits: float = 1.0, **changes: Any) -> dict[str, Any]:
    parameters = {"n_colors": 2, "split": {"policy": "independent", "train": train, "test": 50}}
    return {
        "cell_id": cell,
        "status": "done",
        "dataset": f"shapes[split.train={train}]",
        "dataset_parameters": json.dumps(parameters),
        "backbone": "shipped:vit",
        "layer": layer,
        "mode": "cls",
        "probe": "linear",
        "n_train": train,
        "direct_binding_information_bits": bits,
        "binding_ratio": bits / 2,
        "binding_ratio_low": bits / 4,
        "binding_ratio_high": bits,
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
    conjunctions, counts = breakdowns(results, rows)
    [value] = drawable(conjunctions)["data"]["values"]
    assert (value["down"], value["across"], value["share"], value["layer"]) == ("red big", "circle", 0.5, "3")
    [value] = drawable(counts)["data"]["values"]
    assert (value["objects"], value["share"], value["low"]) == (10, 0.75, 0.75)


def test_results_without_parts_have_no_such_exhibits(results: Path) -> None:
    assert list(breakdowns(results, [row("nothing kept")])) == []
    assert [found["name"] for found in parts(results, [row("a")], "object_count")] == ["10"]
    assert draw_counts(results, [row("a")])["facet"]["field"] == "of"


def test_sizes_are_compared_where_nothing_else_differs() -> None:
    rows = [
        row("a", train=400, bits=1.0),
        row("b", train=100, bits=0.5),
        row("other layer", layer="3", train=200),
        row("failed", train=800, status="failed"),
    ]
    [exhibit] = sample_sizes(rows)
    values = drawable(exhibit)["data"]["values"]
    assert [(value["samples"], value["value"], value["high"]) for value in values] == [
        (100, 0.25, 0.5),
        (400, 0.5, 1),
    ]
    assert list(size_points(rows[1:])) == []
    assert list(sample_sizes(rows[1:])) == []
