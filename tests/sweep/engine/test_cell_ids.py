"""Identities of cells: they change with what the numbers depend on, and with nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from frozen.readout.readout import find_readout
from tests.sweep.engine.grids import GridOf, ids

SAME = """\
# the same study, written by somebody else
seeds: 2
probes:
  - rank:
      choices:
        - 4
        - 16
    family: quadratic   # an alias
modes: [cls]
layers: [-1]
backbones: [{source: "shipped:shapes_vit_objects"}]
datasets:
  - split: {test: 30, validation: 20, train: 60, policy: independent}
    max_objects: 3
    object_size: 12
    image_size: 64
    n_shapes: 2
    n_colors: 2
    scene: colorshape
    name: shapes
fit: {schedule_factor: 0.20}
store: {memory: 1GB}
name: another
"""

PRINT_IDS = """
import sys
from sweep.engine.grid import make_grid
from frozen.readout.readout import find_readout
from sweep.study.load import load_study, locate_in
for path in sys.argv[1:]:
    grid = make_grid(load_study(path), find_readout("binding"), locate_in(path))
    print(*(cell.cell_id for cell in grid.cells))
"""


def test_equal_studies_have_equal_ids_in_every_process(study: Path, tmp_path: Path, grid_of: GridOf) -> None:
    other = tmp_path / "elsewhere" / "other.yaml"
    other.parent.mkdir()
    other.write_text(SAME, encoding="utf-8")
    command = [sys.executable, "-c", PRINT_IDS, str(study), str(other)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ids(grid_of()) * 2, done.stderr


@pytest.mark.parametrize(
    "override",
    [
        "datasets[0].n_colors=3",
        "datasets[0].max_objects=2",
        "datasets[0].object_size=10",
        "datasets[0].seed=1",
        "datasets[0].split.train=61",
        "datasets[0].split.test=31",
        "datasets[0].split.policy=f_ranked_three_way",
        "datasets[0].name=forms",
        "backbones[0]=shipped:shapes_vit_features",
        "layers=[final]",
        "modes=[mean_spatial]",
        "probes[0].family=quadratic_concat_reuse",
        "probes[0].rank=4",
        "probes[0].rank={choices: [4, 8]}",
        "probes[0].learning_rate=0.01",
        "probes[0].weight_decay=0.001",
        "probes[0].feature_probe={family: linear}",
        "fit.epochs=41",
        "fit.batch_size=64",
        "fit.patience=5",
        "fit.standardize=false",
        "fit=paper",
        "search.suggestions=9",
        "search.ask=2",
        "search.pruner=median",
        "seed=1",
        "seeds=3",
        "intervals.level=0.9",
        "intervals.resamples=500",
        "store.dtype=float32",
        "extras=[mdl]",
    ],
)
def test_what_changes_the_numbers_changes_the_id(grid_of: GridOf, override: str) -> None:
    assert set(ids(grid_of(override))).isdisjoint(ids(grid_of()))


@pytest.mark.parametrize(
    "override",
    ["name=other", "store.memory=1GB", "layers=[-1]", "probes[0].weight_decay=0", "probes[0].weight_decay=0.0"],
)
def test_what_does_not_change_the_numbers_keeps_the_id(grid_of: GridOf, override: str) -> None:
    assert ids(grid_of(override)) == ids(grid_of())


def test_extras_have_no_order_and_none_leave_no_trace(grid_of: GridOf) -> None:
    assert ids(grid_of("extras=[mdl, selectivity]")) == ids(grid_of("extras=[selectivity, mdl]"))
    assert ids(grid_of("extras=[]")) == ids(grid_of())
    assert "extras" not in grid_of().cells[0].settings.shared.content()


def test_a_larger_study_keeps_the_ids_it_had(grid_of: GridOf) -> None:
    larger = grid_of("layers=all", "modes=[cls, mean_spatial]", "controls=[noise]")
    assert len(larger.cells) == 8 * 2 + 1
    assert set(ids(grid_of())) < set(ids(larger))


def test_a_new_version_of_the_readout_changes_the_id(grid_of: GridOf, monkeypatch: pytest.MonkeyPatch) -> None:
    old = ids(grid_of())
    monkeypatch.setattr("binding.cells.VERSION", find_readout("binding").version + 1)
    assert set(ids(grid_of())).isdisjoint(old)
