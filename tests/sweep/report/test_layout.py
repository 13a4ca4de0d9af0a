"""Read-outs with other dimensions than one of each role: none of depth, no line, two panels, details, other units."""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
from rich.console import Console

from frozen.readout.measures import Dimension, Measure, Role
from sweep.report import Heading, print_table, write_report
from sweep.report._layout import Layout
from sweep.report._publication import write_figures, write_tables
from sweep.report._rows import depths_of, foremost, lines_of, panels_of, prepared
from tests.sweep.report.test_page import Page

ACCURACY = Measure("accuracy_percent", "Accuracy", "A", "percent", "images that are found")
NAMED = Measure("n_named", "Named", "n", "count", "classes with a name")
"""Without an interval: its rows have no columns of ends."""
ORDERS = {"embed": -1, "2": 2, "final": 5}


def dimension(name: str, role: Role, order: str | None = None) -> Dimension:
    return Dimension(name, name, "", role, order)


LAYER = dimension("layer", "depth", "layer_index")
STAGE = dimension("stage", "line")
METRIC, CROP = dimension("metric", "panel"), dimension("crop", "panel")
VALUES = {"layer": list(ORDERS), "stage": ["means", "classify"], "metric": ["cosine"], "crop": ["a", "b"]}
GRIDS = {
    "stages": (LAYER, STAGE),
    "no depth": (STAGE, METRIC),
    "no line": (LAYER, METRIC),
    "two panels": (LAYER, METRIC, CROP, STAGE),
    "panels alone": (CROP,),
    "nothing": (),
}


def row(at: Mapping[str, str], value: float, **columns: object) -> dict[str, object]:
    ends = {"accuracy_percent_low": value - 2, "accuracy_percent_high": value + 3}
    known = {"status": "done", "dataset": "gratings", "backbone": "small", "is_control": False, "flags": []}
    order = ORDERS.get(at.get("layer", ""))
    return {**known, **at, "layer_index": order, "accuracy_percent": value, **ends, "n_named": 3, **columns}


def rows_of(dimensions: tuple[Dimension, ...]) -> pd.DataFrame:
    names = [one.name for one in dimensions]
    points = [dict(zip(names, point, strict=True)) for point in itertools.product(*(VALUES[name] for name in names))]
    rows = [row(at, 40.0 + number) for number, at in enumerate(points)]
    own = {"backbone": "shuffled:small", "control": "shuffled", "control_of": "small", "is_control": True}
    return pd.DataFrame([*rows, row(points[-1], 12.0, **own)])


class Files(NamedTuple):
    page: Page
    folder: Path
    table: str


@pytest.fixture(scope="module", params=GRIDS)
def files(request, tmp_path_factory) -> tuple[tuple[Dimension, ...], Files]:
    dimensions = GRIDS[request.param]
    folder, rows, measures = tmp_path_factory.mktemp("report"), rows_of(dimensions), (ACCURACY, NAMED)
    about = Heading(title="t", flag_meanings={})
    page = Page(write_report(rows, dimensions, measures, about, folder / "r.html").read_text())
    write_figures(rows, dimensions, measures, "t", ["svg"], folder)
    write_tables(rows, dimensions, measures, "t", ["latex", "markdown"], folder)
    console = Console(file=io.StringIO(), width=100)
    print_table(rows, dimensions, measures, {}, console)
    return dimensions, Files(page, folder, console.file.getvalue())  # pyright: ignore[reportAttributeAccessIssue]


def sections(page: Page) -> set[str]:
    return {str(one["data-figure"]) for _, one in page.tags if "data-figure" in one}


def test_tables_have_a_column_a_dimension_and_numbers_may_have_no_interval(files) -> None:
    dimensions, (page, folder, table) = files
    heads = [one.label for one in Layout(dimensions).dimensions]
    assert page.row("backbone") == ["backbone", *heads, "A percent", "n count", "flags"]
    assert page.row("shuffled:small (control)")[-3:] == ["12.0 [10.0, 15.0]", "3", ""]
    assert f"| {' | '.join(['backbone', *heads, 'A (%)', 'n'])} |" in (folder / "results.md").read_text()
    assert r"A (\%) & n \\" in (folder / "results.tex").read_text()
    assert [*heads, "A", "n", "flags"] in [line.split() for line in table.splitlines()]


def test_the_page_has_the_figures_that_its_dimensions_allow(files) -> None:
    dimensions, (page, folder, _) = files
    roles = {one.role for one in dimensions}
    expected = {
        "curves": "depth" in roles or "line" not in roles,
        "heatmap": bool(roles & {"depth", "line"}),
        "ladder": "line" in roles,
    }
    assert sections(page) == {name for name, is_there in expected.items() if is_there}
    assert ("Best layers" in page.text) == ("depth" in roles)
    kind = "layer_curves" if "depth" in roles else "estimates"
    assert (folder / f"{kind}_accuracy_percent.svg").is_file()
    assert not {"probe", "mode", "hyper-parameter"} & set(page.text.split())


def test_the_page_is_filtered_by_what_is_no_axis() -> None:
    layout = Layout(GRIDS["two panels"])
    rows = prepared(rows_of(layout.declared), layout, (ACCURACY,))
    assert [one.name for one in layout.dimensions] == ["metric", "crop", "stage", "layer"]
    assert panels_of(rows) == ["cosine · a", "cosine · b"]
    assert lines_of(rows) == ["classify", "means"]
    assert depths_of(rows) == ["embed", "2", "final"]


def test_lines_stand_by_their_number_or_as_the_study_orders_them() -> None:
    sized = (dimension("size", "line", "n"),)
    records = [row({"size": name}, 1.0, n=n) for name, n in (("large", 3), ("small", 1), ("medium", 2))]
    assert lines_of(prepared(pd.DataFrame(records), Layout(sized), (ACCURACY,))) == ["small", "medium", "large"]
    named = Layout((dimension("size", "line"),), {"size": ["medium", "small"]})
    assert lines_of(prepared(pd.DataFrame(records), named, (ACCURACY,))) == ["medium", "small", "large"]


def test_of_details_at_one_place_figures_show_the_largest() -> None:
    layout = Layout((LAYER, dimension("head", "detail")))
    records = [row({"layer": "2", "head": str(head)}, value) for head, value in enumerate((40.0, 60.0, 50.0))]
    records.append(row({"layer": "final", "head": "0"}, float("nan")))
    shown = foremost(prepared(pd.DataFrame(records), layout, (ACCURACY,)), ACCURACY)
    assert [row.values for row in shown] == [{"head": "1", "layer": "2"}, {"head": "0", "layer": "final"}]


def test_a_second_dimension_of_depth_is_a_panel() -> None:
    layout = Layout((LAYER, dimension("epoch", "depth", "n")))
    assert layout.depth == LAYER
    assert [one.name for one in layout.panels] == ["epoch"]
