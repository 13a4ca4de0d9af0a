"""What Tune asks for and tells of: the next job, cells that have ended, and jobs lost with their worker."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from ray import tune
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.search import Searcher

from sweep.engine.waiting import Waiting
from sweep.store.disk import LostEntryError
from sweep.store.full_disk import FullDiskError, full_disk
from sweep.store.remote import RemoteError

WORKER_RETRIES = 2
"""How often a job is tried again whose worker dies."""
_MOST_DEAD_WORKERS = 12
"""How often a job is given to a worker that has died before, or that never starts."""
_LONGEST_WAIT_S = 1.0


@runtime_checkable
class Audience(Protocol):
    """What a run does beside its trials; jobs are numbered."""

    def go_on(self, timeout_s: float, *, cells_wait: bool) -> None:
        """Take other work further, waiting so long at most; told whether cells wait for a place."""
        ...

    def measured(self, cell_id: str, *, failed: bool, steps: int) -> None:
        """A cell has its row, after so many optimiser steps."""
        ...

    def ended(self, number: int) -> None:
        """All cells of a job have their rows."""
        ...

    def has_begun(self, trial_id: str) -> bool:
        """Whether a trial's worker ever began with its job."""
        ...

    def lost(self, number: int, message: str) -> None:
        """A job's workers died too often; cells of it have no row."""
        ...

    def tried_again(self, number: int) -> None:
        """A job's worker died, and it begins once more."""
        ...

    def say(self, line: str) -> None:
        """There is something to read."""
        ...


class Trials(tune.Callback):
    """Gives Tune the jobs that can begin, follows their trials, and lets other work go on between Tune's events.

    A job whose worker dies waits once more. Tune keeps idle workers for the next trials, and notices that they died
    with their node only when it gives them one: such a loss is not the job's, and does not count as one.

    Args:
        waiting: jobs that have not begun.
        audience: is told what becomes of them.
        results: folder of the rows, for those who must make space there.

    Attributes:
        stopped_by: why nothing can go on; None if it can.
    """

    def __init__(self, waiting: Waiting, audience: Audience, results: Path) -> None:
        self._waiting, self._audience, self._results = waiting, audience, results
        self._losses: Counter[int] = Counter()
        self._dead_workers: Counter[int] = Counter()
        self._given = self._ended = 0
        self._placed: set[str] = set()
        self.stopped_by: Exception | None = None

    @property
    def are_over(self) -> bool:
        """Whether every job has ended."""
        return not len(self._waiting) and self._given == self._ended

    def next_job(self) -> int | None:
        """Number of a job that can begin; waits for one while nothing else is under way, else gives None."""
        number = self._waiting.take()
        while number is None and len(self._waiting) and self._given == self._ended:
            self._go_on(_LONGEST_WAIT_S)
            number = self._waiting.take()
        self._given += number is not None
        return number

    def _go_on(self, timeout_s: float) -> None:
        cells_wait = self._waiting.n_ready + self._given > len(self._placed)
        try:
            self._audience.go_on(timeout_s, cells_wait=cells_wait)
        except (FullDiskError, RemoteError, LostEntryError) as error:
            self._stop(error)

    def _stop(self, reason: Exception) -> None:
        self.stopped_by = self.stopped_by or reason
        signal.raise_signal(signal.SIGINT)

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Tune looks round, ten times a second and more."""
        del iteration, trials, info
        self._go_on(0.0)

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A job has a place."""
        del iteration, trials, info
        self._placed.add(trial.trial_id)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """A cell has its row, done or failed; or nothing can go on."""
        del iteration, trials, trial, info
        if "full_disk" in result:
            self._stop(full_disk(self._results))
        if "unreachable" in result:
            self._stop(RemoteError(str(result["unreachable"])))
        if "lost" in result:
            self._stop(LostEntryError(str(result["lost"])))
        for note in result.get("notes", ()):
            self._audience.say(note)
        if "cell_id" in result:
            self._audience.measured(result["cell_id"], failed=bool(result["failed"]), steps=result["steps"])

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """All cells of a job have their rows."""
        del iteration, trials, info
        self._ended += 1
        if self.stopped_by is None:
            self._audience.ended(trial.config["job"]["number"])
        _forget_numbers(trial)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial's worker died."""
        del iteration, trials, info
        number = trial.config["job"]["number"]
        self._placed.add(trial.trial_id)
        self._ended += 1
        has_begun = self._audience.has_begun(trial.trial_id)
        (self._losses if has_begun else self._dead_workers)[number] += 1
        if self._losses[number] <= WORKER_RETRIES and self._dead_workers[number] <= _MOST_DEAD_WORKERS:
            self._waiting.put_back(number)
            if has_begun:
                self._audience.tried_again(number)
            return
        reason = f"its worker died {self._losses[number]} times, perhaps for lack of memory"
        if not has_begun:
            reason = f"{self._dead_workers[number]} workers that it was given died before they began with it"
        self._audience.lost(number, f"{reason}\n{_error_of(trial)}")

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its callbacks to restore an experiment, which is never done here


class NoLines(TrialProgressCallback):
    """In place of Tune's callback that prints a line for every trial, even where it is told to be silent."""

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Print nothing."""

    def log_result(self, trial: Any, result: dict[str, Any], error: bool = False) -> None:
        """Print nothing, and note nothing of the trial."""


def _error_of(trial: Any) -> str:
    """What Tune has written of a trial's error; empty if it has not."""
    try:
        return Path(trial.error_file or "").read_text(encoding="utf-8")
    except OSError:
        return ""


def _forget_numbers(trial: Any) -> None:
    """Drop what Tune keeps of every number of an ended trial, running averages among it: 0.2 MB a cell."""
    kept = trial.run_metadata
    for numbers in (kept.metric_analysis, kept.metric_n_steps, kept.last_result):
        numbers.clear()


class JobSearch(Searcher):
    """Tune's way to ask for the next trial.

    Args:
        trials: knows which job that is.
        configs: what a trial is told of its job, by the job's number.
    """

    def __init__(self, trials: Trials, configs: Sequence[Mapping[str, object]]) -> None:
        super().__init__()
        self._trials, self._configs = trials, configs

    def suggest(self, trial_id: str) -> Any:
        """Configuration of the next trial; None while there is none, FINISHED when there will be none."""
        del trial_id
        number = self._trials.next_job()
        if number is not None:
            return {"job": dict(self._configs[number])}
        return Searcher.FINISHED if self._trials.are_over else None

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """`Trials` is told more."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing is ever restored: rows are what a run resumes from."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing is ever restored."""

    def __getstate__(self) -> dict[str, Any]:
        return {}
