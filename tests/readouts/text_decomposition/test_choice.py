"""Forced choice between twins: margins that sum, and bits that are known."""

from __future__ import annotations

import numpy as np
import pytest

from readouts.text_decomposition.choice import Margins, choices, preferred, sharpness
from readouts.text_decomposition.lens import Stored
from readouts.text_decomposition.texts import TextTable, captions, exchanged
from tests.readouts.text_decomposition.known import HEADS, LAYERS, SPACE, WIDTH, given, lens, outputs

N = 30
RNG = np.random.default_rng(0)


def twin_codes(n: int, seed: int) -> np.ndarray:
    """Two objects that differ in colour and in shape."""
    rng = np.random.default_rng(seed)
    codes = np.zeros((n, 16), np.uint8)
    for row in range(n):
        colors, shapes = rng.permutation(4)[:2], rng.permutation(4)[:2]
        codes[row, colors * 4 + shapes] = 1
    return codes


CODES = {"validation": twin_codes(N, 1), "test": twin_codes(N, 2)}


def made(grammar: str = "plain", *, other: bool = True):
    columns = {"validation": outputs(N, 1), "test": outputs(N, 2)}
    known = given(columns, np.zeros(N, int), np.eye(WIDTH), codes=CODES)
    texts = [
        text
        for codes in CODES.values()
        for code in (codes, exchanged(codes, SPACE))
        for text in captions(code, SPACE, grammar)
    ]
    distinct = tuple(dict.fromkeys(texts))
    vectors = RNG.standard_normal((len(distinct), WIDTH)).astype(np.float32)
    object.__setattr__(known, "table", TextTable(distinct, vectors if other else np.ones_like(vectors)))
    object.__setattr__(known, "grammar", grammar)
    return known


def test_the_twin_has_the_same_features_and_other_objects() -> None:
    other = exchanged(CODES["test"], SPACE)
    assert np.array_equal(SPACE.feature_codes(other), SPACE.feature_codes(CODES["test"]))
    assert (other != CODES["test"]).any(1).all()
    assert np.array_equal(exchanged(other, SPACE), CODES["test"])
    single = np.eye(16, dtype=np.uint8)
    assert np.array_equal(exchanged(single, SPACE), single)


def test_margins_of_terms_sum_to_that_of_the_embedding() -> None:
    known = made()
    found = choices(known)
    terms = lens().all_terms(Stored.of(outputs(N, 2))).numpy()
    own = known.table.rows(captions(CODES["test"], SPACE, "plain"))
    other = known.table.rows(captions(exchanged(CODES["test"], SPACE), SPACE, "plain"))
    expected = (terms.sum(1) * (own - other)).sum(1)
    assert found.test.shape == (N, LAYERS * HEADS + LAYERS + 2)
    assert np.allclose(found.test[:, -1], expected, rtol=1e-4, atol=1e-5)
    assert np.allclose(found.test[:, :-1].sum(1), expected, rtol=1e-4, atol=1e-5)
    assert np.allclose(found.test[:, 3], (terms[:, 3] * (own - other)).sum(1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("known", [made("features"), made(other=False)], ids=["features", "equal vectors"])
def test_captions_that_cannot_be_told_apart_have_no_margin(known) -> None:
    found = choices(known)
    assert (found.test == 0).all()
    assert (found.bits(found.of_all) == 0).all()
    assert (found.bits(found.of([0, 2])) == 0).all()
    assert (preferred(found.test) == 0.5).all()


def test_margins_of_several_terms_are_sums_and_what_is_left_is_the_difference() -> None:
    found = choices(made())
    some = found.of([1, 3, 4])
    assert np.allclose(some.test, found.test[:, 1] + found.test[:, 3] + found.test[:, 4], atol=1e-6)
    left = found.of_all - some
    rest = [position for position in range(LAYERS * HEADS + LAYERS + 1) if position not in (1, 3, 4)]
    assert np.allclose(left.test, found.of(rest).test, atol=1e-4)
    assert np.allclose(left.fitted, found.of(rest).fitted, atol=1e-4)


def test_the_sharpness_of_a_margin_comes_from_validation_scenes() -> None:
    found = choices(made())
    sure = Margins(np.ones(5, np.float32), np.float32([1, -1, 0]))
    bits = found.bits(sure)
    assert bits[0] > 0.999
    assert bits[1] < -1000, "a sure margin that is wrong costs much"
    assert bits[2] == 0
    assert (found.bits(Margins(-np.ones(5, np.float32), np.float32([1, -1]))) == 0).all(), "no τ below 0"


def test_what_a_term_loses_is_the_whole_where_it_is_all_there_is() -> None:
    """One term holds the margin, the others noise: without it nothing is left, without another all is."""
    found = choices(made())
    for margins, n in ((found.fitted, len(found.fitted)), (found.test, len(found.test))):
        margins[:] = 1e-4 * np.random.default_rng(n).standard_normal(margins.shape)
        margins[:, 2] = 1
        margins[:, -1] = margins[:, :-1].sum(axis=1)
    whole = found.bits(found.of_all).mean()
    lost = [whole - found.bits(found.of_all - found.of([term])).mean() for term in (2, 0)]
    assert lost[0] == pytest.approx(1, abs=0.15)
    assert lost[1] == pytest.approx(0, abs=0.01)


def test_scenes_without_a_twin_are_refused() -> None:
    known = made()
    for one in ("validation", "test"):
        known.columns[f"{one}_labels"]["object_codes"] = np.eye(16, dtype=np.uint8)[np.arange(N) % 16]
    with pytest.raises(ValueError, match="twinshapes"):
        choices(known)


def test_sharpness_is_where_the_loss_is_least() -> None:
    margins = (RNG.normal(0.3, 1.0, (500, 3)) * [1, 10, 0.1]).astype(np.float32)
    best = sharpness(margins)
    assert np.allclose(best[0], best[1] * 10, rtol=0.5)

    def loss(tau: np.ndarray) -> np.ndarray:
        return np.logaddexp(0, -tau * margins).mean(0)

    for factor in (0.9, 1.1):
        assert (loss(best) <= loss(best * factor)).all()


def test_a_margin_against_the_truth_tells_nothing_and_a_sure_one_a_whole_bit() -> None:
    wrong = -np.abs(RNG.standard_normal((100, 1))).astype(np.float32)
    assert sharpness(wrong)[0] == 0
    right = 1 + np.abs(RNG.standard_normal((100, 1))).astype(np.float32)
    bits = 1 - np.logaddexp(0, -sharpness(right) * right) / np.log(2)
    assert bits.mean() > 0.999
