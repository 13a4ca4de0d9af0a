"""Which cells can begin, as entries of the store arrive or fail."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sweep.engine.waiting import Waiting


def test_cells_begin_when_all_they_read_is_there_the_first_first() -> None:
    waiting = Waiting({0: ["a", "b"], 1: ["b"], 2: ["c"], 3: []}, {"c"})
    assert (len(waiting), waiting.n_ready) == (4, 2)
    assert [waiting.take(), waiting.take(), waiting.take()] == [2, 3, None]
    waiting.arrived({"b"})
    assert waiting.take() == 1
    waiting.arrived({"a"})
    waiting.put_back(2)
    assert [waiting.take(), waiting.take(), waiting.take()] == [0, 2, None]
    assert len(waiting) == 0


def test_cells_whose_entries_could_not_be_made_wait_no_longer() -> None:
    waiting = Waiting({0: ["a", "b"], 1: ["b"], 2: ["c"]}, set())
    assert waiting.without({"b"}) == [0, 1]
    assert waiting.without({"b"}) == []
    waiting.arrived({"a", "c"})
    assert [waiting.take(), waiting.take()] == [2, None]
    assert len(waiting) == 0


@given(
    needs=st.dictionaries(st.integers(0, 20), st.frozensets(st.sampled_from("abcdef")), max_size=12),
    present=st.frozensets(st.sampled_from("abcdef")),
    events=st.lists(st.tuples(st.booleans(), st.frozensets(st.sampled_from("abcdef"))), max_size=6),
)
def test_every_cell_ends_exactly_once(
    needs: dict[int, frozenset[str]],
    present: frozenset[str],
    events: list[tuple[bool, frozenset[str]]],
) -> None:
    waiting = Waiting(needs, present)
    there, ended = set(present), list[int]()
    for arrives, keys in [*events, (True, frozenset("abcdef"))]:
        if arrives:
            there |= keys
            waiting.arrived(keys)
        else:
            ended += waiting.without(keys - there)
        while (number := waiting.take()) is not None:
            assert needs[number] <= there
            ended.append(number)
    assert sorted(ended) == sorted(needs)
    assert len(waiting) == 0
