"""Cells that wait for their activations, and those that can begin."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Set


class Waiting:
    """Numbers of cells, each of which begins when all it reads is there; the smallest number first.

    Args:
        needs: keys of the store's entries that each cell reads.
        present: keys that are there.
    """

    def __init__(self, needs: Mapping[int, Iterable[str]], present: Set[str]) -> None:
        self._missing = {number: set(keys) - present for number, keys in needs.items()}
        self._ready: list[int] = []
        self._move_ready()

    @property
    def n_ready(self) -> int:
        """Cells that could begin."""
        return len(self._ready)

    def __len__(self) -> int:
        return len(self._missing) + len(self._ready)

    def arrived(self, keys: Set[str]) -> None:
        """Entries are in the store now."""
        for missing in self._missing.values():
            missing -= keys
        self._move_ready()

    def without(self, keys: Set[str]) -> list[int]:
        """Cells that can never begin, because entries could not be made; they wait no longer."""
        lost = [number for number, missing in self._missing.items() if missing & keys]
        for number in lost:
            del self._missing[number]
        return lost

    def take(self) -> int | None:
        """The next cell; None while none is ready."""
        return heapq.heappop(self._ready) if self._ready else None

    def put_back(self, number: int) -> None:
        """A cell was begun in vain."""
        heapq.heappush(self._ready, number)

    def _move_ready(self) -> None:
        for number in [number for number, missing in self._missing.items() if not missing]:
            del self._missing[number]
            heapq.heappush(self._ready, number)
