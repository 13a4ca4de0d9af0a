"""Where something appears: curves whose answer is known, and rank correlations that can be counted by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy.stats import spearmanr

from frozen.readout.measures import DepthCurve, Measure
from sweep.results.depth import Curve, Point, appearance, first_at_half, rank_correlation, together

NAMES = ("embed", "0", "1", "2", "3", "final")
MEASURE = Measure("accuracy_percent", "Accuracy", "A", "percent", "right answers")


def curve(values: Sequence[float], spread: float, *, control: str = "", name: str = "class") -> Curve:
    """A curve from 50 (chance) to 100 whose shares of the way are given, with equal intervals about them."""
    points = tuple(
        Point(number - 1, NAMES[number], 50 + 50 * value, 50 + 50 * (value - spread), 50 + 50 * (value + spread), 1)
        for number, value in enumerate(values)
    )
    declared = DepthCurve(name=name, column="accuracy_percent", none=50.0, full=100.0)
    return Curve("some", declared, MEASURE, "images", "net", control, 4.0, points)


def test_a_curve_without_doubt_appears_where_it_passes_half_of_its_most() -> None:
    seen = appearance(curve([0, 0.1, 0.45, 0.55, 0.8, 1.0], 0.001))
    assert seen is not None
    assert [point.layer for point in seen] == ["2", "2", "2"]


def test_half_is_of_the_curves_own_most_above_chance() -> None:
    seen = appearance(curve([0, 0.1, 0.22, 0.3, 0.4, 0.4], 0.001))
    assert seen is not None
    assert seen.first.layer == "1"


def test_doubt_about_values_is_doubt_about_the_layer() -> None:
    seen = appearance(curve([0, 0.1, 0.45, 0.55, 0.8, 1.0], 0.2))
    assert seen is not None
    assert seen.first.layer == "2"
    assert seen.low.layer == "1"
    assert seen.high.layer == "3"


def test_what_is_not_above_chance_does_not_appear() -> None:
    assert appearance(curve([0, 0.01, 0.0, 0.02, 0.0, 0.01], 0.05)) is None


def test_the_interval_covers_the_layer_as_often_as_it_says() -> None:
    truth, noise, n = np.array([0, 0.2, 0.4, 0.55, 0.9, 1.0]), 0.1, 200
    rng = np.random.default_rng(0)
    hits = 0
    for number in range(n):
        seen = appearance(curve(truth + noise * rng.standard_normal(6), 1.96 * noise), seed=number)
        hits += seen is not None and seen.low.number <= 2 <= seen.high.number
    assert hits / n >= 0.93


def test_the_first_layer_at_half_counts() -> None:
    assert first_at_half(np.array([[0.0, 0.5, 1.0], [0.9, 0.1, 1.0], [0.0, 0.0, 1.0]])).tolist() == [1, 0, 2]


def test_equal_curves_rise_together_and_opposite_ones_against_each_other() -> None:
    values = [0.0, 0.2, 0.1, 0.7, 0.9]
    assert rank_correlation(values, values) == (1.0, pytest.approx(2 / math.factorial(5)))
    rho, p_value = rank_correlation(values, [-value for value in values])
    assert (rho, p_value) == (pytest.approx(-1.0), pytest.approx(2 / math.factorial(5)))


def test_ties_count_as_in_scipy() -> None:
    one, other = [0.0, 0.0, 0.3, 0.3, 0.9, 1.0], [0.1, 0.4, 0.4, 0.2, 0.8, 0.8]
    assert rank_correlation(one, other)[0] == pytest.approx(spearmanr(one, other).statistic)


def test_many_layers_draw_orders_at_random() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.random(12), rng.random(12)
    rho, p_value = rank_correlation(list(one), list(other))
    assert rho == pytest.approx(spearmanr(one, other).statistic)
    assert p_value == pytest.approx(spearmanr(one, other).pvalue, abs=0.03)


def test_a_flat_curve_correlates_with_nothing() -> None:
    assert all(math.isnan(value) for value in rank_correlation([0.5] * 5, [0.1, 0.2, 0.3, 0.4, 0.5]))


def test_pairs_are_of_measurements_alone() -> None:
    rising = [0, 0.1, 0.45, 0.55, 0.8, 1.0]
    found = together(
        [curve(rising, 0.1), curve(rising, 0.1, name="words"), curve(rising, 0.1, control="random_init")]
    )
    assert [(one.n_layers, one.rho) for one in found] == [(6, pytest.approx(1.0))]
