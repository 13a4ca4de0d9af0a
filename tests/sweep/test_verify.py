"""`python -m sweep.verify` and `python -m sweep.compare` on results of a real measurement, and on tampered ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from frozen.readout.readout import find_readout
from sweep import compare, verify
from sweep.engine.again import measured_again
from sweep.engine.grid import make_grid
from sweep.results.columns import all_columns, identity_columns
from sweep.results.directory import ResultsDirectory
from sweep.study.load import dump_yaml, load_study, locate_in

STUDY = """\
name: tiny
datasets:
  - {name: shapes, scene: colorshape, n_colors: 2, n_shapes: 2, max_objects: 4, image_size: 64, object_size: 12,
     split: {policy: independent, train: 300, validation: 150, test: 200}}
  - {name: fewer, scene: colorshape, n_colors: 2, n_shapes: 2, max_objects: 3, image_size: 64, object_size: 12,
     split: {policy: independent, train: 100, validation: 50, test: 60}}
controls: [oracle_objects, noise]
layers: all
modes: [cls]
probes: [{family: linear, learning_rate: 0.5}]
fit: {epochs: 3, batch_size: 128}
search: {suggestions: 1}
intervals: {resamples: 200}
extras: [selectivity, mdl, orders]
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of a study of four cells. Not to be changed by a test."""
    folder = tmp_path_factory.mktemp("verify")
    study = folder / "tiny.yaml"
    study.write_text(STUDY)
    space, locate, readout = load_study(study), locate_in(study), find_readout("binding")
    results = ResultsDirectory(folder / "results" / "tiny")
    results.write_text("study.yaml", dump_yaml(space.resolved()))
    grid, parts = make_grid(space, readout, locate), ({"binding": space}, {"binding": locate}, {"binding": readout})
    for cell in grid.cells:
        columns, outcome = measured_again(cell, grid, *parts, folder / "store", fresh=False)
        row = {**identity_columns(cell), "status": "done", "error": None, **columns}
        results.write(row, outcome.samples, outcome.curves)
    results.write_table(results.rows().values(), all_columns(readout))
    return results.root


@pytest.fixture
def results(measured: Path, tmp_path: Path) -> Path:
    """A copy to tamper with."""
    return Path(shutil.copytree(measured, tmp_path / "tiny"))


def cells_of(results: Path, **where: str) -> list[str]:
    rows = [json.loads(path.read_text()) for path in sorted((results / "rows").glob("*.json"))]
    return [row["cell_id"] for row in rows if all(row[name] == value for name, value in where.items())]


def check(results: Path, *arguments: str) -> int:
    return verify.main([str(results), "--store", str(results / "no store"), *arguments])


def test_untouched_results_are_equal_from_losses_and_from_scratch(
    measured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(measured, "--cells", "2") == 0
    output = capsys.readouterr().out
    assert output.count("equal") == 2
    assert "differ" not in output


@pytest.mark.parametrize("column", ["binding_ratio", "object_loss_bits_high", "seed_spread_bits"])
def test_a_tampered_row_is_found(results: Path, column: str, capsys: pytest.CaptureFixture[str]) -> None:
    cell = cells_of(results)[0]
    path = results / "rows" / f"{cell}.json"
    row = json.loads(path.read_text())
    path.write_text(json.dumps({**row, column: row[column] + 0.01}))
    assert check(results, "--cells", "0") == 1
    assert f"{column}: stored" in capsys.readouterr().out


def test_a_flag_taken_away_is_found(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flagged = [cell for cell in cells_of(results) if "objects_probe_excess" in _row(results, cell)["flags"]]
    path = results / "rows" / f"{flagged[0]}.json"
    path.write_text(json.dumps({**_row(results, flagged[0]), "flags": []}))
    assert check(results, "--cells", "0") == 1
    assert "flags: stored []" in capsys.readouterr().out


def _row(results: Path, cell: str) -> dict:
    return json.loads((results / "rows" / f"{cell}.json").read_text())


def test_a_tampered_loss_is_found(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cell = cells_of(results)[0]
    path = results / "samples" / f"{cell}.parquet"
    table = pq.read_table(path)
    bits = table["bits"].to_numpy().copy()
    bits[7] += 0.001
    pq.write_table(table.set_column(table.column_names.index("bits"), "bits", pa.array(bits)), path)
    assert check(results, "--cells", "0") == 1
    output = capsys.readouterr().out
    assert f"{cell}  {_row(results, cell)['dataset']}" in output
    assert "_loss_bits: stored" in output


@pytest.mark.parametrize("damage", ["missing", "cut", "fewer rows"])
def test_damaged_samples_are_found(results: Path, damage: str, capsys: pytest.CaptureFixture[str]) -> None:
    cell = cells_of(results)[1]
    path = results / "samples" / f"{cell}.parquet"
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:100])
    else:
        pq.write_table(pq.read_table(path).slice(3), path)
    assert check(results, "--cells", "0") == 1
    assert f"{cell}" in capsys.readouterr().out


def test_a_tampered_table_is_found(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = pd.read_parquet(results / "results.parquet")
    table.loc[0, "binding_ratio"] += 0.1
    table.to_parquet(results / "results.parquet")
    assert check(results, "--cells", "0") == 1
    assert "binding_ratio (results.parquet)" in capsys.readouterr().out


def test_a_table_that_was_never_made_is_no_difference(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (results / "results.parquet").unlink()
    assert check(results, "--cells", "0") == 0
    assert "no results.parquet to check; a run of the study makes it" in capsys.readouterr().out


def test_rows_and_losses_that_were_changed_together_do_not_come_out_from_scratch(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A cell whose losses are another's, with all aggregates to match, is only found by measuring again."""
    one, other = cells_of(results, dataset="shapes")
    first, second = _row(results, one), _row(results, other)
    kept = ("cell_id", "backbone", "data_fingerprint", "layer")
    (results / "rows" / f"{one}.json").write_text(json.dumps({**second, **{name: first[name] for name in kept}}))
    shutil.copy(results / "samples" / f"{other}.parquet", results / "samples" / f"{one}.parquet")
    (results / "results.parquet").write_bytes(b"")
    assert check(results, "--cells", "4") == 1
    assert "object_loss_bits: stored" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["nowhere"], ["."]])
