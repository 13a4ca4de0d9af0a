"""Published numbers beside measured ones."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from frozen.readout.readout import find_readout
from frozen.readout.study import Published
from sweep.engine.grid import make_grid
from sweep.results.columns import identity_columns
from sweep.results.directory import ResultsDirectory
from sweep.results.published import by_place, held_against, show_published
from sweep.results.views import write_page
from sweep.study.load import StudyError, dump_yaml, load_study, locate_in
from tests.sweep.rows import sound_row

STUDY = """\
name: held
datasets:
  - {name: shapes, scene: colorshape, n_colors: 2, n_shapes: 2, max_objects: 4, image_size: 64, object_size: 12,
     split: {policy: independent, train: 60, validation: 50, test: 50}}
backbones: [shipped:shapes_vit_objects]
controls: [noise]
layers: [final]
modes: [cls]
probes: [{family: linear}, {family: quadratic_concat}]
published:
  - {column: binding_ratio, value: 0.4, tolerance: 0.05, probe: linear, source: table 1}
  - {column: object_loss_bits, value: 20.0, tolerance: 1.0, probe: quadratic_concat}
  - {column: binding_ratio, value: 0.9, tolerance: 0.05, mode: all}
"""


def read(tmp_path: Path, text: str = STUDY):
    path = tmp_path / "held.yaml"
    path.write_text(text)
    space = load_study(path)
    return space, make_grid(space, find_readout("binding"), locate_in(path)).cells


def row(cell, **values: object) -> dict[str, object]:
    return {**sound_row("a"), **identity_columns(cell), "status": "done", **values}


def test_the_table_says_what_was_reproduced_what_differs_and_what_is_missing(tmp_path: Path) -> None:
    space, cells = read(tmp_path)
    results = ResultsDirectory(tmp_path / "results")
    for cell in cells:
        known = {"binding_ratio": 0.43, "binding_ratio_low": 0.41, "binding_ratio_high": 0.45}
        results.write(row(cell, object_loss_bits=22.5, **known))
    with (tmp_path / "out.txt").open("w") as file:
        show_published(results, cells, space.published, find_readout("binding"), Console(file=file, width=120))
    table = pd.read_csv(results.root / "published.csv")
    assert list(table.verdict) == ["reproduced", "differs", "not measured"]
    assert list(table.backbone[:2]) == ["shipped:shapes_vit_objects"] * 2  # the control is no reproduction
    assert table.difference[0] == pytest.approx(0.03)
    assert table.difference[1] == pytest.approx(2.5)
    text = (tmp_path / "out.txt").read_text()
    assert "published | measured | difference" in text
    assert "+2.500" in text
    assert "0.430 [0.410, 0.450]" in text


def test_the_report_shows_the_table(tmp_path: Path) -> None:
    space, cells = read(tmp_path)
    rows = [row(cell, binding_ratio=0.43, binding_ratio_low=0.41, binding_ratio_high=0.45) for cell in cells]
    results = ResultsDirectory(tmp_path / "results")
    page = write_page(results, rows, find_readout("binding"), space, "").read_text()
    assert page.count('id="published"') == 1
    assert page.index('<section id="published">') > page.index("</nav>")
    section = page[page.index('<section id="published">') :]
    section = section[: section.index("</section>")]
    assert re.findall(r'rowgroup"[^>]*>(.*?)</th>', section) == [
        "shipped:shapes_vit_objects · final · cls · linear",
        "shipped:shapes_vit_objects · final · cls · quadratic_concat",
        "all",
    ]
    lines = [re.findall(r"<td[^>]*>(.*?)</td>", line) for line in section.split("<tr>")]
    assert [line[1:] for line in lines if line] == [
        ["0.400", "0.430 [0.410, 0.450]", "+0.030", "0.05", "reproduced", "table 1"],
        ["20.000", "", "", "1", "undefined", ""],
        ["0.900", "", "", "0.05", "not measured", ""],
    ]
    without = write_page(results, rows, find_readout("binding"), replace(space, published=()), "").read_text()
    assert 'id="published"' not in without


def test_a_number_that_cells_have_alike_stands_once(tmp_path: Path) -> None:
    _, cells = read(tmp_path)
    numbers = [
        Published(column="object_entropy_bits", value=4.0, tolerance=0.1),
        Published(column="binding_ratio", value=0.4, tolerance=0.1),
    ]
    rows = [row(cell, object_entropy_bits=3.9, binding_ratio=0.1 * at) for at, cell in enumerate(cells)]
    groups = by_place(held_against(rows, numbers, find_readout("binding")))
    assert {place: [line.measured for line in lines] for place, lines in groups.items()} == {
        "2 cells alike": [3.9],
        "shipped:shapes_vit_objects · final · cls · linear": [0.0],
        "shipped:shapes_vit_objects · final · cls · quadratic_concat": [0.1],
    }
    elsewhere = by_place(held_against([rows[0], rows[1] | {"dataset": "others"}], numbers, find_readout("binding")))
    assert list(elsewhere) == [
        "shapes · shipped:shapes_vit_objects · final · cls · linear",
        "others · shipped:shapes_vit_objects · final · cls · quadratic_concat",
    ]


def test_an_empty_or_failed_measure_is_no_reproduction(tmp_path: Path) -> None:
    _, cells = read(tmp_path)
    number = Published(column="object_information_ratio", value=0.4, tolerance=1.0, where=(("probe", "linear"),))
    [undefined] = held_against([row(cells[0], object_information_ratio=None)], [number], find_readout("binding"))
    assert undefined.verdict == "undefined"
    [failed] = held_against([row(cells[0]) | {"status": "failed"}], [number], find_readout("binding"))
    assert failed.verdict == "not measured"


def test_published_numbers_change_no_cell_and_survive_the_resolved_study(tmp_path: Path) -> None:
    space, cells = read(tmp_path)
    _, without = read(tmp_path, STUDY[: STUDY.index("published")])
    assert [cell.cell_id for cell in cells] == [cell.cell_id for cell in without]
    again, _ = read(tmp_path, dump_yaml(space.resolved()))
    assert again.published == space.published


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("column: object_loss_bits", "column: object_los_bits", "no column 'object_los_bits'"),
        ("tolerance: 1.0", "tolerance: -1.0", "must be ≥ 0, got -1.0"),
        ("probe: linear, source", "prob: linear, source", "prob"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        read(tmp_path, STUDY.replace(old, new))
