"""Captions of scenes and their truth, each property on 500 scenes."""

from __future__ import annotations

import re
from itertools import product
from typing import Any

import numpy as np
import pytest

from frozen.data.scenes import (
    GRAMMARS,
    FewShapes,
    Grammar,
    SplitPolicy,
    TwinShapes,
    caption,
    entails,
    phrase,
    vocabulary,
)
from frozen.data.scenes._drawing import Layout
from frozen.data.scenes.codes import FeatureSpace

N = 500
EVERY = np.arange(N)
SPLIT = SplitPolicy(train=2, validation=2, test=N)
SCENES: Any = FewShapes(min_objects=0, split=SPLIT).open("test")
TWINS: Any = TwinShapes(split=SPLIT).open("test")
SPACE: FeatureSpace = SCENES.space
COLORS, SHAPES = (group.values for group in SPACE.groups)
KIND = f"a (?:{'|'.join(COLORS)}) (?:{'|'.join(SHAPES)})"
PLACE = "(?:upper|lower) (?:left|right)"
FORMS: dict[Grammar, str] = {
    "plain": f"{KIND}(?: and {KIND})*",
    "partial": f"a (?:{'|'.join(COLORS + SHAPES)})",
    "features": f"(?:{'|'.join(COLORS + SHAPES)})(?: and (?:{'|'.join(COLORS + SHAPES)}))*",
    "counted": f"(?:one|two|three) {KIND}(?: and {KIND})*",
    "placed": f"(?:one|two|three) {KIND} {PLACE}(?: and {KIND} {PLACE})*",
}
LONGEST: dict[Grammar, int] = {"plain": 11, "partial": 2, "features": 11, "counted": 12, "placed": 18}


def one_scene(*objects: tuple[str, int, int]) -> Layout:
    """A scene of named objects with boxes of 12 px at the given corners."""
    ordered = sorted((SPACE.object_names.index(name), x, y) for name, x, y in objects)
    kinds = np.array([[kind for kind, _, _ in ordered]], dtype=np.int16)
    boxes = np.array([[(x, y, x + 12, y + 12) for _, x, y in ordered]], dtype=np.int16)
    return Layout(kinds, boxes)


RED_AND_BLUE = one_scene(("red square", 10, 10), ("blue circle", 40, 40))


@pytest.mark.parametrize(
    ("grammar", "expected"),
    [
        ("plain", "a red square and a blue circle"),
        ("features", "red and blue and circle and square"),
        ("counted", "two a red square and a blue circle"),
        ("placed", "two a red square upper left and a blue circle lower right"),
    ],
)
def test_the_caption_of_a_known_scene(grammar: Grammar, expected: str) -> None:
    assert caption(RED_AND_BLUE, SPACE, 64, grammar) == [expected]


def test_counted_captions_go_left_to_right_and_ties_top_to_bottom() -> None:
    tied = one_scene(("red square", 20, 40), ("blue circle", 20, 10), ("green circle", 19, 50))
    assert caption(tied, SPACE, 64, "counted") == ["three a green circle and a blue circle and a red square"]


@pytest.mark.parametrize(("corner", "place"), [((25, 25), "upper left"), ((26, 26), "lower right")])
def test_places_are_told_from_the_middle_of_the_image(corner: tuple[int, int], place: str) -> None:
    """A box of 12 px at 26 has its middle at 32, the middle of the image, which counts as right and lower."""
    assert caption(one_scene(("red circle", *corner)), SPACE, 64, "placed") == [f"one a red circle {place}"]


@pytest.mark.parametrize("grammar", GRAMMARS)
@pytest.mark.parametrize("seed", [None, 0])
def test_every_caption_has_its_grammars_form_and_length(grammar: Grammar, seed: int | None) -> None:
    if grammar == "partial" and seed is None:
        pytest.skip("partial captions need a generator")
    rng = None if seed is None else np.random.default_rng(seed)
    captions = SCENES.captions(EVERY, grammar, rng)
    words = vocabulary(SPACE)
    for text, code in zip(captions, SCENES.object_codes, strict=True):
        assert set(text.split(" ")) <= set(words)
        assert (text == "nothing") == (code.sum() == 0)
        assert text == "nothing" or re.fullmatch(FORMS[grammar], text)
    longest = max(len(text.split()) for text in captions)
    assert longest <= LONGEST[grammar] if rng else longest == LONGEST[grammar]


def test_the_vocabulary_has_each_word_once() -> None:
    words = vocabulary(SPACE)
    assert len(words) == len(set(words)) == 18
    assert words[:3] == ("a", "and", "nothing")


def named(code: np.ndarray) -> tuple[set[str], set[str]]:
    """Objects and attributes of a scene, by name."""
    objects = {SPACE.object_names[k] for k in np.flatnonzero(code)}
    return objects, {word for name in objects for word in name.split()}


def true_of(text: str, code: np.ndarray) -> bool:
    """The truth of a caption, word by word."""
    objects, attributes = named(code)
    if text == "nothing":
        return not objects
    parts = [part.removeprefix("a ") for part in text.split(" and ")]
    return all(part in (objects if " " in part else attributes) for part in parts)


