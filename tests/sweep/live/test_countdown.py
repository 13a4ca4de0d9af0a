from __future__ import annotations

import io

import pytest
from rich.console import Console

from sweep.live import countdown as module
from sweep.live.countdown import countdown


def test_a_log_says_speed_and_time_left_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    output = io.StringIO()
    with countdown(Console(file=output, width=80), "rendering", 40, "images") as line:
        for number in range(40):
            clock[0] += 2.0
            line.finished(failed=number == 3)
    lines = output.getvalue().splitlines()
    assert lines[0] == "rendering: 8/40 images, 1 failed, 0.5 images/s, 1 min 4 s left"
    assert lines[-1] == "rendering: 40/40 images, 1 failed, 0.5 images/s"
    assert len(lines) == 5


def test_a_terminal_shows_the_same_line() -> None:
    output = io.StringIO()
    with countdown(Console(file=output, force_terminal=True, width=120), "rendering", 2, "images") as line:
        line.finished(failed=False)
        line.finished(failed=False)
    assert "rendering: 2/2 images" in output.getvalue()
