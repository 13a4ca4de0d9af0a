"""Results directories in the terminal, and two of them joined: nothing lost, conflicts named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from sweep import merge, show
from sweep.results.directory import ResultsDirectory
from tests.sweep.rows import cell_id, failed_row, sound_row

ROW: dict[str, Any] = {
    "study": "mine",
    "binding_ratio": 0.5,
    "binding_ratio_low": 0.4,
    "binding_ratio_high": 0.625,
    "hyperparameters_objects": json.dumps({"family": "linear", "learning_rate": 0.123456}),
    "best_epoch_objects": [3, 2],
    "flags": ["range_edge"],
    "wall_s": 1.0,
}
CURVES = pa.table(
    {"target": ["objects"] * 3, "seed": [0] * 3, "epoch": [1, 2, 3], "train_bits": [1.0] * 3}
    | {"validation_bits": [4.0, 2.5, 1.0]}
)
FAILED = {"error": "OutOfMemoryError: 3 GB\nTraceback [red]"}


def directory(folder: Path, **rows: dict[str, Any]) -> Path:
    results = ResultsDirectory(folder)
    for name, changes in rows.items():
        if changes is FAILED:
            results.write(failed_row(name, FAILED["error"]))
        else:
            files = {"probes.safetensors": name.encode()}
            results.write(sound_row(name, **ROW | changes), pa.table({"bits": [1.0]}), CURVES, files=files)
    return folder


def test_an_overview_counts_and_names_failures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = directory(tmp_path / "a", abc1={}, abd2=FAILED)
    assert show.main([str(folder)]) == 0
    out = capsys.readouterr().out
    assert "2 cells: 1 done, 1 failed\n" in out
    assert "shapes[n=2]" in out
    assert "abd20000  shapes[n=2] · shipped:vit · 2 · cls · linear: OutOfMemoryError: 3 GB" in out


def test_a_cell_tells_its_story(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = directory(tmp_path / "a", abc1={}, abd2=FAILED)
    assert show.main([str(folder), "--cell", "abc"]) == 0
    out = capsys.readouterr().out
    assert "0.5 [0.4, 0.625]  β*" in out
    assert "objects: family linear, learning_rate 0.1235; best epoch of each seed [3, 2]" in out
    assert "█▅▁  4 → 1" in out
    assert "range_edge: A tuned hyper-parameter ended " in out
    assert f"probes/{cell_id('abc1')}.safetensors  4 bytes" in out
    assert show.main([str(folder), "--cell", "abd2"]) == 0
    assert "Traceback [red]" in capsys.readouterr().out


@pytest.mark.parametrize(("prefix", "message"), [("x", "no cell begins with 'x'"), ("ab", "2 cells begin with 'ab'")])
def test_cells_that_cannot_be_told(prefix: str, message: str, tmp_path: Path, capsys: Any) -> None:
    assert show.main([str(directory(tmp_path / "a", abc1={}, abd2={})), "--cell", prefix]) == 2
    assert message in capsys.readouterr().err


def test_no_results_is_a_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert show.main([str(tmp_path / "nowhere")]) == 2
    assert "holds no rows" in capsys.readouterr().err
    assert not (tmp_path / "nowhere").exists()


def contents(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != "lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def test_cells_are_added_with_all_their_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = directory(tmp_path / "a", both={}, retried=FAILED, lost={})
    second = directory(tmp_path / "b", both={"wall_s": 9.0}, retried={}, lost=FAILED, new={}, broken=FAILED)
    before, other = contents(first), contents(second)
    assert merge.main([str(first), str(second)]) == 0
    assert capsys.readouterr().out == "3 cells added, 1 equal, 1 failed in the second only\n"
    after = contents(first)
    assert set(after) == set(before) | {name for name in other if cell_id("lost") not in name}
    for name, content in after.items():
        from_second = any(cell_id(cell) in name for cell in ("new", "retried", "broken"))
        assert content == (other if from_second else before)[name], name
    assert contents(second) == other


def test_a_new_directory_holds_both(tmp_path: Path) -> None:
    first, second = directory(tmp_path / "a", one={}), directory(tmp_path / "b", two={})
    before = contents(first)
    assert merge.main([str(first), str(second), "--into", str(tmp_path / "c")]) == 0
    assert contents(tmp_path / "c") == before | contents(second)
    assert contents(first) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]


def test_two_results_of_a_cell_are_named_and_nothing_is_written(tmp_path: Path, capsys: Any) -> None:
    first = directory(tmp_path / "a", one={})
    second = directory(tmp_path / "b", one={"binding_ratio": 0.6, "wall_s": 5.0}, two={})
    before = contents(first)
    assert merge.main([str(first), str(second), "--into", str(tmp_path / "c")]) == 1
    assert f"two results of cell {cell_id('one')}: binding_ratio\n" in capsys.readouterr().err
    assert merge.main([str(first), str(second)]) == 1
    assert contents(first) == before
    assert not (tmp_path / "c").exists()


def test_wrong_directories_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = directory(tmp_path / "a", one={}), directory(tmp_path / "b", two={})
    for arguments, message in {
        (str(first), str(tmp_path / "no")): "holds no rows",
        (str(first), str(first)): "the same directory",
        (str(first), str(second), "--into", str(second)): "is there already",
    }.items():
        assert merge.main(arguments) == 2
        assert message in capsys.readouterr().err
    with ResultsDirectory(second).locked():
        assert merge.main([str(first), str(second)]) == 2
        assert "is in use by process" in capsys.readouterr().err
