"""Captions held against the objects of their scene: counts whose ratios are recall, precision, binding and swaps."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, UInt8

from readouts.captions.parsing import Pair, Parser, Said


class Counts(NamedTuple):
    """Of one caption and its scene; things that are named or present more than once count once.

    Attributes:
        value_hits: of each group, values that are named and present.
        values: of each group, values that are present.
        pair_hits: pairs that are named and present.
        pairs: pairs that are present.
        named: pairs that are named.
        possible: of those, the ones whose two values are both in the scene.
        swapped: of those, the ones that are in the scene in another pairing only.
        chance_hits: pairs that would be named and present if the scene's second values were dealt out anew, all
            re-pairings equally likely: the exact expectation.
    """

    value_hits: tuple[int, ...]
    values: tuple[int, ...]
    pair_hits: int
    pairs: int
    named: int
    possible: int
    swapped: int
    chance_hits: float


def count(said: Said, objects: Sequence[tuple[int, ...]], parser: Parser) -> Counts:
    """Hold one caption against its scene.

    Args:
        said: what the caption says.
        objects: the values of each object, one a group.
        parser: of the same feature space.
    """
    n_groups = len(parser.space.groups)
    present = [{one[group] for one in objects} for group in range(n_groups)]
    true = _pairs(objects, parser)
    possible = {pair for pair in said.pairs if _has_both(pair, present, parser)}
    return Counts(
        tuple(len(said.values[group] & present[group]) for group in range(n_groups)),
        tuple(map(len, present)),
        len(said.pairs & true),
        len(true),
        len(said.pairs),
        len(possible),
        len(possible - true),
        sum(repairing_chance(pair, objects, parser) for pair in possible),
    )


def repairing_chance(pair: Pair, objects: Sequence[tuple[int, ...]], parser: Parser) -> float:
    """Probability that a pair is in a scene whose second values were dealt out anew to its objects.

    Of n objects, a with the first value and b with the second: 1 - C(n - b, a) / C(n, a).
    """
    if parser.bound is None:
        return 0.0
    first, second = parser.bound
    n = len(objects)
    a = sum(one[first] == pair[0] for one in objects)
    b = sum(one[second] == pair[1] for one in objects)
    return 1 - comb(n - b, a) / comb(n, a)


def _pairs(objects: Sequence[tuple[int, ...]], parser: Parser) -> set[Pair]:
    if parser.bound is None:
        return set()
    first, second = parser.bound
    return {(one[first], one[second]) for one in objects}


def _has_both(pair: Pair, present: Sequence[set[int]], parser: Parser) -> bool:
    assert parser.bound is not None
    first, second = parser.bound
    return pair[0] in present[first] and pair[1] in present[second]


def truth_columns(
    captions: Sequence[str], object_codes: UInt8[np.ndarray, "samples objects"], parser: Parser
) -> dict[str, Float64[np.ndarray, " samples"]]:
    """Counts of every sample, a column each; see `Counts`.

    Groups called color and shape have columns of their own beside those of all groups together.
    """
    values = parser.space.value_of_object
    said = parser.read_all(captions)
    counts = []
    for one, code in zip(said, object_codes, strict=True):
        objects = [tuple(row) for row in values[np.flatnonzero(code)].tolist()]
        counts.append(count(one, objects, parser))
    columns: dict[str, list[float]] = {
        "attribute_hits": [sum(one.value_hits) for one in counts],
        "attributes": [sum(one.values) for one in counts],
    }
    names = [group.name for group in parser.space.groups]
    for name in ("color", "shape"):
        if name in names:
            group = names.index(name)
            columns[f"{name}_hits"] = [one.value_hits[group] for one in counts]
            columns[f"{name}s"] = [one.values[group] for one in counts]
    for name in ("pair_hits", "pairs", "named", "possible", "swapped", "chance_hits"):
        columns[name] = [getattr(one, name) for one in counts]
    columns["chance_swaps"] = [one.possible - one.chance_hits for one in counts]
    n_objects = object_codes.sum(axis=1)
    columns["number_right"] = [one.number == n for one, n in zip(said, n_objects.tolist(), strict=True)]
    return {name: np.array(of, dtype=np.float64) for name, of in columns.items()}
