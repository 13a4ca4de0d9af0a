"""One line for a study: what is done, failed, left; now and then in a log, in place in a terminal."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from sweep import progress as progress_module
from sweep.progress import duration, progress


def console(*, terminal: bool) -> Console:
    return Console(file=io.StringIO(), width=120, force_terminal=terminal)


def lines(shown: Console) -> list[str]:
    return shown.file.getvalue().splitlines()  # type: ignore[attr-defined]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of the module; tests set its only element."""
    now = [100.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    return now


def test_a_log_ends_with_everything_done(clock: list[float]) -> None:
    shown = console(terminal=False)
    with progress(shown, "mine", [1.0] * 2) as line:
        line.extracting(300)
        clock[0] += 3
        for _ in range(3):
            line.extracted(100)
        clock[0] += 8
        line.measured(1.0, failed=False, seconds=20.0)
        line.measured(1.0, failed=True, seconds=None)
    assert lines(shown) == [
        "mine: 0/2 cells, 300/300 images at 100/s",
        "mine: 2/2 cells, 1 failed, 300/300 images at 100/s",
    ]


def test_cells_of_earlier_runs_count_and_those_held_back_are_said(clock: list[float]) -> None:
    """The totals are those of the plan."""
    shown = console(terminal=False)
    with progress(shown, "mine", [1.0] * 2, n_done=32, n_held_back=34) as line:
        assert (line.n_done, line.n_to_do) == (32, 2)
        assert line.line() == "32/68 cells, 34 left for later"
        line.measured(1.0, failed=False, seconds=20.0)
        line.measured(1.0, failed=False, seconds=20.0)
    assert lines(shown)[-1] == "mine: 34/68 cells, 34 left for later"


def test_a_log_speaks_now_and_then(clock: list[float]) -> None:
    shown = console(terminal=False)
    with progress(shown, "mine", [1.0] * 40) as line:
        for _ in range(40):
            clock[0] += 4
            line.measured(1.0, failed=False, seconds=20.0)
    assert [text.split(",")[0] for text in lines(shown)] == [f"mine: {n}/40 cells" for n in range(4, 41, 4)]


def test_time_left_follows_the_cells_so_far(clock: list[float]) -> None:
    """The time before the first cell is no part of it: workers start, and activations are made."""
    shown = console(terminal=False)
    with progress(shown, "mine", [1.0] * 10) as line:
        clock[0] += 50
        line.measured(1.0, failed=False, seconds=20.0)
        assert lines(shown)[-1] == "mine: 1/10 cells, 3 min 0 s left"


def test_images_left_count_too(clock: list[float]) -> None:
    shown = console(terminal=False)
    with progress(shown, "mine", [1.0] * 3) as line:
        line.extracting(100)
        clock[0] += 20
        line.extracted(40)
        line.measured(1.0, failed=False, seconds=20.0)
        assert line.line() == "1/3 cells, 40/100 images at 2/s, 1 min 10 s left"


def test_no_time_is_promised_before_a_cell_is_done(clock: list[float]) -> None:
    with progress(console(terminal=False), "mine", [1.0] * 3) as line:
        line.extracting(100)
        clock[0] += 10
        line.extracted(50)
        assert line.line() == "0/3 cells, 50/100 images at 5/s"


def test_a_terminal_draws_one_line_and_names_are_not_markup() -> None:
    shown = console(terminal=True)
    with progress(shown, "[red]study", [1.0] * 2) as line:
        line.measured(1.0, failed=True, seconds=None)
        line.measured(1.0, failed=False, seconds=20.0)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", "\n".join(lines(shown))).replace("\r", "\n").strip()
    assert "[red]study: 2/2 cells, 1 failed" in plain.splitlines()[-1]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (3599, "59 min 59 s"), (7500, "2 h 5 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
