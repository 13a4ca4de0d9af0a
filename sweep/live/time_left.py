"""How long the remaining pieces of work take, judged by those that have ended."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable

_MOST_RATIO = 4.0


class TimeLeft:
    """Pieces of equal cost are of one kind, and take as long as those of the kind that have ended.

    A kind of which none has ended takes as long as the kind nearest in cost, times the ratio of their costs, but at
    most four times as long and at least a quarter: what costs next to nothing still has to be read and written.

    Args:
        costs: about how long each piece takes, in any unit.
    """

    def __init__(self, costs: Iterable[float]) -> None:
        self._left = Counter(costs)
        self._ended: Counter[float] = Counter()
        self._seconds: dict[float, float] = {}
        self._began_at = 0.0

    def ended(self, cost: float, seconds: float | None) -> None:
        """A piece of some cost has ended, after so many seconds; None where they are not known."""
        self._left[cost] -= 1
        if seconds is None:
            return
        if not self._seconds:
            self._began_at = time.monotonic() - seconds
        self._ended[cost] += 1
        self._seconds[cost] = self._seconds.get(cost, 0.0) + seconds

    def seconds(self) -> float | None:
        """What the rest takes, with as many at once as so far.

        None while no piece has shown how long one takes, or while those that have ended are of another kind than
        most that are left: controls often come first, and take a fraction of the others' time.
        """
        work_done = sum(self._seconds.values())
        n_left = sum(self._left.values())
        if not work_done or sum(left for cost, left in self._left.items() if self._is_near(cost)) < n_left / 2:
            return None
        work_left = sum(left * self._each(cost) for cost, left in self._left.items() if left)
        return work_left * (time.monotonic() - self._began_at) / work_done

    def _is_near(self, cost: float) -> bool:
        return 1 / _MOST_RATIO <= self._ratio(cost) <= _MOST_RATIO

    def _ratio(self, cost: float) -> float:
        """Of a cost to the nearest one of which a piece has ended."""
        nearest = self._nearest(cost)
        return cost / nearest if nearest else 1.0

    def _nearest(self, cost: float) -> float:
        return min(self._ended, key=lambda other: abs(other - cost))

    def _each(self, cost: float) -> float:
        nearest, ratio = self._nearest(cost), self._ratio(cost)
        each = self._seconds[nearest] / self._ended[nearest]
        return each * min(max(ratio, 1 / _MOST_RATIO), _MOST_RATIO)
