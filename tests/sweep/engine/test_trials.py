"""What is made of Tune's messages about trials; the real ones come in the tests of nodes and faults."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.search import Searcher

from sweep.engine.trials import JobSearch, Trials
from sweep.engine.waiting import Waiting
from sweep.store.full_disk import FullDiskError


class Listener:
    """Notes what it is told; other work makes entries arrive, one at a time."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.work: list[Callable[[], object]] = []
        self.waited: list[tuple[float, bool]] = []
        self.workers_begin = True

    def go_on(self, timeout_s: float, *, cells_wait: bool) -> None:
        self.waited.append((timeout_s, cells_wait))
        if self.work:
            self.work.pop(0)()

    def measured(self, cell_id: str, *, failed: bool, steps: int) -> None:
        self.told.append(("measured", cell_id, failed, steps))

    def ended(self, number: int) -> None:
        self.told.append(("ended", number))

    def has_begun(self, trial_id: str) -> bool:
        return self.workers_begin

    def lost(self, number: int, message: str) -> None:
        self.told.append(("lost", number, message))

    def tried_again(self, number: int) -> None:
        self.told.append(("again", number))

    def say(self, line: str) -> None:
        self.told.append(("say", line))


def trial(config: dict[str, Any], error_file: Path | None = None, **result: Any) -> Any:
    return SimpleNamespace(
        trial_id=str(config["job"]["number"]),
        config=config,
        run_metadata=SimpleNamespace(metric_analysis={"bits": {}}, metric_n_steps={"bits": {}}, last_result=result),
        error_file=error_file,
        last_result=result,
    )


def search(waiting: Waiting) -> tuple[JobSearch, Trials, Listener]:
    listener = Listener()
    trials = Trials(waiting, listener, Path("results"))
    return JobSearch(trials, [{"number": number} for number in range(10)]), trials, listener


def test_cells_are_given_when_they_are_ready_and_waited_for_while_nothing_else_is_under_way() -> None:
    waiting = Waiting({0: [["a"]], 1: [["b"]]}, set())
    searcher, trials, listener = search(waiting)
    listener.work = [lambda: None, lambda: waiting.arrived({"b"})]
    first = searcher.suggest("")
    assert first == {"job": {"number": 1}}
    assert listener.waited == [(1.0, False), (1.0, False)]
    assert searcher.suggest("") is None  # cell 0 waits, and cell 1 is under way: Tune goes on with that
    trials.on_step_begin(0, [])
    assert listener.waited[2:] == [(0.0, True)]  # cell 1 waits for a place
    trials.on_trial_start(0, [], trial(first))
    trials.on_step_begin(0, [])
    assert listener.waited[3:] == [(0.0, False)]
    ended = trial(first)
    trials.on_trial_result(0, [], ended, {"cell_id": "one", "failed": 0, "steps": 3, "notes": ["a note"]})
    trials.on_trial_complete(0, [], ended)
    assert not ended.run_metadata.metric_analysis  # of every cell, Tune would keep 0.2 MB
    assert not ended.run_metadata.metric_n_steps
    assert not ended.run_metadata.last_result
    listener.work = [lambda: waiting.arrived({"a"})]
    second = searcher.suggest("")
    assert second == {"job": {"number": 0}}
    assert not trials.are_over
    trials.on_trial_result(0, [], trial(second), {"cell_id": "two", "failed": 1, "steps": 0, "notes": []})
    trials.on_trial_complete(0, [], trial(second))
    assert searcher.suggest("") == Searcher.FINISHED
    assert listener.told == [
        ("say", "a note"),
        ("measured", "one", False, 3),
        ("ended", 1),
        ("measured", "two", True, 0),
        ("ended", 0),
    ]


def test_a_search_ends_when_no_cell_can_begin_any_more() -> None:
    waiting = Waiting({0: [["a"]]}, set())
    searcher, _, listener = search(waiting)
    listener.work = [lambda: waiting.without({"a"})]
    assert searcher.suggest("") == Searcher.FINISHED


def lose(searcher: JobSearch, trials: Trials, times: int, error_file: Path) -> None:
    for _ in range(times):
        config = searcher.suggest("")
        assert config == {"job": {"number": 7}}
        assert searcher.suggest("") is None
        trials.on_trial_error(0, [], trial(config, error_file))


def test_a_cell_whose_worker_dies_is_tried_again_until_it_was_lost_too_often(tmp_path: Path) -> None:
    searcher, trials, listener = search(Waiting({7: [[]]}, set()))
    (tmp_path / "error.txt").write_text("SIGKILL")
    lose(searcher, trials, 3, tmp_path / "error.txt")
    assert searcher.suggest("") == Searcher.FINISHED
    message = "its worker died 3 times, perhaps for lack of memory\nSIGKILL"
    assert listener.told == [("again", 7), ("again", 7), ("lost", 7, message)]


def test_workers_that_had_died_before_are_not_the_cells_losses(tmp_path: Path) -> None:
    searcher, trials, listener = search(Waiting({7: [[]]}, set()))
    nothing = tmp_path / "nothing"
    lose(searcher, trials, 2, nothing)
    listener.workers_begin = False
    lose(searcher, trials, 12, nothing)
    assert listener.told == [("again", 7), ("again", 7)]
    lose(searcher, trials, 1, nothing)
    message = "13 workers that it was given died before they began with it\n"
    assert listener.told[2:] == [("lost", 7, message)]
    assert trials.are_over


@pytest.mark.parametrize("result", [{"full_disk": 1}, {"unreachable": "no such bucket"}])
def test_an_experiment_that_cannot_go_on_is_interrupted(result: dict[str, Any]) -> None:
    searcher, trials, _ = search(Waiting({0: [[]]}, set()))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            trials.on_trial_result(0, [], trial(searcher.suggest("")), result)
    finally:
        signal.signal(signal.SIGINT, before)
    assert isinstance(trials.stopped_by, FullDiskError) == ("full_disk" in result)
    assert trials.stopped_by is not None
