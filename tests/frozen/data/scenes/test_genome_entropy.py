"""Both entropies of weighted images, and the odds, against listing everything."""

from __future__ import annotations

import math
from collections import Counter
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frozen.data.scenes._genome_entropy import (
    assignment_entropy_bits,
    code_entropy_bits,
    code_log_odds,
    n_assignment_states,
    n_code_states,
)

LOG_WEIGHTS = st.floats(-30, 1)


def entropy_bits(log_weights: list[float]) -> float:
    total = np.logaddexp.reduce(log_weights)
    return -sum(math.exp(w - total) * (w - total) for w in log_weights) / math.log(2)


def grid(draw: st.DrawFn, *shape: int) -> np.ndarray:
    size = math.prod(shape)
    return np.array(draw(st.lists(LOG_WEIGHTS, min_size=size, max_size=size))).reshape(shape)


@st.composite
def deals(draw: st.DrawFn) -> tuple[np.ndarray, tuple[int, ...]]:
    counts = tuple(draw(st.lists(st.integers(1, 3), min_size=1, max_size=3)))
    return grid(draw, 2, sum(counts), len(counts)), counts


@given(deals())
@settings(max_examples=60, deadline=None)
def test_assignments(deal: tuple[np.ndarray, tuple[int, ...]]) -> None:
    log_weights, counts = deal
    multiset = [a for a, count in enumerate(counts) for _ in range(count)]
    found = assignment_entropy_bits(log_weights, counts)
    for image, bits in zip(log_weights, found, strict=True):
        ways = [sum(image[i, a] for i, a in enumerate(way)) for way in set(permutations(multiset))]
        assert bits == pytest.approx(entropy_bits(ways), abs=1e-9)


def codes_with_everything(n_classes: int, n_attributes: int) -> list[np.ndarray]:
    every = (
        np.array(bits).reshape(n_classes, n_attributes) for bits in product((0, 1), repeat=n_classes * n_attributes)
    )
    return [code for code in every if code.any(axis=0).all() and code.any(axis=1).all()]


@st.composite
def scenes(draw: st.DrawFn) -> np.ndarray:
    n_classes = draw(st.integers(1, 4))
    return grid(draw, 2, n_classes, draw(st.integers(1, 3 if n_classes == 4 else 4)))


@given(scenes(), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_codes_and_their_odds(log_weights: np.ndarray, random) -> None:
    _, n_classes, n_attributes = log_weights.shape
    every = codes_with_everything(n_classes, n_attributes)
    chosen = np.stack([random.choice(every) for _ in log_weights]).astype(np.uint8)
    bits, odds = code_entropy_bits(log_weights), code_log_odds(log_weights, chosen)
    for image, true, found_bits, found in zip(log_weights, chosen, bits, odds, strict=True):
        weights = {tuple(code.ravel()): float((image * code).sum()) for code in every}
        assert found_bits == pytest.approx(entropy_bits(list(weights.values())), abs=1e-9)
        prefix = tuple(true.ravel().tolist())
        for k in range(len(prefix)):
            taken, left = ([w for c, w in weights.items() if c[: k + 1] == (*prefix[:k], bit)] for bit in (1, 0))
            expected = (
                math.inf
                if not left
                else np.logaddexp.reduce(taken) - np.logaddexp.reduce(left)
                if taken
                else -math.inf
            )
            assert found.ravel()[k] == pytest.approx(expected, abs=1e-8)


def test_four_people_in_four_colours() -> None:
    """The deal is uncertain, 24 ways alike; the object code is not."""
    equal = np.zeros((1, 4, 4))
    assert assignment_entropy_bits(equal, (1, 1, 1, 1))[0] == pytest.approx(math.log2(24))
    assert code_entropy_bits(equal[:, :1])[0] == 0
    assert np.isposinf(code_log_odds(equal[:, :1], np.ones((1, 1, 4), dtype=np.uint8))).all()


def test_codes_of_equal_weight_count_the_coverings() -> None:
    """41,503 matrices of 4 x 4 zeros and ones have no empty row or column (OEIS A048291)."""
    assert code_entropy_bits(np.zeros((1, 4, 4)))[0] == pytest.approx(math.log2(41503))


def test_weights_far_below_the_smallest_float_are_no_problem() -> None:
    bits = code_entropy_bits(np.full((1, 6, 6), -400.0))
    assert bits[0] == pytest.approx(math.log2(math.factorial(6)), abs=1e-9)  # only the smallest codes are left


def test_entropies_of_both_sides_agree() -> None:
    log_weights = np.random.default_rng(0).normal(-3, 2, size=(3, 5, 3))
    np.testing.assert_allclose(code_entropy_bits(log_weights), code_entropy_bits(log_weights.transpose(0, 2, 1)))


def test_states_are_counted_before_anything_is_computed() -> None:
    assert n_code_states(12) == 8192
    assert n_assignment_states((1,) * 40) == 2**40
    assert n_assignment_states(list(Counter("aabc").values())) == 3 * 2 * 2
