"""The prior of independent draws, against listing every sequence of draws."""

from __future__ import annotations

import math
from collections import Counter
from itertools import product

import numpy as np
import pytest

from frozen.data.scenes.codes import FeatureSpace
from frozen.data.scenes.priors import DrawsPrior, FeatureDistribution, UniformPrior

CASES = [((4,), 3), ((2, 2), 0), ((2, 2), 4), ((2, 3), 3), ((2, 2, 2), 4), ((2, 1, 2, 2), 3)]


def prior_of(sizes: tuple[int, ...], n_draws: int) -> DrawsPrior:
    return DrawsPrior(FeatureSpace.of(**{f"group{g}": size for g, size in enumerate(sizes)}), n_draws)


def listed(prior: DrawsPrior) -> Counter[tuple[int, ...]]:
    """How many sequences of draws give each object code."""
    objects = range(prior.space.n_objects)
    sequences = product(objects, repeat=prior.n_draws)
    return Counter(tuple(int(k in draws) for k in objects) for draws in sequences)


def bits(weights: list[int]) -> float:
    total = sum(weights)
    return -sum(weight / total * math.log2(weight / total) for weight in weights)


def by_features(prior: DrawsPrior) -> dict[tuple[int, ...], dict[tuple[int, ...], int]]:
    groups: dict[tuple[int, ...], dict[tuple[int, ...], int]] = {}
    for code, weight in listed(prior).items():
        feature_code = prior.space.feature_codes(np.array([code], dtype=np.uint8))[0]
        groups.setdefault(tuple(feature_code.tolist()), {})[code] = weight
    return groups


@pytest.mark.parametrize(("sizes", "n_draws"), CASES)
def test_entropies(sizes: tuple[int, ...], n_draws: int) -> None:
    prior = prior_of(sizes, n_draws)
    groups = by_features(prior)
    for feature_code, codes in groups.items():
        found = prior.conditional_entropy_bits(np.array([feature_code], dtype=np.uint8))
        assert found[0] == pytest.approx(bits(list(codes.values())), abs=1e-12)
    everything = FeatureDistribution.over_all(prior)
    assert everything.feature_entropy_bits == pytest.approx(
        bits([sum(g.values()) for g in groups.values()]), abs=1e-9
    )
    whole = bits(list(listed(prior).values()))
    assert everything.feature_entropy_bits + everything.conditional_entropy_bits == pytest.approx(whole, abs=1e-9)


@pytest.mark.parametrize(("sizes", "n_draws"), CASES)
def test_odds(sizes: tuple[int, ...], n_draws: int) -> None:
    prior = prior_of(sizes, n_draws)
    for codes in by_features(prior).values():
        rows = np.array(list(codes), dtype=np.uint8)
        odds = prior.log_odds(rows)
        for row, code in enumerate(codes):
            for k in range(len(code)):
                ways = [sum(w for c, w in codes.items() if c[: k + 1] == (*code[:k], bit)) for bit in (0, 1)]
                expected = -math.inf if not ways[1] else math.inf if not ways[0] else math.log(ways[1] / ways[0])
                assert odds[row, k] == pytest.approx(expected, abs=1e-9)


def test_scenes_of_clevr_with_six_objects() -> None:
    """20.49 bits where the six objects are drawn one by one, 20.54 where their codes count as equally likely."""
    space = FeatureSpace.of(color=8, shape=3, material=2, size=2)
    draws, uniform = DrawsPrior(space, 6), UniformPrior(space, 0, 6)
    scenes = FeatureDistribution.over_all(draws)
    assert scenes.n_object_codes == 96**6
    assert scenes.conditional_entropy_bits == pytest.approx(20.4872, abs=1e-4)
    as_if_uniform = (
        sum(
            m * mass * uniform.entropy_bits(v)
            for (v, m), (_, mass, _) in zip(scenes.multiplicity, scenes._terms(), strict=True)
        )
        / scenes.n_object_codes
    )
    assert as_if_uniform == pytest.approx(20.5441, abs=1e-4)
    assert FeatureDistribution.over_all(uniform).conditional_entropy_bits == pytest.approx(20.6399, abs=1e-4)


def test_a_code_that_no_sequence_of_draws_gives_is_refused() -> None:
    with pytest.raises(ValueError, match="admits 1 to 2 objects, got a code with 3"):
        prior_of((2, 2), 2).log_odds(np.array([[1, 1, 1, 0]], dtype=np.uint8))
