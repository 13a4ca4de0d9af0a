import math
from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frozen.data.scenes._counting import n_covering
from frozen.data.scenes.codes import FeatureSpace
from frozen.data.scenes.priors import (
    FeatureDistribution,
    UniformPrior,
    _unique_rows,
    conditional_entropy_given_size_bits,
)
from frozen.problems import ConfigurationError

# sizes of the groups, smallest and largest number of objects
UNIFORM = [
    *[((4,), 0, most) for most in (0, 2, 9)],
    *[((2, 2), 0, most) for most in (0, 1, 3, 4, 7)],
    *[((3, 3), 0, most) for most in (2, 4, 9)],
    ((3, 4), 0, 5),
    *[((2, 2, 2), 0, most) for most in (0, 3, 8, 11)],
    ((2, 3, 2), 0, 12),
    ((1, 1), 0, 1),
]
BALANCED = [((4,), 3, 3), ((2, 2), 2, 2), ((3, 3), 4, 4), ((3, 4), 5, 5), ((2, 2, 2), 3, 3), ((2, 3, 2), 6, 6)]
EVERY_PRIOR = [*UNIFORM, *BALANCED, ((3, 3), 2, 5)]


def prior_of(sizes: tuple[int, ...], least: int, most: int) -> UniformPrior:
    space = FeatureSpace.of(**{f"group{g}": size for g, size in enumerate(sizes)})
    return UniformPrior(space, least, most)


def admitted_object_codes(prior: UniformPrior) -> np.ndarray:
    codes = np.array(list(product((0, 1), repeat=prior.space.n_objects)), dtype=np.uint8)
    sizes = codes.sum(axis=1)
    return codes[(prior.min_objects <= sizes) & (sizes <= prior.max_objects)]


def features_of(prior: UniformPrior, object_codes: np.ndarray) -> list[tuple[tuple[int, int], ...]]:
    """The present (group, value) pairs of every object code, in plain Python."""
    objects = list(product(*map(range, prior.space.sizes)))
    return [
        tuple(sorted({pair for values, bit in zip(objects, code, strict=True) if bit for pair in enumerate(values)}))
        for code in object_codes.tolist()
    ]


