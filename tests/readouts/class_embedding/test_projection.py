from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from frozen.models import TokenLayout
from readouts.class_embedding.estimates import permutation_p
from readouts.class_embedding.projection import (
    Ranks,
    class_gain,
    class_gain_p,
    composition,
    identified,
    per_image,
    rise,
    select,
)
from readouts.class_embedding.ranks import ABSENT

LAYOUT = TokenLayout(has_cls=True, n_registers=1, grid=(2, 2), width=8)


def ranks_of(best: list[list[int]]) -> Ranks:
    classes = np.array(best)
    return Ranks(np.zeros(classes.shape, np.uint16), np.zeros(classes.shape), classes)


def test_kinds_of_tokens_share_the_tokens_out() -> None:
    shows = np.array([[True, False, False, True]])
    kinds = {kind: select(kind, 6, LAYOUT, shows)[0] for kind in ("cls", "register", "class", "context", "image")}
    assert kinds["cls"].tolist() == [True] + [False] * 5
    assert kinds["register"].tolist() == [False, True] + [False] * 4
    assert kinds["class"].tolist() == [False, False, True, False, False, True]
    assert np.array_equal(kinds["image"], kinds["class"] | kinds["context"])


def test_measures_of_known_ranks() -> None:
    here = Ranks(
        np.array([[0, 2, 0, 6, ABSENT, 4], [10, 0, 8, 8, 8, 8]], np.uint16), np.zeros((2, 6)), np.zeros((2, 6))
    )
    found = identified(here, select("image", 6, LAYOUT, None), 5)
    assert found["identifiability"] == pytest.approx([np.mean([1, 0.4, 0.6]), 0.2])
    assert found["rate_percent"] == pytest.approx([100 / 3, 0])
    assert found["images_percent"].tolist() == [100, 0]
    nothing = identified(here, np.zeros((1, 6), bool), 5)
    assert all(np.isnan(value).all() for value in nothing.values())


def test_composition_of_tokens_that_match_one_thing_each() -> None:
    here, before = ranks_of([[1, 2, 3, 4]]), ranks_of([[1, 0, 0, 0]])
    attention, mlp = ranks_of([[0, 2, 0, 0]]), ranks_of([[0, 0, 3, 0]])
    tokens = np.ones((1, 4), bool)
    found = composition(here, before, attention, mlp, tokens, test_mlp=True)
    assert {name: value[0] for name, value in found.items()} == {
        "kept_percent": 25,
        "attention_percent": 25,
        "mlp_percent": 25,
        "composed_percent": 25,
    }
    paper = composition(here, before, attention, mlp, tokens, test_mlp=False)
    assert paper["composed_percent"][0] == 50


def test_rise_counts_larger_logits_only() -> None:
    def with_logits(logits: list[float]) -> Ranks:
        return Ranks(np.zeros((1, 4), np.uint16), np.array([logits]), np.zeros((1, 4)))

    here, before = with_logits([1.0, 2.0, 3.0, 4.0]), with_logits([0.0, 2.0, 4.0, 3.0])
    assert rise(here, before, np.ones((1, 4), bool)) == pytest.approx([50.0])


def correlated(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Values that fall from the top of the image to its bottom, and masks that are one half of it, at random."""
    rng = np.random.default_rng(seed)
    slope = rng.normal(size=(60, 1)) * np.linspace(-1, 1, 16)
    shows = np.arange(16) < 8
    flipped = rng.random(60) < 0.5
    return slope + 0.1 * rng.normal(size=(60, 16)), np.where(flipped[:, None], ~shows, shows)


def test_p_values_of_nothing_are_uniform_and_never_zero() -> None:
    found = np.array([class_gain_p(*correlated(seed), 99, seed) for seed in range(200)])
    assert found.min() >= 0.01
    assert kstest(found - 0.005, "uniform").pvalue > 0.01


def test_permuting_single_tokens_would_find_something_in_nothing() -> None:
    def of_tokens(seed: int) -> float:
        values, shows = correlated(seed)
        rng = np.random.default_rng(seed)
        value = np.nanmean(class_gain(values, shows))
        permuted = [np.nanmean(class_gain(values, rng.permuted(shows, axis=1))) for _ in range(99)]
        return permutation_p(float(value), np.array(permuted))

    found = np.array([of_tokens(seed) for seed in range(60)])
    assert kstest(found - 0.005, "uniform").pvalue < 0.01


def test_a_gain_that_is_there_is_found() -> None:
    values, shows = correlated(0)
    assert class_gain_p(values + shows, shows, 99, 0) == pytest.approx(0.01)


def test_images_without_such_tokens_have_no_value() -> None:
    values = per_image(np.ones((2, 3)), np.array([[True, False, False], [False, False, False]]))
    assert values[0] == 1
    assert np.isnan(values[1])
