"""The joint report: every number of it is that of a row, and names from a study cannot break out."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from frozen.data.scenes import TwinShapes
from frozen.data.spec import DatasetSpec
from frozen.models import BackboneConfig, describe
from frozen.readout.cells import Cell
from frozen.readout.readout import find_readout
from sweep.report.joint import write_joint_page
from sweep.results.depth import by_layer
from sweep.results.directory import ResultsDirectory

SOURCE = "shipped:shapes_coca"
LAYERS = ("embed", "0", "1", "2", "3", "4", "5", "final")
READOUTS = {name: find_readout(name) for name in ("binding", "captions")}
VALUES = {
    "binding": ("direct_binding_ratio", [0.0, 0.1, 0.3, 0.6, 0.9, 0.95, 0.97, 0.96]),
    "captions": ("choice_accuracy_percent", [50.0, 50.0, 51.0, 50.0, 60.0, 80.0, 99.0, 100.0]),
}


class Kept(ResultsDirectory):
    """A folder whose rows are given."""

    def __init__(self, root: Path, rows: dict[str, dict[str, Any]]) -> None:
        super().__init__(root)
        self._rows = rows

    def rows(self) -> dict[str, dict[str, Any]]:
        return self._rows


@pytest.fixture(scope="module")
def cells() -> dict[str, list[Cell]]:
    dataset, backbone = DatasetSpec("twins", "twinshapes", TwinShapes()), BackboneConfig(source=SOURCE)
    description = describe(backbone, dataset.config)
    return {
        name: [
            Cell(
                readout=name,
                dataset=dataset,
                backbone=backbone,
                description=description,
                columns=(("layer", layer), ("layer_index", description.layer_number(layer))),
                names=(layer,),
                settings=None,
                identity=(("readout", name), ("layer", layer)),
            )
            for layer in LAYERS
        ]
        for name in READOUTS
    }


def rows_of(cells: dict[str, list[Cell]], spread: float) -> dict[str, dict[str, Any]]:
    rows = {}
    for name, (column, values) in VALUES.items():
        width = spread * (100 if column.endswith("percent") else 1)
        for cell, value in zip(cells[name], values, strict=True):
            ends = {f"{column}_low": value - width, f"{column}_high": value + width}
            rows[cell.cell_id] = {"status": "done", **dict(cell.columns), column: value, **ends}
    return rows


def written(cells: dict[str, list[Cell]], rows: dict[str, Any], folder: Path, **changes: Any) -> str:
    settings = {"title": "both", "study_yaml": "name: both\n", **changes}
    page = write_joint_page(Kept(folder, rows), settings["title"], READOUTS, cells, settings["study_yaml"])
    return page.read_text()


def test_the_page_says_where_each_passes_half(cells: dict[str, list[Cell]], tmp_path: Path) -> None:
    page = written(cells, rows_of(cells, 0.01), tmp_path)
    assert '<td>2 <span class="interval">[2, 2]</span></td>' in page  # binding: .6 is the first of half of .97
    assert '<td>4 <span class="interval">[4, 4]</span></td>' in page  # captions: 80 is the first half of the way
    assert 'href="binding/report.html"' in page
    assert "8 cells" in page
    assert page.count("no control of a known answer") == 2


def test_the_table_holds_the_rows_and_their_shares(cells: dict[str, list[Cell]], tmp_path: Path) -> None:
    written(cells, rows_of(cells, 0.01), tmp_path)
    lines = list(csv.DictReader((tmp_path / "joint.csv").open()))
    assert len(lines) == 16
    [one] = [line for line in lines if line["curve"] == "captions" and line["layer"] == "4"]
    assert (float(one["value"]), float(one["share"]), float(one["share_low"])) == (80.0, 0.6, pytest.approx(0.58))


def test_failed_cells_are_counted_and_left_out(cells: dict[str, list[Cell]], tmp_path: Path) -> None:
    rows = rows_of(cells, 0.01)
    rows[cells["captions"][4].cell_id]["status"] = "failed"
    page = written(cells, rows, tmp_path)
    assert "1 failed" in page
    assert len((tmp_path / "joint.csv").read_text().splitlines()) == 16


def test_what_is_nothing_is_said_to_be_nothing(cells: dict[str, list[Cell]], tmp_path: Path) -> None:
    page = written(cells, rows_of(cells, 2.0), tmp_path)
    assert page.count("not above nothing") == 2


def test_what_one_readout_cannot_say_and_another_finds_is_told(cells: dict[str, list[Cell]], tmp_path: Path) -> None:
    rows = rows_of(cells, 0.01)
    assert 'class="surprise"' not in written(cells, rows, tmp_path)
    for cell in cells["captions"]:
        column = VALUES["captions"][0]
        rows[cell.cell_id] |= {column: 50.0, f"{column}_low": 49.0, f"{column}_high": 51.0}
    page = written(cells, rows, tmp_path)
    assert (
        "captions is not above nothing at any of its 8 layers, while binding reaches 0.97 of its scale at 5" in page
    )


def test_a_readout_at_one_layer_is_said_to_have_no_curve(cells: dict[str, list[Cell]], tmp_path: Path) -> None:
    said = "captions has no curve by depth: no backbone has captions at two layers and more"
    rows = rows_of(cells, 0.01)
    assert said not in written(cells, rows, tmp_path)
    one = [cell.cell_id for cell in (*cells["binding"], cells["captions"][-1])]
    assert said in written(cells, {name: rows[name] for name in one}, tmp_path)


def test_without_rows_there_is_a_page(cells: dict[str, list[Cell]], tmp_path: Path) -> None:
    page = written(cells, {}, tmp_path)
    assert "No curve by depth yet" in page
    assert "0 of 8 cells" in page


def test_names_are_text(cells: dict[str, list[Cell]], tmp_path: Path) -> None:
    page = written(cells, rows_of(cells, 0.01), tmp_path, title="<script>x</script>", study_yaml="a: </pre><b>")
    assert "<script>" not in page
    assert "</pre><b>" not in page


def test_layers_stand_side_by_side_in_units_of_their_own(cells: dict[str, list[Cell]], tmp_path: Path) -> None:
    rows = rows_of(cells, 0.01)
    for cell in cells["captions"][3:5]:
        rows[cell.cell_id] |= {"caption_bits": 0.25, "caption_bits_low": 0.2, "caption_bits_high": 0.3}
    for name, through, value in (("4", None, 0.5), ("5", "class_logits", 9.0)):
        [cell] = [one for one in cells["binding"] if one.names == (name,)]
        rows[cell.cell_id] |= {"direct_binding_information_bits": value, "through": through}
    page = written(cells, rows, tmp_path)
    [table] = page.partition('id="tables"')[2].split("</section>")[:1]
    heads = re.findall(r"<th scope=\"col\"[^>]*>([^<]+)</th>", table)
    lines: dict[str, list[str]] = {}
    for line in re.findall(r"<tr><td>(.*?)</tr>", table):
        layer, *values = (re.sub(r"<span.*?</span>", "", part).strip() for part in line.split("<td>"))
        lines[layer.removesuffix("</td>")] = [value.removesuffix("</td>").strip() for value in values]
    assert heads[0] == "layer"
    column = {name.partition(" · ")[0]: number - 1 for number, name in enumerate(heads)}
    assert lines["3"][column["caption bits"]] == lines["2"][column["caption bits"]] == "0.25 bits"
    assert lines["1"][column["caption bits"]] == ""
    assert lines["4"][column["B*_direct"]] == "0.50 bits"
    assert "9.00 bits" not in table  # what a map leaves is another column
    assert lines["2"][column["binding"]] == "0.600"


def test_heads_are_no_whole_layer_and_the_row_that_is_taken_is_named(cells: dict[str, list[Cell]]) -> None:
    found: dict[Cell, dict[str, Any]] = {}
    for layer, mode, value in (("2", "cls", 0.5), ("2", "mean_spatial", 0.6), ("2.heads.1", "cls", 0.9)):
        columns = (("layer", layer), ("layer_index", 3.0), ("mode", mode), ("probe", "linear"))
        cell = replace(cells["binding"][0], columns=columns, identity=(("layer", layer), ("mode", mode)))
        found[cell] = {"status": "done", **dict(columns), "direct_binding_information_bits": value}
    rows = {cell.cell_id: row for cell, row in found.items()}
    points = {
        whole: by_layer(
            {"binding": READOUTS["binding"]},
            {"binding": list(found)},
            rows,
            lambda readout: readout.depth_columns[:1],
            whole=whole,
        )
        for whole in (True, False)
    }
    taken = {
        whole: [(p.layer, p.value, p.how, p.n_rows) for one in of for p in one.points] for whole, of in points.items()
    }
    assert taken == {
        True: [("2", 0.6, "mode mean_spatial, probe linear", 2)],
        False: [("2.heads.1", 0.9, "mode cls, probe linear", 3)],
    }
