"""Rows as files: what is none is named and stays out, whoever reads; a run moves it away."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from binding.columns import COLUMNS, MEASURES
from frozen.readout.readout import find_readout
from sweep import merge, show, verify
from sweep.report.__main__ import main as report
from sweep.results.directory import CELLS_FILE, LinkError, ResultsDirectory
from sweep.results.rows import KINDS, read_rows
from sweep.results.stored import study_rows
from sweep.results.views import set_aside_damages
from tests.sweep.rows import cell_id, failed_row, sound_row

A, B, C = cell_id("a"), cell_id("b"), cell_id("c")


@pytest.fixture
def results(tmp_path: Path) -> ResultsDirectory:
    """A sound row, and the name of a second one."""
    results = ResultsDirectory(tmp_path / "mine")
    results.write(sound_row("a"))
    return results


def text(content: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(content)


def changed(**changes: object) -> Callable[[Path], object]:
    return text(json.dumps(sound_row("b", **changes)))


def without(*columns: str) -> Callable[[Path], object]:
    return text(json.dumps({name: value for name, value in sound_row("b").items() if name not in columns}))


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (text(""), "is empty"),
    "cut": (text(json.dumps(sound_row("b"))[:200]), "is no JSON or cut off"),
    "bytes": (lambda path: path.write_bytes(b"\xff\xfe\x00"), "is no text"),
    "deep": (text("[" * 100_000), "is nested too deeply"),
    "a list": (text("[1, 2]"), "must be a JSON object, got a list of 2"),
    "a number": (text("7"), "must be a JSON object, got 7"),
    "another cell": (text(json.dumps(sound_row("c"))), f"cell_id: must be that of the file's name, got '{C}'"),
    "no status": (without("status"), "has no column status"),
    "odd status": (changed(status="odd"), "status: must be done or failed, got 'odd'"),
    "no data set": (without("dataset"), "has no column dataset"),
    "no layer": (without("layer"), "has no column layer"),
    "no measure": (without(*(one.column for one in MEASURES)), "has no measure, such as "),
    "text for a number": (changed(binding_ratio="high"), "binding_ratio: must be a finite number, got 'high'"),
    "not finite": (text(json.dumps(sound_row("b", binding_ratio=float("nan")))), "must be a finite number, got nan"),
    "huge": (changed(binding_ratio=10**400), "binding_ratio: must be a finite number"),
    "list of numbers": (changed(flags=[1]), "flags: must be a list of texts, got a list of 1"),
    "no truth": (changed(is_control=0), "is_control: must be true or false, got 0"),
    "a fraction": (changed(layer_index=1.5), "layer_index: must be a whole number, got 1.5"),
    "no object": (changed(hyperparameters_objects="[]"), "hyperparameters_objects: must be a JSON object as text"),
    "failure without error": (text(json.dumps(failed_row("b") | {"error": None})), "error: must be a text, got None"),
    "failure without layer": (text(json.dumps(failed_row("b") | {"layer": 3})), "layer: must be a text, got 3"),
    "folder": (Path.mkdir, "is no regular file"),
    "pipe": (os.mkfifo, "is no regular file"),
    "link": (lambda path: path.symlink_to(path.with_name(f"{A}.json")), "is a link"),
    "dangling link": (lambda path: path.symlink_to("nowhere"), "is a link"),
    "gigantic": (lambda path: (path.touch(), os.truncate(path, 1 << 30)), "has 1,073,741,824 bytes"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_no_row_is_named_and_the_others_are_read(damage: str, results: ResultsDirectory) -> None:
    make, reason = DAMAGES[damage]
    path = results.root / "rows" / f"{B}.json"
    make(path)
    found = read_rows(results.root)
    assert found.rows == {A: sound_row("a")}
    (named,) = found.damages
    assert (named.path, named.cell) == (path, B)
    assert reason in str(named)


@pytest.mark.parametrize("name", [f"._{B}.json", "notes.json", f".{B}.json.12.tmp", f"{B}.json.bak", f"{B[:8]}.json"])
def test_files_that_are_not_named_after_a_cell_are_not_ours(name: str, results: ResultsDirectory) -> None:
    (results.root / "rows" / name).write_bytes(b"\x00\x05\x16\x07")
    found = read_rows(results.root)
    assert list(found.rows) == [A]
    assert not found.damages


def test_rows_of_other_versions_and_readouts_are_read_as_far_as_they_are_known(results: ResultsDirectory) -> None:
    old = {name: value for name, value in sound_row("b", schema_version=1).items() if name not in COLUMNS}
    results.write(old)
    results.write(sound_row("c", readout="of_nobody"))
    assert set(read_rows(results.root).rows) == {A, B, C}


def test_every_column_of_the_readout_has_a_kind() -> None:
    readout = find_readout("binding")
    assert list(readout.column_kinds) == [*readout.grid_columns, *readout.columns]
    assert {kind.removesuffix("?") for kind in readout.column_kinds.values()} <= set(KINDS)


def test_every_command_names_what_is_damaged_and_goes_on(results: ResultsDirectory, capsys, tmp_path: Path) -> None:
    (results.root / "rows" / f"{B}.json").write_text("")
    os.mkfifo(results.root / "rows" / f"{C}.json")
    said = f"damaged, and treated as missing: {results.root}/rows/{B}.json: is empty"
    assert show.main([str(results.root)]) == 0
    out = capsys.readouterr().out
    assert "1 cells: 1 done, 0 failed" in out
    assert said in out
    assert report([str(results.root)]) == 0
    assert said in capsys.readouterr().err
    assert "treated as missing" in (results.root / "report.html").read_text()
    other = ResultsDirectory(tmp_path / "other")
    other.write(sound_row("b"))
    assert merge.main([str(results.root), str(other.root)]) == 0
    assert said in capsys.readouterr().err
    assert set(results.rows()) == {A, B}
    assert (results.root / "damaged" / f"{B}.json").read_text() == "", "what made room for the row is kept"


def test_only_damage_is_no_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / f"{A}.json").write_text("{}")
    for command in (show.main, verify.main):
        assert command([str(tmp_path)]) == 2
        assert f"{A}.json: cell_id: must be" in capsys.readouterr().err


def test_a_run_moves_damage_away_and_keeps_all_of_it(results: ResultsDirectory) -> None:
    assert set_aside_damages(results) is None
    for content in ("", "[]"):
        (results.root / "rows" / f"{B}.json").write_text(content)
        assert set_aside_damages(results) == f"set aside in {results.root}/damaged: 1 damaged row"
    results.write(sound_row("b"))
    assert {path.name: path.read_text() for path in (results.root / "damaged").iterdir()} == {
        f"{B}.json": "",
        f"{B}.2.json": "[]",
    }
    assert results.files_of(B) == [results.root / "rows" / f"{B}.json"]


@pytest.mark.parametrize(
    "name", ["rows", "samples", "curves", "suggestions", "probes", "details", "tensorboard", "tune"]
)
def test_linked_folders_are_not_followed(name: str, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / name).symlink_to(tmp_path / "elsewhere")
    results = ResultsDirectory(tmp_path / "mine")
    for use in (lambda: results.write(sound_row("a")), results.refuse_if_busy, results.locked().__enter__):
        with pytest.raises(LinkError, match=f"{name} is a link, and what is written there would land elsewhere"):
            use()
    with pytest.raises(LinkError):
        results.refuse_unwritable("name another place")
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("name", ["lock", "optuna.journal", "mlflow.db"])
def test_files_that_are_written_in_place_are_no_links(name: str, results: ResultsDirectory, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    (results.root / name).symlink_to(tmp_path / "precious")
    with pytest.raises(LinkError, match=f"{name} is a link"), results.locked():
        pass
    assert (tmp_path / "precious").read_text() == "mine"


def test_the_results_directory_itself_may_be_a_link(results: ResultsDirectory, tmp_path: Path) -> None:
    (tmp_path / "shortcut").symlink_to(results.root)
    linked = ResultsDirectory(tmp_path / "shortcut")
    with linked.locked():
        linked.write(sound_row("b"))
    assert set(results.rows()) == {A, B}


def test_rows_of_other_settings_stay_out_and_are_counted(results: ResultsDirectory, capsys) -> None:
    results.write(sound_row("b"))
    results.write(failed_row("c"))
    results.write_text(CELLS_FILE, json.dumps([A, cell_id("d")]))
    study = study_rows(results.root)
    assert (list(study.rows), list(study.foreign), study.cells) == ([A], [B, C], [A, cell_id("d")])
    assert show.main([str(results.root)]) == 0
    out = capsys.readouterr().out
    assert "1 cells: 1 done, 0 failed, 1 missing" in out
    assert "left out: 2 rows of other settings" in out
    assert show.main([str(results.root), "--cell", B[:8]]) == 0
    assert f"cell {B}, done, of other settings" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["", "{}", "[1]", "[" * 100_000])
def test_a_damaged_list_of_cells_leaves_no_row_out(content: str, results: ResultsDirectory) -> None:
    results.write_text(CELLS_FILE, content)
    study = study_rows(results.root)
    assert (list(study.rows), study.cells) == ([A], None)


def test_rows_from_before_a_column_was_added_are_sound(results: ResultsDirectory) -> None:
    without("seen_share")(results.root / "rows" / f"{B}.json")
    assert set(results.rows()) == {A, B}
