from __future__ import annotations

from pathlib import Path

import pytest

from frozen.readout.readout import find_readout
from frozen.readout.study import Study
from sweep.engine.grid import Grid, make_grid
from sweep.study.load import load_study, locate_in
from tests.sweep.engine.grids import STUDY, GridOf


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY, encoding="utf-8")
    return path


@pytest.fixture
def grid_of(study: Path) -> GridOf:
    """The grid of the study with some settings replaced, or of another study."""

    def grid(*overrides: str, other: Study | None = None) -> Grid:
        chosen = other or load_study(study, overrides)
        return make_grid(chosen, find_readout("binding"), locate_in(study, overrides))

    return grid
