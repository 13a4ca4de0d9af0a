"""Exact counts of object codes, as Python integers (paper, section 2; inclusion-exclusion)."""

from __future__ import annotations

from functools import cache
from itertools import product
from math import comb, prod
from typing import NamedTuple

SizeWeights = tuple[int, ...]
"""Weight of a subset with 0, 1, 2, ... members; larger ones do not count."""


@cache
def between(least: int, most: int) -> SizeWeights:
    """Every subset with `least` to `most` members counts once."""
    return tuple(int(size >= least) for size in range(most + 1))


@cache
def n_draws_onto(n_draws: int, most: int) -> SizeWeights:
    """For k = 0 to `most`: the sequences of draws in which exactly k given things occur, by inclusion-exclusion."""
    return tuple(
        sum((-1) ** left_out * comb(k, left_out) * (k - left_out) ** n_draws for left_out in range(k + 1))
        for k in range(most + 1)
    )


@cache
def weighted_subsets(cells: int, weights: SizeWeights) -> int:
    """Total weight of the subsets of `cells` things."""
    return sum(weight * comb(cells, size) for size, weight in enumerate(weights) if weight)


def n_covering(present: tuple[int, ...], least: int, most: int) -> int:
    """Number of object codes with `least` to `most` objects that touch every present feature value."""
    return weighted_covering(present, between(least, most))


@cache
def weighted_covering(present: tuple[int, ...], weights: SizeWeights) -> int:
    """Total weight of the object codes that touch every present feature value.

    This is Σ_k w_k N_k(a) with N_k(a) = Σ_i (-1)^{Σ i_g} Π_g C(a_g, i_g) C(Π_g (a_g - i_g), k).

    Args:
        present: number a_g of present values in each group.
        weights: weight w_k of a code with k objects.

    Returns:
        The exact sum; w_0 for the empty scene, and 0 if only some groups are empty.
    """
    if min(present) == 0:
        return weights[0] if weights and max(present) == 0 else 0
    total = 0
    for left_out in product(*(range(a + 1) for a in present)):
        sign = -1 if sum(left_out) % 2 else 1
        ways = prod(comb(a, i) for a, i in zip(present, left_out, strict=True))
        cells = prod(a - i for a, i in zip(present, left_out, strict=True))
        total += sign * ways * weighted_subsets(cells, weights)
    return total


class GroupState(NamedTuple):
    """One group's present values, seen from the cell that was decided last.

    In the last group the cell's own value counts as behind, for no later cell of its row has it.
    """

    present: int
    ahead: int
    uncovered_ahead: int
    uncovered_here: int
    uncovered_behind: int


def n_completions(groups: tuple[GroupState, ...], least: int, most: int) -> int:
    """Number of ways to fill the cells after a given one with `least` to `most` further objects."""
    return weighted_completions(groups, between(least, most))


@cache
def weighted_completions(groups: tuple[GroupState, ...], weights: SizeWeights) -> int:
    """Total weight of the ways to fill the cells after a given one so that every present value ends up covered.

    Cells are filled in the order of the object code (last group fastest). The cells still to come
    form one block per group: those that agree with the last cell in all earlier groups and lie
    ahead of it in this one. Inclusion-exclusion runs over the uncovered values.

    Args:
        groups: for each group, the present values still ahead of and uncovered around the cell.
        weights: weight of a completion with 0, 1, 2, ... further objects.
    """
    if not weights or groups[0].uncovered_behind or (len(groups) == 1 and groups[0].uncovered_here):
        return 0
    choices = [
        product(range(g.uncovered_ahead + 1), range(g.uncovered_here + 1), range(g.uncovered_behind + 1))
        for g in groups
    ]
    total = 0
    for left_out in product(*choices):
        sign = -1 if sum(map(sum, left_out)) % 2 else 1
        ways = prod(
            comb(g.uncovered_ahead, ahead) * comb(g.uncovered_behind, behind)
            for g, (ahead, _, behind) in zip(groups, left_out, strict=True)
        )
        total += sign * ways * weighted_subsets(_cells_to_come(groups, left_out), weights)
    return total


def _cells_to_come(groups: tuple[GroupState, ...], left_out: tuple[tuple[int, int, int], ...]) -> int:
    """Cells after the last one that avoid the values left out."""
    cells = 0
    for g in range(len(groups)):
        block = groups[g].ahead - left_out[g][0]
        block *= prod(groups[h].present - sum(left_out[h]) for h in range(g + 1, len(groups)))
        cells += block
        if left_out[g][1]:
            break
    return cells
