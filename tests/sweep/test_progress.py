"""Progress: a log ends with N/N, a terminal shows a bar."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from sweep import progress as progress_module
from sweep.progress import progress

LINE = re.compile(r"extracting: (\d+)/(\d+) samples, \S+/s, \d+ s left\s*(.*)")


def console(*, terminal: bool) -> Console:
    return Console(file=io.StringIO(), width=80, force_terminal=terminal)


def text(shown: Console) -> str:
    return shown.file.getvalue()  # type: ignore[attr-defined]


def logged(shown: Console) -> list[tuple[int, int, str]]:
    matches = [LINE.fullmatch(line) for line in text(shown).splitlines()]
    assert all(matches)
    return [(int(match[1]), int(match[2]), match[3]) for match in matches if match]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of the module; tests set its only element."""
    now = [100.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    return now


def test_a_log_ends_with_everything_done(clock: list[float]) -> None:
    shown = console(terminal=False)
    with progress(shown, "extracting", 300, "samples") as bar:
        for _ in range(3):
            bar.advance(100)
    assert logged(shown) == [(300, 300, "")]


def test_a_log_speaks_now_and_then(clock: list[float]) -> None:
    shown = console(terminal=False)
    with progress(shown, "extracting", 40, "samples") as bar:
        for _ in range(40):
            clock[0] += 4
            bar.advance(1, "(1 failed)")
    assert logged(shown) == [(done, 40, "(1 failed)") for done in (*range(4, 40, 4), 40)]


def test_a_log_tells_rate_and_time_left(clock: list[float]) -> None:
    shown = console(terminal=False)
    with progress(shown, "extracting", 200, "samples") as bar:
        clock[0] += 20
        bar.advance(50)
    assert text(shown) == "extracting: 50/200 samples, 2.5/s, 60 s left\n"


def test_work_found_done_is_logged_without_a_rate(clock: list[float]) -> None:
    shown = console(terminal=False)
    with progress(shown, "extracting", 7, "samples") as bar:
        bar.advance(0)
        assert text(shown) == ""
        bar.advance(7)
    assert logged(shown) == [(7, 7, "")]


def test_the_last_line_is_there_when_time_has_passed_too(clock: list[float]) -> None:
    shown = console(terminal=False)
    with progress(shown, "extracting", 2, "samples") as bar:
        for _ in range(2):
            clock[0] += 60
            bar.advance(1)
    assert [line[:2] for line in logged(shown)] == [(1, 2), (2, 2)]


def test_brackets_are_not_markup(clock: list[float]) -> None:
    shown = console(terminal=False)
    with progress(shown, "extracting", 1, "samples") as bar:
        bar.advance(1, "s[a=1]")
    assert text(shown).endswith("s[a=1]\n")


def test_a_terminal_shows_a_bar() -> None:
    shown = console(terminal=True)
    with progress(shown, "measuring", 3, "cells") as bar:
        bar.advance(1, "[red]")
        bar.advance(2, "[a=1]")
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text(shown)).replace("\r", "\n").strip().splitlines()[-1]
    assert "measuring [a=1]" in last
    assert "3/3 cells" in last