@pytest.mark.parametrize("grammar", ["plain", "partial", "features"])
def test_entailment_is_the_truth_of_every_pair_and_a_scene_entails_its_own_captions(grammar: Grammar) -> None:
    captions = SCENES.captions(EVERY, grammar, np.random.default_rng(1))
    truth = entails(SCENES.object_codes, captions, SPACE)
    assert truth.diagonal().all()
    assert 0 < truth.mean() < 1
    few = np.arange(0, N, 7)
    expected = [[true_of(captions[j], SCENES.object_codes[i]) for j in few] for i in few]
    np.testing.assert_array_equal(truth[np.ix_(few, few)], expected)


def test_random_captions_name_a_part_of_the_scene_and_all_parts_occur() -> None:
    scene = one_scene(("red square", 10, 10), ("blue circle", 40, 40))
    rng = np.random.default_rng(0)
    many = Layout(np.repeat(scene.kinds, N, axis=0), np.repeat(scene.boxes, N, axis=0))
    one, other = "a red square", "a blue circle"
    assert set(caption(many, SPACE, 64, "plain", rng)) == {one, other, f"{one} and {other}", f"{other} and {one}"}
    assert set(caption(many, SPACE, 64, "partial", rng)) == {"a red", "a blue", "a square", "a circle"}
    assert len(set(caption(many, SPACE, 64, "features", rng))) == 15


def test_captions_by_chance_follow_from_the_generator_alone() -> None:
    draws = [SCENES.captions(EVERY, "plain", np.random.default_rng(seed)) for seed in (3, 3, 4)]
    assert draws[0] == draws[1] != draws[2]


def test_captions_whose_truth_the_code_does_not_decide_are_refused() -> None:
    with pytest.raises(ValueError, match="'two a red square': 'two a red square' names neither"):
        entails(SCENES.object_codes[:1], ["two a red square"], SPACE)


def test_partial_captions_need_a_generator_and_counted_ones_a_count_word() -> None:
    with pytest.raises(ValueError, match="give a generator"):
        SCENES.captions(EVERY[:1], "partial")
    four = one_scene(*[(f"{color} circle", 0, 0) for color in COLORS])
    with pytest.raises(ValueError, match="count words for up to 3 objects, got a scene of 4"):
        caption(four, SPACE, 64, "counted")


def test_features_captions_of_a_scene_and_its_twin_are_equal() -> None:
    captions = TWINS.captions(EVERY, "features")
    assert captions[::2] == captions[1::2]


@pytest.mark.parametrize("grammar", ["plain", "counted", "placed"])
def test_captions_of_twins_hold_the_same_words_and_place_by_place_two_of_them_differ(grammar: Grammar) -> None:
    """Plain captions list objects by code, so a twin's exchanges the shapes; by place, the colours."""
    captions = TWINS.captions(EVERY, grammar)
    for one, other in zip(captions[::2], captions[1::2], strict=True):
        words = [(a, b) for a, b in zip(one.split(), other.split(), strict=True) if a != b]
        assert len(words) == 2
        assert words[0] == words[1][::-1]
        assert {words[0][0], words[0][1]} <= set(SHAPES if grammar == "plain" else COLORS)


def test_no_plain_caption_of_a_scene_is_true_of_its_twin() -> None:
    truth = entails(TWINS.object_codes, TWINS.captions(EVERY, "plain"), SPACE)
    assert truth.diagonal().all()
    assert not truth[EVERY, EVERY ^ 1].any()


def test_every_object_has_its_phrase() -> None:
    assert [phrase(k, SPACE) for k in range(SPACE.n_objects)] == [f"a {c} {s}" for c, s in product(COLORS, SHAPES)]


def test_swapped_captions_of_twins_are_the_captions_of_the_other_one() -> None:
    split = TwinShapes(split=SplitPolicy(train=2, validation=2, test=60)).open("test")
    indices = np.arange(60)
    for grammar in ("counted", "placed", "plain"):
        swapped = split.labels(f"swapped_caption:{grammar}", indices)
        np.testing.assert_array_equal(swapped, split.labels(f"caption:{grammar}", indices ^ 1))


def test_a_scene_that_no_swap_changes_has_no_swapped_caption() -> None:
    split = FewShapes(split=SplitPolicy(train=2, validation=2, test=200)).open("test")
    swapped = split.labels("swapped_caption:counted", np.arange(200))
    own = split.labels("caption:counted", np.arange(200))
    codes = split.object_codes
    features = split.space.feature_codes(codes)
    for text, other, code, feature in zip(own, swapped, codes, features, strict=True):
        if code.sum() == 1 or split.space.present_counts(feature[None]).min() == 1:
            assert other == ""
        elif other:
            assert other != text
            assert sorted(other.split()) == sorted(text.split())
    assert (swapped != "").sum() > 50


def test_labels_of_a_later_sample_are_found_by_its_distance() -> None:
    split = FewShapes(split=SplitPolicy(train=2, validation=2, test=9)).open("test")
    own = split.labels("caption:counted", np.arange(9))
    np.testing.assert_array_equal(split.labels("caption:counted@4", np.array([0, 7])), own[[4, 2]])
