"""What Tune tells of its trials: cells that have ended, and cells that were lost with their worker."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable
from typing import Any

from ray import tune

WORKER_RETRIES = 2
"""How often a cell is tried again whose worker dies."""


class CountCells(tune.Callback):
    """Counts cells that have ended, told by their number, and records those that were lost with their worker.

    Tune tries a trial again whose worker dies, but not one that it gives to a worker which has died unnoticed:
    `take_unlucky` names those.
    """

    def __init__(
        self,
        on_measured: Callable[[int, bool], None],
        on_lost: Callable[[int, str], None],
        on_tried_again: Callable[[int], None],
        say: Callable[[str], None],
    ) -> None:
        self._on_measured, self._say = on_measured, say
        self._on_lost, self._on_tried_again = on_lost, on_tried_again
        self._losses: Counter[int] = Counter()
        self._unlucky: list[int] = []
        self.ended = 0
        self.disk_is_full = False
        self.unreachable = ""

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A cell has its row, done or failed."""
        del iteration, trials, info
        result = trial.last_result or {}
        self.disk_is_full |= "full_disk" in result
        self.unreachable = self.unreachable or str(result.get("unreachable", ""))
        if self.disk_is_full or self.unreachable:
            signal.raise_signal(signal.SIGINT)
        for note in result.get("notes", ()):
            self._say(note)
        self.ended += 1
        self._on_measured(trial.config["job"]["number"], bool(result.get("failed", 0)))

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A cell's worker died, and Tune tries again."""
        del iteration, trials, info
        self._on_tried_again(trial.config["job"]["number"])

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A cell's worker died, and Tune does not try again."""
        del iteration, trials, info
        number = trial.config["job"]["number"]
        self.ended += 1
        self._losses[number] += trial.run_metadata.num_failures
        if self._losses[number] <= WORKER_RETRIES:
            self._unlucky.append(number)
            self._on_tried_again(number)
            return
        self._on_lost(number, str(trial.get_error() or ""))
        self._on_measured(number, True)

    def take_unlucky(self) -> list[int]:
        """Numbers of the lost cells that have tries left; each is named once."""
        unlucky, self._unlucky = self._unlucky, []
        return unlucky

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its callbacks to restore an experiment, which is never done here
