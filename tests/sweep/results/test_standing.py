"""When tables and reports are made again, and when they are left."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sweep.results.standing import code_of, note_views, views_stand

EVERY_RUN = ("lock", "lock.json", "study.yaml", "cells.json", "published.csv")
FILES = ("rows/a.json", "samples/a.parquet", "results.csv", "report.html", *EVERY_RUN)
TEXTS = ["name: small", "a", "b"]
CODE = """
class Maker:
    pass
"""


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A folder of results whose views were just made."""
    folder = tmp_path / "small"
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    note_views(folder, TEXTS)
    return folder


def test_views_stand_until_something_changes(results: Path) -> None:
    assert views_stand(results, TEXTS)


def test_what_every_run_writes_changes_nothing(results: Path) -> None:
    for name in EVERY_RUN:
        (results / name).write_text(f"{name} again")
    assert views_stand(results, TEXTS)


def _later(path: Path) -> None:
    now = path.stat().st_mtime_ns
    os.utime(path, ns=(now, now + 1))


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "rows" / "b.json").write_text("{}"),
        lambda folder: (folder / "rows" / "a.json").unlink(),
        lambda folder: _later(folder / "samples" / "a.parquet"),
        lambda folder: (folder / "report.html").unlink(),
        lambda folder: (folder / "results.csv").write_text("cut"),
        lambda folder: (folder / ".views").unlink(),
    ],
    ids=["new row", "row gone", "new samples", "report gone", "table cut", "no note"],
)
def test_a_file_that_changes_has_them_made_again(results: Path, change: Callable[[Path], object]) -> None:
    change(results)
    assert not views_stand(results, TEXTS)


@pytest.mark.parametrize("texts", [["name: large", "a", "b"], ["name: small", "a"], ["name: small", "ab"]])
def test_so_does_another_study(results: Path, texts: list[str]) -> None:
    assert not views_stand(results, texts)


@pytest.mark.parametrize("place", ["maker_alone.py", "makers/maker_inside.py"])
def test_so_does_other_code_of_a_readout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    module, name = tmp_path / "code" / place, place.removesuffix(".py").replace("/", ".")
    module.parent.mkdir(parents=True)
    module.write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path / "code")
    __import__(name)
    maker = sys.modules[name].Maker()
    before = code_of([maker])
    (tmp_path / "code" / "other.py").write_text("")  # not of its package
    assert code_of([maker]) == before != code_of([])
    module.write_text(CODE + "# changed")
    assert code_of([maker]) != before


def test_a_file_that_others_are_writing_is_no_change(results: Path) -> None:
    (results / ".comparison.csv.0123.tmp").write_text("half")
    assert views_stand(results, TEXTS)


def test_a_note_replaces_a_link_and_where_it_cannot_be_written_views_are_made_again(results: Path) -> None:
    victim = results.parent / "victim"
    victim.write_text("kept")
    (results / ".views").unlink()
    (results / ".views").symlink_to(victim)
    note_views(results, TEXTS)
    assert victim.read_text() == "kept"
    assert views_stand(results, TEXTS)
    (results / ".views").unlink()
    (results / ".views").mkdir()
    (results / ".views" / "full").touch()
    note_views(results, TEXTS)
    assert not views_stand(results, TEXTS)
