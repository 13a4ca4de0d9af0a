"""Captions held against scenes: hand-made answers."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from frozen.data.scenes.codes import FeatureSpace
from readouts.captions.parsing import Parser, words_of
from readouts.captions.truth import Counts, count, repairing_chance, truth_columns

SPACE = FeatureSpace.of(color=("red", "blue", "green"), shape=("cube", "sphere", "cone"))
PARSER = Parser(SPACE)
TWO = [(0, 0), (1, 1)]
THREE = [(0, 0), (1, 1), (2, 2)]


def counted(caption: str, objects: list[tuple[int, ...]] = TWO) -> Counts:
    return count(PARSER.read(caption), objects, PARSER)


@pytest.mark.parametrize(
    ("caption", "hits", "named", "possible", "swapped", "chance"),
    [
        ("a red cube and a blue sphere", 2, 2, 2, 0, 1.0),
        ("a red sphere and a blue cube", 0, 2, 2, 2, 1.0),
        ("a green cube", 0, 1, 0, 0, 0.0),
        ("a red and a cube", 0, 0, 0, 0, 0.0),
        ("a red cube and a red cube", 1, 1, 1, 0, 0.5),
        ("red and blue and cube and sphere", 0, 0, 0, 0, 0.0),
        ("", 0, 0, 0, 0, 0.0),
    ],
)
def test_pairs_of_two_objects(
    caption: str, hits: int, named: int, possible: int, swapped: int, chance: float
) -> None:
    found = counted(caption)
    assert (found.pair_hits, found.named, found.possible, found.swapped) == (hits, named, possible, swapped)
    assert found.chance_hits == pytest.approx(chance)
    assert found.pairs == 2


def test_three_objects_with_two_swapped_are_a_third_right() -> None:
    found = counted("a red sphere and a blue cube and a green cone", THREE)
    assert (found.pair_hits, found.possible, found.swapped) == (1, 3, 2)
    assert found.chance_hits == pytest.approx(1.0)


def test_attributes_count_once_each_in_whatever_pairing() -> None:
    found = counted("a red sphere and a red cone")
    assert found.value_hits == (1, 1)
    assert found.values == (2, 2)


@pytest.mark.parametrize("objects", [TWO, THREE, [(0, 0), (0, 1), (1, 2)], [(0, 0), (0, 0), (1, 1), (2, 0)]])
def test_the_chance_of_a_pair_is_its_mean_over_all_repairings(objects: list[tuple[int, ...]]) -> None:
    colors, shapes = zip(*objects, strict=True)
    dealt = [set(zip(colors, order, strict=True)) for order in permutations(shapes)]
    for pair in {(color, shape) for color in colors for shape in shapes}:
        expected = np.mean([pair in one for one in dealt])
        assert repairing_chance(pair, objects, PARSER) == pytest.approx(expected)


def test_phrases_end_at_other_words_and_at_a_second_word_of_a_group() -> None:
    assert PARSER.read("the red, cube").pairs == {(0, 0)}
    assert PARSER.read("red blue cube").pairs == {(1, 0)}
    assert PARSER.read("red shiny cube").pairs == frozenset()
    assert PARSER.read("a cube red").pairs == {(0, 0)}
    assert PARSER.read("Two RED cubes").number == 2


def test_words_are_read_without_punctuation() -> None:
    assert words_of("A man's dog, on a t-shirt - !") == ["a", "man's", "dog", "on", "a", "t", "shirt"]


def test_of_four_groups_colour_and_shape_are_bound_whatever_stands_between() -> None:
    space = FeatureSpace.of(color=("red", "blue"), shape=("cube", "ball"), material=("metal",), size=("big", "small"))
    assert Parser(space).read("a big red metal cube").pairs == {(0, 0)}


def test_columns_of_many_scenes() -> None:
    codes = np.zeros((3, 9), dtype=np.uint8)
    codes[:2, [0, 4]] = 1
    found = truth_columns(["two a red cube", "one a blue cube", "nothing"], codes, PARSER)
    assert found["pair_hits"].tolist() == [1, 0, 0]
    assert found["swapped"].tolist() == [0, 1, 0]
    assert found["pairs"].tolist() == [2, 2, 0]
    assert found["number_right"].tolist() == [1, 0, 0]
    assert found["attributes"].tolist() == [4, 4, 0]
