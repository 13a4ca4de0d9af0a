"""Paths of a study: opened relative to its folder, known by what is written."""

from __future__ import annotations

import copy
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from frozen.paths import StudyPath
from frozen.readout.cells import Cell
from frozen.readout.readout import find_readout
from frozen.readout.study import Study
from sweep.engine.grid import make_grid
from sweep.results.columns import identity_columns
from sweep.study.load import dump_yaml, load_study, locate_in
from sweep.study.paths import study_path

STUDY = """\
name: moved
datasets:
  - {name: mine, scene: files, table: {grid: [tables/a.csv, tables/../tables/b.csv]}, images: ., groups: [color]}
backbones:
  - {source: "activations:vectors/{split}.npz", tokens: {grid: [0, 0]}}
  - {source: shipped:shapes_vit_objects}
controls: [random_init, shuffled, noise]
layers: all
modes: [cls]
probes: [{family: linear}]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a study, its tables and its activations."""
    folder = tmp_path / "first"
    for name in ("tables", "vectors"):
        (folder / name).mkdir(parents=True)
    for table in ("a", "b"):
        (folder / "tables" / f"{table}.csv").write_text("image,color\nx.png,red\ny.png,blue\n")
    for split in ("train", "validation", "test"):
        np.savez(folder / "vectors" / f"{split}.npz", **{"0": np.zeros((2, 3), np.float32)})
    (folder / "study.yaml").write_text(STUDY)
    return folder


def cells_of(path: Path) -> tuple[Study, tuple[Cell, ...]]:
    study = load_study(path)
    return study, make_grid(study, find_readout("binding"), locate_in(path)).cells


def ids(path: Path) -> list[str]:
    return [cell.cell_id for cell in cells_of(path)[1]]


def rows(path: Path) -> str:
    return json.dumps([identity_columns(cell) for cell in cells_of(path)[1]])


def test_a_study_keeps_its_cells_in_a_moved_copied_or_linked_folder(folder: Path, tmp_path: Path) -> None:
    first = ids(folder / "study.yaml")
    assert len(set(first)) == len(first) > 6
    shutil.copytree(folder, tmp_path / "deeper" / "second")
    (tmp_path / "link").symlink_to(folder)
    for other in ("deeper/second", "link"):
        assert ids(tmp_path / other / "study.yaml") == first
    changed = tmp_path / "deeper" / "second" / "study.yaml"
    (changed.parent / "tables").rename(changed.parent / "lists")
    changed.write_text(STUDY.replace("tables/", "lists/"))
    assert set(ids(changed)).isdisjoint(first[:-2])


def test_rows_say_paths_as_they_are_written(folder: Path) -> None:
    text = rows(folder / "study.yaml")
    assert str(folder.parent) not in text
    for said in ("activations:vectors/{split}.npz", "shuffled:activations:", '\\"tables/b.csv\\"'):
        assert said in text


def test_the_study_in_the_results_opens_the_same_files_and_has_the_same_cells(folder: Path, tmp_path: Path) -> None:
    study, cells = cells_of(folder / "study.yaml")
    results = folder / "results" / "moved"
    results.mkdir(parents=True)
    (results / "study.yaml").write_text(dump_yaml(study.resolved_in(results)))
    shutil.move(folder, tmp_path / "second")
    again, found = cells_of(tmp_path / "second" / "results" / "moved" / "study.yaml")
    assert [cell.cell_id for cell in found] == [cell.cell_id for cell in cells]
    assert again.datasets[0].config.size("train") is not None
    assert again.backbones[0].source == f"activations:{tmp_path}/second/vectors/{{split}}.npz"
    elsewhere = load_study(tmp_path / "second" / "study.yaml").resolved_in(None)
    assert elsewhere["folder"] == str(tmp_path / "second")


def test_a_study_without_paths_says_nothing_of_its_folder(folder: Path) -> None:
    path = folder / "plain.yaml"
    path.write_text(
        STUDY.replace("{grid: [tables/a.csv, tables/../tables/b.csv]}", "/data/a.csv")
        .replace("images: ., ", "")
        .replace('  - {source: "activations:vectors/{split}.npz", tokens: {grid: [0, 0]}}\n', "")
    )
    study = load_study(path)
    assert study.resolved_in(folder / "results") == study.resolved()


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("x.csv", "x.csv"),
        ("./a/../x.csv", "x.csv"),
        ("../x.csv", "../x.csv"),
        ("/data/x.csv", "/data/x.csv"),
        ("~/x.csv", "~/x.csv"),
    ],
)
def test_what_is_written_is_normalised(text: str, written: str, tmp_path: Path) -> None:
    path = study_path(tmp_path, text)
    assert path.written == written
    assert Path(path) == (Path(written).expanduser() if written[0] in "/~" else (tmp_path / written).resolve())
    assert study_path(tmp_path, text, prefix="hf:", is_marked=True).written.startswith(("hf:.", "hf:/", "hf:~"))
    for same in (pickle.loads(pickle.dumps(path)), copy.deepcopy(path)):
        assert isinstance(same, StudyPath)
        assert (same, same.written) == (path, path.written)


def test_untrained_weights_do_not_depend_on_where_the_study_lies(tmp_path: Path) -> None:
    def seed(folder: Path) -> tuple[int, str]:
        (folder / "study.yaml").write_text(STUDY.replace("shipped:shapes_vit_objects", "hf:./model"))
        control = load_study(folder / "study.yaml").backbones[1].untrained(0)
        assert control is not None
        assert control.source == f"random:hf:{folder}/model"
        return control.seed, control.source.written  # type: ignore[attr-defined]

    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    assert seed(folders[0]) == seed(folders[1])
