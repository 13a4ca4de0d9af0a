"""Jobs that wait for what they need, and those that can begin."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence, Set


class Waiting:
    """Numbers of jobs, each of which begins when all that its parts read is there; the smallest number first.

    Args:
        needs: keys of the store's entries that each part of a job reads.
        present: keys that are there.
    """

    def __init__(self, needs: Mapping[int, Sequence[Iterable[str]]], present: Set[str]) -> None:
        self._missing = {
            number: {part: set(keys) - present for part, keys in enumerate(parts)} for number, parts in needs.items()
        }
        self._ready: list[int] = []
        self._move_ready()

    @property
    def n_ready(self) -> int:
        """Jobs that could begin."""
        return len(self._ready)

    def __len__(self) -> int:
        return len(self._missing) + len(self._ready)

    def arrived(self, keys: Set[str]) -> None:
        """Entries are in the store now."""
        for parts in self._missing.values():
            for missing in parts.values():
                missing -= keys
        self._move_ready()

    def without(self, keys: Set[str]) -> list[tuple[int, int]]:
        """Parts of jobs that can never begin, because entries could not be made; the rest of their jobs goes on."""
        lost = [
            (number, part)
            for number, parts in self._missing.items()
            for part, missing in parts.items()
            if missing & keys
        ]
        for number, part in lost:
            del self._missing[number][part]
            if not self._missing[number]:
                del self._missing[number]
        self._move_ready()
        return lost

    def take(self) -> int | None:
        """The next job; None while none is ready."""
        return heapq.heappop(self._ready) if self._ready else None

    def put_back(self, number: int) -> None:
        """A job was begun in vain."""
        heapq.heappush(self._ready, number)

    def _move_ready(self) -> None:
        for number in [number for number, parts in self._missing.items() if not any(parts.values())]:
            del self._missing[number]
            heapq.heappush(self._ready, number)
