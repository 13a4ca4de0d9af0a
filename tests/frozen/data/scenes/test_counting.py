from collections.abc import Iterable
from itertools import chain, combinations, product
from math import comb, prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frozen.data.scenes._counting import between, n_covering, n_draws_onto, weighted_subsets

# number of n x n matrices of zeros and ones without an empty row or column, OEIS A048291
COVERING_SQUARES = {1: 1, 2: 7, 3: 265, 4: 41503, 5: 24997921, 8: 17343602252913832063}


def subsets(things: Iterable, least: int, most: int) -> Iterable[tuple]:
    things = list(things)
    return chain.from_iterable(combinations(things, k) for k in range(max(least, 0), min(most, len(things)) + 1))


def covering_by_enumeration(present: tuple[int, ...], least: int, most: int) -> int:
    """Subsets of the grid whose projections on every axis are full."""
    grid = product(*map(range, present))
    return sum(
        all({cell[g] for cell in chosen} == set(range(size)) for g, size in enumerate(present))
        for chosen in subsets(grid, least, most)
    )


@pytest.mark.parametrize("cells", range(5))
def test_subsets_of_every_size_range(cells: int) -> None:
    for least, most in product(range(-2, 7), repeat=2):
        assert weighted_subsets(cells, between(least, most)) == sum(1 for _ in subsets(range(cells), least, most))


@pytest.mark.parametrize(
    "present",
    [(0,), (1,), (4,), (1, 1), (2, 2), (2, 3), (3, 2), (3, 3), (3, 4), (1, 4), (2, 2, 2), (2, 2, 3), (1, 2, 3)],
)
def test_coverings_equal_enumeration_at_every_size(present: tuple[int, ...]) -> None:
    for k in range(prod(present) + 2):
        assert n_covering(present, k, k) == covering_by_enumeration(present, k, k)
    assert n_covering(present, 0, 4) == covering_by_enumeration(present, 0, 4)


@pytest.mark.parametrize("present", [(0, 0), (0, 0, 0)])
def test_the_empty_scene_counts_once(present: tuple[int, ...]) -> None:
    assert n_covering(present, 0, 5) == 1
    assert n_covering(present, 1, 5) == 0


@pytest.mark.parametrize("present", [(0, 2), (2, 0), (2, 0, 1)])
def test_features_of_some_groups_only_are_impossible(present: tuple[int, ...]) -> None:
    assert n_covering(present, 0, 5) == 0


@pytest.mark.parametrize(("side", "count"), COVERING_SQUARES.items())
def test_published_counts_of_full_squares(side: int, count: int) -> None:
    assert n_covering((side, side), 0, side * side) == count


def test_one_object_a_row_and_column_is_a_permutation() -> None:
    assert n_covering((6, 6), 6, 6) == 720


@settings(derandomize=True, max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple), data=st.data())
def test_every_subset_has_one_feature_code(sizes: tuple[int, ...], data: st.DataObject) -> None:
    """Summed over all feature codes, the subsets of k objects are all C(K, k)."""
    k = data.draw(st.integers(0, prod(sizes)))
    vectors = product(*(range(size + 1) for size in sizes))
    total = sum(prod(map(comb, sizes, present)) * n_covering(present, k, k) for present in vectors)
    assert total == comb(prod(sizes), k)


@settings(derandomize=True, max_examples=30, deadline=None)
@given(present=st.lists(st.integers(1, 5), min_size=1, max_size=3), data=st.data())
def test_the_order_of_the_groups_does_not_matter(present: list[int], data: st.DataObject) -> None:
    least = data.draw(st.integers(0, prod(present)))
    most = data.draw(st.integers(least, prod(present)))
    turned = tuple(data.draw(st.permutations(present)))
    assert n_covering(tuple(present), least, most) == n_covering(turned, least, most)


def test_draws_that_hit_every_one_of_some_things() -> None:
    for n_draws, most in product(range(6), range(4)):
        counted = [
            sum(set(draws) == set(range(k)) for draws in product(range(k), repeat=n_draws)) for k in range(most)
        ]
        assert list(n_draws_onto(n_draws, most - 1)) == counted