def test_a_folder_without_results_is_a_users_mistake(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert verify.main(arguments) == 2
    assert compare.main([*arguments, "--all"]) == 2
    assert "has no done cells" in capsys.readouterr().err


def test_the_same_study_and_seed_give_identical_rows(measured: Path, tmp_path: Path) -> None:
    """To the last bit: row, losses of every sample, learning curves, from activations extracted anew."""
    study = tmp_path / "tiny.yaml"
    study.write_text(STUDY)
    space, locate, readout = load_study(study), locate_in(study), find_readout("binding")
    stored = ResultsDirectory(measured)
    grid, parts = make_grid(space, readout, locate), ({"binding": space}, {"binding": locate}, {"binding": readout})
    cells = grid.cells
    assert {cell.cell_id for cell in cells} == set(stored.rows())
    cell = cells[0]
    columns, outcome = measured_again(cell, grid, *parts, tmp_path / "store", fresh=True)
    row = stored.row(cell.cell_id)
    assert {name: row[name] for name in columns} == columns
    assert {name: row[name] for name in identity_columns(cell)} == identity_columns(cell)
    assert outcome.samples.equals(pq.read_table(measured / "samples" / f"{cell.cell_id}.parquet"))
    assert outcome.curves.equals(stored.curves(cell.cell_id))


def test_two_cells_are_compared_on_the_same_samples(measured: Path, tmp_path: Path) -> None:
    oracle, noise = (cells_of(measured, dataset="shapes", backbone=name)[0] for name in ("oracle_objects", "noise"))
    out = tmp_path / "table.json"
    assert compare.main([str(measured), oracle[:8], noise, "--json", str(out)]) == 0
    lines = {line["measure"]: line for line in json.loads(out.read_text())}
    readout = find_readout("binding")
    offered = (*readout.measures, *readout.extra_measures)  # the study asks for the extras, for no maps and no heads
    without = {"lost_bits", "kept_share", "over_random_bits", "leave_one_out_bits"}
    assert set(lines) == {measure.column for measure in offered} - without
    for column in ("selectivity_bits", "description_length_bits"):
        difference = _row(measured, oracle)[column] - _row(measured, noise)[column]
        assert lines[column]["difference"] == pytest.approx(difference)
        assert lines[column]["difference_low"] < difference < lines[column]["difference_high"]
    assert lines["description_length_bits"]["p_value"] < 0.01
    ratio = lines["binding_ratio"]
    assert ratio["difference"] == pytest.approx(
        _row(measured, oracle)["binding_ratio"] - _row(measured, noise)["binding_ratio"]
    )
    assert ratio["difference_low"] < ratio["difference"] < ratio["difference_high"]
    assert ratio["difference_low"] > 0
    assert ratio["p_value"] == ratio["p_holm"] < 0.01


def test_a_whole_table_is_corrected_and_pairs_stay_within_a_data_set(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "table.csv"
    assert compare.main([str(measured), "--all", "--measure", "direct_loss_bits", "--csv", str(out)]) == 2
    assert "there is no measure direct_loss_bits" in capsys.readouterr().err
    assert compare.main([str(measured), "--all", "--measure", "binding_ratio", "--csv", str(out)]) == 0
    table = pd.read_csv(out)
    assert len(table) == 2  # one pair in each data set
    assert (table.p_holm >= table.p_value).all()
    assert (table.p_holm <= 1).all()


def test_a_long_table_is_sorted_cut_named_and_written_whole(
    measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results"
    shutil.copytree(measured, results)
    monkeypatch.setattr(compare, "_MOST_SHOWN", 1)
    assert compare.main([str(results), "--all", "--measure", "binding_ratio", "--resamples", "100"]) == 0
    said = capsys.readouterr()
    assert (
        f"1 of 2 differences are shown, the largest of each measure; all are in {results}/comparison.csv" in said.out
    )
    assert "comparing 1 pair of 2 cells on shapes\n" in said.err
    table = pd.read_csv(results / "comparison.csv")
    assert table.difference.abs().is_monotonic_decreasing
    assert len(table) == 2
    for name, cell in (
        *zip(table.one_name, table.one, strict=True),
        *zip(table.other_name, table.other, strict=True),
    ):
        assert str(_row(measured, cell)["backbone"]) in name
        assert cell[:8] not in name


def test_an_interrupted_comparison_is_quiet(
    measured: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(compare, "_differences", interrupted)
    assert compare.main([str(measured), "--all"]) == 130
    assert "interrupted; nothing was written" in capsys.readouterr().err
    assert not (measured / "comparison.csv").exists()


def test_cells_of_different_samples_are_refused(measured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = (cells_of(measured, dataset=name)[0] for name in ("shapes", "fewer"))
    assert compare.main([str(measured), one, other]) == 2
    assert "not on the same samples" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name two or more cells, or say --all"),
        (["zzz", "yyy"], "no done cell whose id begins with 'zzz'"),
        (["", "zzz"], "several cells whose id begins with ''"),
        (["--all", "--where", "probe"], "must be COLUMN=VALUE"),
        (["--all", "--where", "probe=none"], "no two done cells"),
        (["--all", "--level", "2"], "level: must lie strictly between 0 and 1"),
    ],
)
def test_wrong_arguments_are_explained(
    measured: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare.main([str(measured), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_cell_compared_with_its_equal_differs_by_nothing(measured: Path) -> None:
    cell = _row(measured, cells_of(measured)[0])
    samples = pq.read_table(measured / "samples" / f"{cell['cell_id']}.parquet")
    from frozen.intervals import IntervalConfig

    found = find_readout("binding").compare(
        {"a": (cell, samples), "b": (cell, samples)},
        [("a", "b")],
        ["binding_ratio"],
        IntervalConfig(resamples=200),
        seed=0,
    )
    assert np.allclose(found[0].difference, 0.0)
    assert found[0].p_value == 1.0
