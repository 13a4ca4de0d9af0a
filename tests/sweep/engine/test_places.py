"""Places that cannot be written are one message, before Ray starts, and nothing is left behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sweep.engine.places import PlaceError, refuse_locked_folders, refuse_unwritable
from sweep.run import main
from tests.sweep.conftest import STUDY

IN_THE_WAY: dict[str, Callable[[Path], object]] = {
    "results": lambda folder: (folder / "results").write_text(""),
    "results/small": lambda folder: ((folder / "results").mkdir(), (folder / "results/small").write_text("")),
    "results/small/rows": lambda folder: (
        (folder / "results/small").mkdir(parents=True),
        (folder / "results/small/samples").write_text(""),
    ),
    "results/small/report.html": lambda folder: (folder / "results/small/report.html").mkdir(parents=True),
    "results/small/lock": lambda folder: (folder / "results/small/lock").mkdir(parents=True),
    "store": lambda folder: (folder / "store").write_text(""),
    "dangling": lambda folder: (folder / "store").symlink_to(folder / "nowhere" / "store"),
}


@pytest.mark.parametrize("make", IN_THE_WAY.values(), ids=IN_THE_WAY)
def test_something_in_the_way_is_one_line(
    make: Callable[[Path], object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.yaml").write_text(STUDY)
    make(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert main(["study.yaml"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "name another place with --" in line or "move it away" in line
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("option", ["--results", "--store"])
@pytest.mark.parametrize("place", ["/proc/x", "/dev/null/x", "/sys/x", f"/tmp/{'x' * 300}", "file:///proc/x"])
def test_what_no_system_lets_anyone_write_is_one_line(
    option: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "study.yaml").write_text(STUDY)
    assert main(["study.yaml", option, place]) == 2
    error = capsys.readouterr().err
    assert place in error
    assert "Traceback" not in error
    assert [path.name for path in tmp_path.iterdir()] == ["study.yaml"]


def test_trying_leaves_nothing_behind_and_touches_nothing(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    before = (tmp_path / "there").stat().st_mode
    refuse_unwritable(tmp_path / "there" / "a" / "b", "")
    refuse_unwritable(tmp_path / "there", "", folders=["rows"], files=["lock"])
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]
    assert (tmp_path / "there").stat().st_mode == before


def test_a_folder_of_a_shared_store_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "ab").write_text("")
    refuse_locked_folders([tmp_path / "cd"], "remedy")
    with pytest.raises(PlaceError, match="ab: cannot be written to; remedy"):
        refuse_locked_folders([tmp_path / "cd", tmp_path / "ab"], "remedy")
