"""Exact counts of object codes, as Python integers (paper, section 2; inclusion-exclusion)."""

from __future__ import annotations

from functools import cache
from itertools import product
from math import comb, prod
from typing import NamedTuple


@cache
def n_subsets(cells: int, least: int, most: int) -> int:
    """Number of subsets of `cells` things with between `least` and `most` members."""
    return sum(comb(cells, k) for k in range(max(least, 0), min(cells, most) + 1))


@cache
def n_covering(present: tuple[int, ...], least: int, most: int) -> int:
    """Number of object codes with `least` to `most` objects that touch every present feature value.

    This is Σ_k N_k(a) with N_k(a) = Σ_i (-1)^{Σ i_g} Π_g C(a_g, i_g) C(Π_g (a_g - i_g), k).

    Args:
        present: number a_g of present values in each group.
        least: smallest number of objects, inclusive.
        most: largest number of objects, inclusive.

    Returns:
        The exact count; 1 for the empty scene if `least` is 0, and 0 if only some groups are empty.
    """
    if min(present) == 0:
        return int(max(present) == 0 and least <= 0 <= most)
    total = 0
    for left_out in product(*(range(a + 1) for a in present)):
        sign = -1 if sum(left_out) % 2 else 1
        ways = prod(comb(a, i) for a, i in zip(present, left_out, strict=True))
        cells = prod(a - i for a, i in zip(present, left_out, strict=True))
        total += sign * ways * n_subsets(cells, least, most)
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


@cache
def n_completions(groups: tuple[GroupState, ...], least: int, most: int) -> int:
    """Number of ways to fill the cells after a given one so that every present value ends up covered.

    Cells are filled in the order of the object code (last group fastest). The cells still to come
    form one block per group: those that agree with the last cell in all earlier groups and lie
    ahead of it in this one. Inclusion-exclusion runs over the uncovered values.

    Args:
        groups: for each group, the present values still ahead of and uncovered around the cell.
        least: smallest number of further objects, inclusive.
        most: largest number of further objects, inclusive.
    """
    if most < 0 or groups[0].uncovered_behind or (len(groups) == 1 and groups[0].uncovered_here):
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
        total += sign * ways * n_subsets(_cells_to_come(groups, left_out), least, most)
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
