"""What is made of Tune's messages about trials; the real ones come in the tests of nodes and faults."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from sweep.trials import WORKER_RETRIES, CountCells


def trial(number: int, failures: int) -> Any:
    return SimpleNamespace(
        config={"job": {"number": number}},
        run_metadata=SimpleNamespace(num_failures=failures),
        get_error=lambda: "the node died",
        last_result={},
    )


def test_a_cell_given_to_a_dead_worker_is_tried_again_until_it_was_lost_too_often() -> None:
    told: list[tuple[Any, ...]] = []
    counter = CountCells(
        lambda number, failed: told.append(("measured", number, failed)),
        lambda number, error: told.append(("lost", number, error)),
        lambda number: told.append(("again", number)),
        print,
    )
    for _ in range(WORKER_RETRIES):
        counter.on_trial_error(0, [], trial(7, failures=1))
        assert counter.take_unlucky() == [7]
    assert counter.take_unlucky() == []
    counter.on_trial_error(0, [], trial(7, failures=1))
    assert counter.take_unlucky() == []
    counter.on_trial_error(0, [], trial(8, failures=WORKER_RETRIES + 1))
    counter.on_trial_complete(0, [], trial(9, failures=0))
    assert counter.take_unlucky() == []
    assert told == [
        ("again", 7),
        ("again", 7),
        ("lost", 7, "the node died"),
        ("measured", 7, True),
        ("lost", 8, "the node died"),
        ("measured", 8, True),
        ("measured", 9, False),
    ]
    assert counter.ended == 5
