"""Which cells a limited run measures first."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweep.cells import Cell, make_grid
from sweep.readout import find_readout
from sweep.space import load_space, locate_in
from sweep.spread import spread

STUDY = """\
name: wide
datasets:
  - {name: a, scene: colorshape, n_colors: 2, n_shapes: 2, image_size: 64, object_size: 12}
  - {name: b, scene: colorshape, n_colors: 3, n_shapes: 2, image_size: 64, object_size: 12}
backbones: [shipped:shapes_vit_objects, shipped:shapes_vit_features]
layers: [embed, 1, final]
modes: [cls, mean_spatial, all]
controls: [oracle_objects, noise, shuffled]
probes: [{family: linear}, {family: quadratic_concat}, {family: attention_quadratic}]
"""


@pytest.fixture
def cells(tmp_path: Path) -> list[Cell]:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    return list(make_grid(load_space(path), find_readout("binding"), locate_in(path)).cells)


def kinds(cells: list[Cell]) -> set[str]:
    return {
        text
        for cell in cells
        for text in (cell.dataset.name, cell.backbone.source, cell.mode, cell.probe.family, str(cell.control))
    }


def test_a_few_cells_have_every_kind_once_before_the_rest_repeats(cells: list[Cell]) -> None:
    everything = kinds(cells)
    chosen = spread(cells, 5)
    assert kinds(chosen) == everything
    assert len(set(chosen)) == 5
    four = spread(cells, 4)
    assert {cell.probe.family for cell in four} == {"linear", "quadratic_concat", "attention_quadratic"}
    assert {cell.dataset.name for cell in four} == {"a", "b"}


def test_what_is_done_counts_and_a_larger_number_goes_on_with_the_same_choice(cells: list[Cell]) -> None:
    first = spread(cells, 3)
    left = [cell for cell in cells if cell not in first]
    assert first + spread(left, 4, first) == spread(cells, 7)


@pytest.mark.parametrize("n", [0, 1, 1000])
def test_it_chooses_as_many_as_there_are(cells: list[Cell], n: int) -> None:
    chosen = spread(cells, n)
    assert len(chosen) == len(set(chosen)) == min(n, len(cells))
