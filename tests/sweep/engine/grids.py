"""A study of one cell, and what its grids are asked for."""

from __future__ import annotations

from collections.abc import Callable

from sweep.engine.grid import Grid

STUDY = """\
name: small
datasets:
  - {name: shapes, scene: colorshape, n_colors: 2, n_shapes: 2, max_objects: 3, image_size: 64, object_size: 12,
     split: {policy: independent, train: 60, validation: 20, test: 30}}
backbones:
  - shipped:shapes_vit_objects
layers: [5]
modes: [cls]
probes:
  - {family: quadratic_concat, rank: {choices: [4, 16]}}
"""

GridOf = Callable[..., Grid]


def ids(grid: Grid) -> list[str]:
    return [cell.cell_id for cell in grid.cells]
