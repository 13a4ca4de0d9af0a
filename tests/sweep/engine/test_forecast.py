from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from frozen.readout.readout import find_readout
from sweep.engine.forecast import Forecast, makespan_s, print_forecast
from sweep.engine.grid import make_grid
from sweep.study.load import load_study, locate_in
from tests.sweep.conftest import Project


def test_the_longest_cells_begin_first() -> None:
    assert makespan_s([1.0, 1.0, 1.0, 3.0], 2) == 3.0
    assert makespan_s([2.0, 2.0, 2.0], 2) == 4.0
    assert makespan_s([], 4) == 0.0


@pytest.mark.parametrize(
    ("overrides", "stops"),
    [
        (("fit.patience=null", "search.pruner=none"), False),
        (("fit.patience=3",), True),
        (("fit.patience=null", "search.pruner=median"), True),
    ],
)
def test_what_may_stop_early_is_forecast_as_the_most(
    overrides: tuple[str, ...], stops: bool, project: Project
) -> None:
    path, readout = project.folder / "study.yaml", find_readout("binding")
    cells = make_grid(load_study(path, overrides), readout, locate_in(path, overrides)).cells
    assert {readout.is_upper_bound(cell) for cell in cells} == {stops}
    said = io.StringIO()
    print_forecast(Forecast(20.0, 85.0, 0.0, 10, 10, 2, stops), Console(file=said))
    assert said.getvalue().startswith("forecast: at most 2 min 0 s (" if stops else "forecast: 2 min 0 s (")


def test_what_half_precision_would_take_is_the_third_line() -> None:
    said = io.StringIO()
    found = Forecast(20.0, 85.0, 0.0, 10, 10, 2, False, (10.0, 35.0))
    print_forecast(found, Console(file=said))
    assert said.getvalue().splitlines()[2:] == [
        "in bfloat16 (`precision: auto` of backbones, and `auto` where the read-out has it): 1 min 0 s (10 s of them "
        "extraction)"
    ]


def test_cells_in_half_precision_differ_in_their_products_alone(project: Project) -> None:
    path, readout = project.folder / "study.yaml", find_readout("binding")
    plain, explicit = (
        make_grid(load_study(path, more), readout, locate_in(path, more)).cells
        for more in ((), ("fit.products=bfloat16",))
    )
    halves = [readout.in_half_precision(cell) for cell in plain]
    assert [cell.settings for cell in halves] == [cell.settings for cell in explicit]


@pytest.mark.starts_ray
def test_a_forecast_says_how_long_and_leaves_nothing(project: Project) -> None:
    code, output = project.run("--forecast", "--set", "modes=[cls]", "--set", "controls=[noise]")
    assert code == 0, output
    forecast = r"forecast: at most \d+ s \(\d+ s of them extraction\), \d+ cells at a time, 0\.00 GPU-hours"
    assert re.search(forecast, output)
    assert "kB on disk, of them" in output
    assert not (project.folder / "results").exists()
    assert not (project.folder / "store").exists()
