"""Results of several read-outs: rows in the folder of each, one view of all."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweep.results.directory import BusyError, ResultsDirectory
from sweep.results.joint import JointResults
from sweep.results.stored import study_folders, study_rows
from tests.sweep.rows import cell_id, failed_row, sound_row

NAMES = ("binding", "captions")


@pytest.fixture
def results(tmp_path: Path) -> JointResults:
    return JointResults(ResultsDirectory(tmp_path / "both"), NAMES)


CAPTIONS = {"readout": "captions", "layer": "final", "layer_index": 6, "depth_fraction": None, "translator": "none"}


def test_a_row_lies_in_the_folder_of_its_readout(results: JointResults, tmp_path: Path) -> None:
    results.write(sound_row("a"))
    results.write(failed_row("b", **CAPTIONS))
    ids = [cell_id(name) for name in "ab"]
    assert (tmp_path / "both" / "binding" / "rows" / f"{ids[0]}.json").is_file()
    assert (tmp_path / "both" / "captions" / "rows" / f"{ids[1]}.json").is_file()
    assert list(results.rows()) == ids
    assert [results.row(cell)["readout"] for cell in ids] == list(NAMES)
    assert list(results.rows_of([ids[1], "none"])) == [ids[1]]


def test_the_folder_of_a_readout_is_that_of_a_study_of_its_own(results: JointResults) -> None:
    results.write(sound_row("a"))
    results.write(failed_row("b", **CAPTIONS))
    assert list(study_rows(results.part("binding").root).rows) == [cell_id("a")]
    assert study_folders(results.root) == [results.root]  # the folder of several studies
    results.write_text("study.yaml", "name: both")
    assert study_folders(results.root) == [results.part(name).root for name in NAMES]
    assert study_folders(results.part("binding").root) == [results.part("binding").root]


def test_damaged_rows_of_all_are_found_and_set_aside_where_they_were(results: JointResults) -> None:
    results.write(sound_row("a"))
    results.part("binding").write(sound_row("c"))
    path = results.part("binding").root / "rows" / f"{cell_id('c')}.json"
    path.write_text("{")
    assert [damage.path for damage in results.read().damages] == [path]
    moved = results.set_aside(results.read().damages[0])
    assert moved.parent == results.part("binding").root / "damaged"
    assert not results.read().damages


def test_one_lock_holds_all(results: JointResults) -> None:
    again = JointResults(ResultsDirectory(results.root), NAMES)
    with results.locked(), pytest.raises(BusyError, match="in use"):
        again.refuse_if_busy()
    again.refuse_if_busy()
