"""`python -m sweep.report`."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import duckdb
import pandas as pd
import polars as pl
import pytest

from frozen.readout.readout import find_readout
from sweep.report import __main__ as command_module
from sweep.report.__main__ import main
from sweep.results.columns import all_columns
from sweep.results.directory import CELLS_FILE, ResultsDirectory
from sweep.study.load import dump_yaml, load_study
from tests.sweep.rows import cell_id, sound_row

STUDY = """
name: small
datasets:
  - name: shapes
    scene: colorshape
    n_colors: 2
    n_shapes: 2
    max_objects: 2
    image_size: 64
    object_size: 12
    split: {train: 8, validation: 8, test: 8}
backbones: ["shipped:shapes_vit_objects"]
layers: [final]
modes: [cls]
probes: [{family: linear}]
"""


def row(name: str, layer: str, **columns: object) -> dict[str, object]:
    readout = find_readout("binding")
    numbers = dict.fromkeys((name for name in readout.columns if name.endswith(("_bits", "_low", "_high"))), 1.5)
    ratios = {measure.column: 0.5 for measure in readout.measures if measure.unit == "ratio"}
    place = {"dataset": "shapes", "backbone": "b", "layer": layer, "flags": ["range_edge"], "n_seeds": 2}
    return sound_row(name, **place, **numbers | ratios | columns)


@pytest.fixture
def results(tmp_path) -> ResultsDirectory:
    (tmp_path / "study.yaml").write_text(STUDY)
    results = ResultsDirectory(tmp_path / "results" / "small")
    results.write_text("study.yaml", dump_yaml(load_study(tmp_path / "study.yaml").resolved()))
    results.write_text(CELLS_FILE, json.dumps([cell_id(name) for name in "abc"]))
    results.write(row("a", "1"))
    results.write(row("stray", "9"))
    return results


@pytest.mark.parametrize(("option", "kind"), [("--figures", "svg"), ("--tables", "csv")])
def test_nothing_is_written_through_a_folder_that_is_a_link(
    results, tmp_path, capsys, option: str, kind: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (results.root / option.removeprefix("--")).symlink_to(elsewhere)
    assert main([str(results.root), option, kind]) == 2
    assert "must be a folder, and is none; move it away" in capsys.readouterr().err
    assert list(elsewhere.iterdir()) == []


def test_a_report_while_the_study_runs(results, capsys) -> None:
    with results.locked():
        assert main([str(results.root)]) == 0
    text = (results.root / "report.html").read_text()
    assert "1 of 3 cells so far" in text
    assert "left out: 1 row of other settings" in text
    assert "Scenes of shapes" in text
    assert "Bits budget" in text
    assert "report of 1 of 3 cells: file://" in capsys.readouterr().out


def test_rows_without_their_study_are_reported(results, tmp_path) -> None:
    (results.root / CELLS_FILE).unlink()
    (results.root / "study.yaml").write_text("name: [")
    assert main([str(results.root), "--output", str(tmp_path / "r.html")]) == 0
    text = (tmp_path / "r.html").read_text()
    assert "The study cannot be read" in text
    assert "2 cells of 1 backbone" in text
    assert not (results.root / "report.html").exists()


def test_figures_and_tables(results) -> None:
    assert main([str(results.root), "--figures", "svg", "--tables", "markdown,csv"]) == 0
    assert (results.root / "figures" / "layer_curves_binding_ratio.svg").is_file()
    assert "Study small, 2 seeds a cell" in (results.root / "tables" / "results.md").read_text()
    assert (results.root / "tables" / "results.csv").is_file()


def test_where_there_are_no_results(results, tmp_path, capsys) -> None:
    assert main([str(results.root.parent)]) == 2
    assert f"did you mean {results.root.as_posix()}?" in capsys.readouterr().err
    assert main([str(tmp_path / "none")]) == 2
    assert "no such folder" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([str(results.root), "--figures", "pdf,gif"])
    assert "must be some of pdf,svg,png, got 'pdf,gif'" in capsys.readouterr().err


def test_watching_follows_the_rows(results, monkeypatch, capsys) -> None:
    def wait(_: float) -> None:
        if cell_id("b") in results.rows():
            raise KeyboardInterrupt
        results.write(row("b", "2"))

    monkeypatch.setattr(command_module.time, "sleep", wait)
    assert main([str(results.root), "--watch"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in said] == ["report of 1 of 3 cells", "report of 2 of 3 cells"]


@pytest.mark.slow
def test_watching_in_a_process_of_its_own(results) -> None:
    command = [sys.executable, "-m", "sweep.report", str(results.root), "--watch"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert "1 of 3 cells" in process.stdout.readline()
            results.write(row("b", "2"))
            assert "2 of 3 cells" in process.stdout.readline()
        finally:
            process.kill()


def test_a_row_that_comes_while_the_report_is_written_is_not_missed(results, monkeypatch) -> None:
    write, pages = command_module.write_page, []

    def write_page(*arguments, **options):
        pages.append(len(arguments[1]))
        if len(pages) == 2:
            raise KeyboardInterrupt
        results.write(row("b", "2"))
        return write(*arguments, **options)

    monkeypatch.setattr(command_module, "write_page", write_page)
    assert main([str(results.root), "--watch"]) == 0
    assert pages == [1, 2]


def test_everybody_reads_the_table(results) -> None:
    readout = find_readout("binding")
    columns = all_columns(readout)
    path = str(results.write_table([row("a", "1"), row("b", "2", binding_ratio=None)], columns))
    tables = {
        "pandas": pd.read_parquet(path),
        "polars": pl.read_parquet(path).to_pandas(),
        "duckdb": duckdb.sql(f"select * from '{path}'").df(),
    }
    for table in tables.values():
        assert list(table.columns) == list(columns)
        assert list(table["cell_id"]) == [cell_id("a"), cell_id("b")], "one row a measurement"
        assert table["binding_ratio"][0] == 0.5
        assert math.isnan(table["binding_ratio"][1])
        assert list(table["flags"][0]) == ["range_edge"]
