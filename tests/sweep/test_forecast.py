from __future__ import annotations

import re

import pytest

from sweep.forecast import makespan_s
from tests.sweep.conftest import Project


def test_the_longest_cells_begin_first() -> None:
    assert makespan_s([1.0, 1.0, 1.0, 3.0], 2) == 3.0
    assert makespan_s([2.0, 2.0, 2.0], 2) == 4.0
    assert makespan_s([], 4) == 0.0


@pytest.mark.starts_ray
def test_a_forecast_says_how_long_and_leaves_nothing(project: Project) -> None:
    code, output = project.run("--forecast", "--set", "modes=[cls]", "--set", "controls=[noise]")
    assert code == 0, output
    assert re.search(r"forecast: \d+ s \(\d+ s of them extraction\), \d+ cells at a time, 0\.00 GPU-hours", output)
    assert "kB on disk, of them" in output
    assert not (project.folder / "results").exists()
    assert not (project.folder / "store").exists()
