"""Time left, from pieces of several kinds that have ended."""

from __future__ import annotations

import pytest

from sweep.live import time_left as time_left_module
from sweep.live.time_left import TimeLeft


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of the module; tests set its only element."""
    now = [100.0]
    monkeypatch.setattr(time_left_module.time, "monotonic", lambda: now[0])
    return now


def test_nothing_is_said_before_a_piece_has_ended() -> None:
    left = TimeLeft([3.0, 1.0])
    assert left.seconds() is None
    left.ended(3.0, None)
    assert left.seconds() is None


def test_a_kind_takes_what_it_took_so_far(clock: list[float]) -> None:
    left = TimeLeft([9.0] * 3 + [1.0] * 5)
    left.ended(9.0, 30.0)
    clock[0] += 10
    left.ended(9.0, 10.0)
    left.ended(1.0, 2.0)
    speed = (30 + 10 + 2) / (30 + 10)  # pieces side by side
    assert left.seconds() == pytest.approx((1 * 20 + 4 * 2) / speed)


def test_pieces_side_by_side_share_the_time(clock: list[float]) -> None:
    left = TimeLeft([1.0] * 12)
    for _ in range(4):
        left.ended(1.0, 10.0)
    assert left.seconds() == pytest.approx(8 * 10 / 4)


@pytest.mark.parametrize(("cost", "each"), [(50.0, 5.0), (1.0, 2.5), (0.0, 2.5), (200.0, 20.0), (9999.0, 40.0)])
def test_an_unknown_kind_follows_its_cost_within_limits(clock: list[float], cost: float, each: float) -> None:
    left = TimeLeft([100.0, 100.0, cost])
    left.ended(100.0, 10.0)
    assert left.seconds() == pytest.approx(10.0 + each)


def test_nothing_is_said_while_most_of_what_is_left_is_of_another_kind(clock: list[float]) -> None:
    left = TimeLeft([1.0] + [4.1] * 3)
    left.ended(1.0, 2.0)
    assert left.seconds() is None
    left.ended(4.1, 6.0)
    assert left.seconds() == pytest.approx(2 * 6.0 / (8 / 2))


def test_an_unknown_kind_follows_the_nearest(clock: list[float]) -> None:
    left = TimeLeft([100.0, 10.0, 8.0])
    left.ended(100.0, 10.0)
    left.ended(10.0, 4.0)
    assert left.seconds() == pytest.approx(4.0 * 0.8 / 1.4)


def test_all_done_is_no_time(clock: list[float]) -> None:
    left = TimeLeft([1.0, 1.0])
    left.ended(1.0, 5.0)
    assert left.seconds() == pytest.approx(5.0)
    left.ended(1.0, None)
    assert left.seconds() == 0.0
