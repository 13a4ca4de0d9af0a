"""Which jobs can begin, as entries of the store arrive or fail."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sweep.engine.waiting import Waiting


def test_jobs_begin_when_all_they_read_is_there_the_first_first() -> None:
    waiting = Waiting({0: [["a", "b"]], 1: [["b"]], 2: [["c"]], 3: [[]]}, {"c"})
    assert (len(waiting), waiting.n_ready) == (4, 2)
    assert [waiting.take(), waiting.take(), waiting.take()] == [2, 3, None]
    waiting.arrived({"b"})
    assert waiting.take() == 1
    waiting.arrived({"a"})
    waiting.put_back(2)
    assert [waiting.take(), waiting.take(), waiting.take()] == [0, 2, None]
    assert len(waiting) == 0


def test_parts_whose_entries_could_not_be_made_wait_no_longer_and_the_rest_of_their_job_goes_on() -> None:
    waiting = Waiting({0: [["a", "b"], ["a"]], 1: [["b"]], 2: [["c"]]}, set())
    assert waiting.without({"b"}) == [(0, 0), (1, 0)]
    assert waiting.without({"b"}) == []
    waiting.arrived({"a", "c"})
    assert [waiting.take(), waiting.take(), waiting.take()] == [0, 2, None]
    assert len(waiting) == 0


KEYS = st.frozensets(st.sampled_from("abcdef"))


@given(
    needs=st.dictionaries(st.integers(0, 20), st.lists(KEYS, min_size=1, max_size=3), max_size=12),
    present=KEYS,
    events=st.lists(st.tuples(st.booleans(), KEYS), max_size=6),
)
def test_every_part_is_lost_or_begins_with_its_job(
    needs: dict[int, list[frozenset[str]]],
    present: frozenset[str],
    events: list[tuple[bool, frozenset[str]]],
) -> None:
    waiting = Waiting(needs, present)
    there, lost, begun = set(present), list[tuple[int, int]](), list[int]()
    for arrives, keys in [*events, (True, frozenset("abcdef"))]:
        if arrives:
            there |= keys
            waiting.arrived(keys)
        else:
            lost += waiting.without(keys - there)
        while (number := waiting.take()) is not None:
            assert all(part <= there for at, part in enumerate(needs[number]) if (number, at) not in lost)
            begun.append(number)
    assert len(lost) == len(set(lost))
    assert len(begun) == len(set(begun))
    whole = {number for number, parts in needs.items() if all((number, at) in lost for at in range(len(parts)))}
    assert set(begun) == set(needs) - whole
    assert len(waiting) == 0