def random_balanced_codes(n: int) -> np.ndarray:
    """Codes of 18 objects covering 6 of 8 colours and 6 of 8 shapes, by plain rejection."""
    rng = np.random.default_rng(0)
    codes = np.zeros((n, 8, 8), dtype=np.uint8)
    for code in codes:
        rows, columns = (rng.permutation(8)[:6] for _ in range(2))
        while (code.any(axis=1).sum(), code.any(axis=0).sum()) != (6, 6):
            code[:] = 0
            cells = rng.permutation(36)[:18]
            code[rows[cells // 6], columns[cells % 6]] = 1
    return codes.reshape(n, 64)


def entropy_bits(counts: Counter) -> float:
    total = sum(counts.values())
    return -sum(count / total * math.log2(count / total) for count in counts.values())


def cross_entropy_bits(odds: np.ndarray, codes: np.ndarray) -> np.ndarray:
    wrong_way = np.where(codes == 1, -odds, odds)
    return np.logaddexp(0, wrong_way).sum(axis=1) / math.log(2)


def brute_force_log_odds(prior: UniformPrior, codes: np.ndarray) -> np.ndarray:
    """Counts the admitted codes with the same features and the same earlier bits, by listing them."""
    features = features_of(prior, codes)
    rows = [tuple(code) for code in codes.tolist()]
    count: Counter = Counter()
    for feature_code, row in zip(features, rows, strict=True):
        count.update((feature_code, row[: k + 1]) for k in range(len(row)))

    def odds(feature_code: tuple, row: tuple, k: int) -> float:
        with_object, without = (count[feature_code, (*row[:k], bit)] for bit in (1, 0))
        if not with_object or not without:
            return math.inf if with_object else -math.inf
        return math.log(with_object) - math.log(without)

    pairs = zip(features, rows, strict=True)
    return np.array([[odds(features, row, k) for k in range(len(row))] for features, row in pairs])


@pytest.mark.parametrize(("sizes", "least", "most"), EVERY_PRIOR)
def test_entropies_equal_those_of_all_object_codes(sizes: tuple[int, ...], least: int, most: int) -> None:
    prior = prior_of(sizes, least, most)
    codes = admitted_object_codes(prior)
    features = features_of(prior, codes)
    counts = Counter(features)
    of_samples = prior.conditional_entropy_bits(prior.space.feature_codes(codes))
    np.testing.assert_allclose(of_samples, [math.log2(counts[f]) for f in features], rtol=1e-12)

    exact = FeatureDistribution.over_all(prior)
    assert exact.n_object_codes == len(codes)
    assert exact.feature_entropy_bits == pytest.approx(entropy_bits(counts), abs=1e-12)
    assert exact.conditional_entropy_bits == pytest.approx(of_samples.mean(), abs=1e-12)
    object_entropy_bits = exact.feature_entropy_bits + exact.conditional_entropy_bits
    assert object_entropy_bits == pytest.approx(math.log2(len(codes)), abs=1e-12)
    assert exact.largest_probability == pytest.approx(max(counts.values()) / len(codes), rel=1e-12)


@pytest.mark.parametrize(("sizes", "least", "most"), [((3, 3), 0, 4), ((2, 2, 2), 0, 8), ((3, 3), 4, 4)])
def test_entropies_over_some_feature_codes(sizes: tuple[int, ...], least: int, most: int) -> None:
    prior = prior_of(sizes, least, most)
    codes = admitted_object_codes(prior)
    every_third = np.unique(prior.space.feature_codes(codes), axis=0)[::3]
    kept = [
        tuple(code) in set(map(tuple, every_third.tolist())) for code in prior.space.feature_codes(codes).tolist()
    ]
    counts = Counter(features_of(prior, codes[kept]))
    exact = FeatureDistribution.over(prior, every_third)
    assert exact.n_object_codes == sum(kept)
    assert exact.feature_entropy_bits == pytest.approx(entropy_bits(counts), abs=1e-12)
    expected = sum(count * math.log2(count) for count in counts.values()) / sum(kept)
    assert exact.conditional_entropy_bits == pytest.approx(expected, abs=1e-12)


def test_feature_codes_without_object_codes_have_no_weight() -> None:
    prior = prior_of((3, 3), 0, 2)
    three_colors = np.array([[1, 1, 1, 1, 0, 0], [1, 0, 0, 1, 0, 0]], dtype=np.uint8)
    exact = FeatureDistribution.over(prior, three_colors)
    assert (exact.n_object_codes, exact.feature_entropy_bits) == (1, 0.0)


@pytest.mark.parametrize("sizes", [(4,), (2, 3), (3, 3), (2, 2, 2), (2, 3, 2)])
def test_conditional_entropy_given_size_equals_enumeration(sizes: tuple[int, ...]) -> None:
    space = prior_of(sizes, 0, 0).space
    for k in range(space.n_objects + 1):
        prior = UniformPrior(space, k, k)
        counts = Counter(features_of(prior, admitted_object_codes(prior)))
        expected = sum(count * math.log2(count) for count in counts.values()) / math.comb(space.n_objects, k)
        assert conditional_entropy_given_size_bits(space, k) == pytest.approx(expected, abs=1e-12)


def test_published_entropies_of_balanced_scenes() -> None:
    assert math.log2(n_covering((6, 6), 18, 18)) == pytest.approx(32.9079, abs=5e-5)
    prior = prior_of((8, 8), 18, 18)
    some_codes = np.unique(prior.space.feature_codes(random_balanced_codes(2000)), axis=0)[:131]
    exact = FeatureDistribution.over(prior, some_codes)
    assert exact.feature_entropy_bits == pytest.approx(math.log2(131), abs=1e-12)
    assert exact.feature_entropy_bits == pytest.approx(7.0334, abs=5e-5)
    assert exact.feature_entropy_bits + exact.conditional_entropy_bits == pytest.approx(39.94, abs=5e-3)


def test_exact_entropies_of_four_by_four_with_six_objects() -> None:
    exact = FeatureDistribution.over_all(prior_of((4, 4), 0, 6))
    n_codes = sum(math.comb(16, m) for m in range(7))
    assert exact.n_object_codes == n_codes
    assert exact.conditional_entropy_bits == pytest.approx(8.7276, abs=5e-5)
    assert exact.feature_entropy_bits == pytest.approx(math.log2(n_codes) - 8.7276, abs=5e-5)


@pytest.mark.parametrize(
    ("code", "counts"),
    [([1, 1, 1, 0, 1, 1], "(3, 2)"), ([1, 0, 0, 0, 0, 0], "(1, 0)"), ([0, 0, 0, 1, 0, 0], "(0, 1)")],
)
def test_feature_codes_that_no_scene_has_are_refused(code: list[int], counts: str) -> None:
    prior = prior_of((3, 3), 0, 2)
    message = f"no object code with 0 to 2 objects has {counts} present values in the groups"
    with pytest.raises(ValueError) as error:  # noqa: PT011
        prior.conditional_entropy_bits(np.array([[0] * 6, code], dtype=np.uint8))
    assert str(error.value) == message


@pytest.mark.parametrize(("least", "most"), [(-1, 3), (4, 3)])
def test_bounds_in_the_wrong_order_are_refused(least: int, most: int) -> None:
    with pytest.raises(ConfigurationError) as error:
        prior_of((2, 2), least, most)
    message = f"needs 0 ≤ min_objects ≤ max_objects, got {least} and {most}"
    assert error.value.problems == (("max_objects", message),)


@pytest.mark.parametrize(("sizes", "least", "most"), EVERY_PRIOR)
def test_log_odds_equal_those_of_all_object_codes(sizes: tuple[int, ...], least: int, most: int) -> None:
    prior = prior_of(sizes, least, most)
    codes = admitted_object_codes(prior)
    odds, expected = prior.log_odds(codes), brute_force_log_odds(prior, codes)
    np.testing.assert_array_equal(np.isinf(odds), np.isinf(expected))
    np.testing.assert_allclose(odds, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("sizes", "least", "most"), EVERY_PRIOR)
def test_infinite_odds_are_never_wrong(sizes: tuple[int, ...], least: int, most: int) -> None:
    prior = prior_of(sizes, least, most)
    codes = admitted_object_codes(prior)
    odds = prior.log_odds(codes)
    assert not np.isnan(odds).any()
    assert (codes[odds == np.inf] == 1).all()
    assert (codes[odds == -np.inf] == 0).all()


def test_certain_and_impossible_objects_of_a_known_scene() -> None:
    """Red circle and blue square, at most two objects: the first bit decides the other three."""
    odds = prior_of((2, 2), 0, 2).log_odds(np.array([[1, 0, 0, 1], [0, 1, 1, 0]], dtype=np.uint8))
    assert odds.tolist() == [[0, -np.inf, -np.inf, np.inf], [0, np.inf, np.inf, -np.inf]]


@settings(derandomize=True, max_examples=15, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple),
    seed=st.integers(0, 2**32),
    spare=st.integers(0, 5),
    is_balanced=st.booleans(),
)
def test_chain_rule_in_larger_spaces(sizes: tuple[int, ...], seed: int, spare: int, is_balanced: bool) -> None:
    n_objects = math.prod(sizes)
    rng = np.random.default_rng(seed)
    size = int(rng.integers(n_objects + 1))
    codes = (rng.random((8, n_objects)).argsort(axis=1) < size).astype(np.uint8)
    prior = prior_of(sizes, size, size) if is_balanced else prior_of(sizes, 0, size + spare)
    entropies = prior.conditional_entropy_bits(prior.space.feature_codes(codes))
    np.testing.assert_allclose(cross_entropy_bits(prior.log_odds(codes), codes), entropies, rtol=1e-9, atol=1e-9)


def test_chain_rule_of_balanced_scenes() -> None:
    codes = random_balanced_codes(100)
    bits = cross_entropy_bits(prior_of((8, 8), 18, 18).log_odds(codes), codes)
    np.testing.assert_allclose(bits, 32.9079, atol=5e-5)


def test_log_odds_of_many_samples_are_those_of_each() -> None:
    prior = prior_of((2, 3, 2), 0, 12)
    codes = admitted_object_codes(prior)
    order = np.random.default_rng(0).integers(len(codes), size=10_000)
    np.testing.assert_array_equal(prior.log_odds(codes[order]), prior.log_odds(codes)[order])


def test_no_samples_have_no_odds() -> None:
    prior = prior_of((2, 2), 0, 4)
    assert prior.log_odds(np.zeros((0, 4), dtype=np.uint8)).shape == (0, 4)
    assert prior.conditional_entropy_bits(np.zeros((0, 4), dtype=np.uint8)).shape == (0,)


def test_unique_rows_of_random_values() -> None:
    rng = np.random.default_rng(0)
    rows = rng.integers(5, size=(400, 3))
    unique, which = _unique_rows(rows)
    np.testing.assert_array_equal(unique[which], rows)
    assert len(unique) == len(set(map(tuple, rows.tolist())))


def test_unique_rows_of_values_whose_product_overflows() -> None:
    last = 2**32 - 1
    rows = np.array([[0, last, last], [1, 0, 0], [0, 0, 0], [1, 0, 0]])
    unique, which = _unique_rows(rows)
    np.testing.assert_array_equal(unique[which], rows)
    assert len(unique) == 3


@pytest.mark.parametrize(("least", "most", "objects"), [(0, 2, 3), (2, 2, 1), (3, 4, 2)])
def test_odds_of_a_code_the_prior_excludes_are_refused(least: int, most: int, objects: int) -> None:
    codes = np.zeros((1, 4), dtype=np.uint8)
    codes[0, :objects] = 1
    with pytest.raises(ValueError, match=f"admits {least} to {most} objects, got a code with {objects}"):
        UniformPrior(FeatureSpace.of(a=2, b=2), least, most).log_odds(codes)
