"""The bootstrap: what it draws, how often its intervals cover, p-values and their correction."""

from __future__ import annotations

import math

import numpy as np
import pytest

from frozen.intervals import Estimate, Spread, holm, interval, p_value, resample, spread, student_interval

N_SAMPLES = 150
_STANDARD_ERROR = 1.5 * math.sqrt(2 / N_SAMPLES)


def estimate_of(losses: np.ndarray, *, seed: int, resamples: int = 200) -> Estimate:
    """Mean of losses [seeds samples] with its 95% interval."""
    drawn = resample({"x": losses}, resamples=resamples, seed=seed)
    value = float(losses.mean())
    found = spread(value, drawn.both["x"], [(drawn.seeds["x"], drawn.n_seeds)], drawn.n_samples, seed=seed)
    return interval(value, found, 0.95)


def coverage(n_seeds: int, ratio: float, experiments: int) -> float:
    """How often the interval holds the expected loss of 3 bits, over trainings and samples.

    Args:
        n_seeds: trainings.
        ratio: standard error from the seeds over that from the samples.
        experiments: simulations; losses are skewed, and seeds differ a little from sample to sample too.
    """
    rng = np.random.default_rng(0)
    covered = 0
    for experiment in range(experiments):
        of_seeds = rng.standard_normal((n_seeds, 1)) * ratio * _STANDARD_ERROR * n_seeds**0.5
        losses = rng.gamma(2.0, 1.5, N_SAMPLES) + of_seeds + 0.3 * rng.standard_normal((n_seeds, N_SAMPLES))
        found = estimate_of(losses, seed=experiment)
        covered += found.low <= 3.0 <= found.high
    return covered / experiments


@pytest.mark.parametrize(("n_seeds", "ratio"), [(1, 0.0), (2, 0.0), (2, 0.5), (5, 0.5)])
def test_intervals_cover_the_expected_loss(n_seeds: int, ratio: float) -> None:
    assert 0.91 <= coverage(n_seeds, ratio, 300) <= 0.985  # a standard deviation of 300 experiments is 1.3%


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n_seeds", "ratio"), [(1, 0.0), (2, 0.0), (2, 0.25), (2, 0.5), (3, 0.0), (3, 0.5), (5, 0.0), (5, 0.5), (5, 1.0)]
)
def test_intervals_cover_the_expected_loss_in_93_to_97_of_100(n_seeds: int, ratio: float) -> None:
    assert 0.93 <= coverage(n_seeds, ratio, 3000) <= 0.97


@pytest.mark.parametrize("n_seeds", [2, 3, 10])
def test_the_weights_of_the_seeds_have_the_variance_of_a_mean(n_seeds: int) -> None:
    """Drawing the seeds with replacement would give (S-1)/S of it."""
    values = np.random.default_rng(0).standard_normal((n_seeds, 1)) + np.zeros((1, 20))
    drawn = resample({"x": values}, resamples=20_000, seed=1)
    assert drawn.seeds["x"].var() == pytest.approx(values[:, 0].var(ddof=1) / n_seeds, rel=0.05)
    assert drawn.seeds["x"].mean() == pytest.approx(values.mean(), abs=0.02)
    assert drawn.n_seeds == n_seeds


def test_two_seeds_that_disagree_widen_the_interval_as_students_t_does() -> None:
    apart = np.array([[1.0], [3.0]]) + np.zeros((2, 50))
    found = estimate_of(apart, seed=0, resamples=20_000)
    assert found.value == 2.0
    assert found.high - 2.0 == pytest.approx(12.7, rel=0.15)  # t with one degree of freedom, standard error 1
    assert 2.0 - found.low == pytest.approx(12.7, rel=0.15)


def test_one_draw_of_samples_serves_everything() -> None:
    values = np.random.default_rng(0).standard_normal((1, 80))
    drawn = resample({"x": values, "y": values + 1, "z": np.repeat(values, 2, axis=0)}, resamples=300, seed=0)
    np.testing.assert_allclose(drawn.both["x"] + 1, drawn.both["y"])
    np.testing.assert_allclose(drawn.both["x"], drawn.both["z"])
    assert drawn.n_seeds == 2


def test_an_interval_stays_within_what_the_quantity_can_be() -> None:
    rng = np.random.default_rng(0)
    found = spread(0.001, 0.001 + 0.01 * rng.standard_normal(500), [], 100, seed=0)
    assert interval(0.001, found, 0.95, (0.0, math.inf)).low == 0.0
    assert interval(0.001, found, 0.95).low < 0.0


@pytest.mark.parametrize(
    ("t", "degrees", "expected"),
    [
        (1.0, 1.0, 0.5),
        (12.706, 1.0, 0.05),
        (4.303, 2.0, 0.05),
        (2.228, 10.0, 0.05),
        (3.581, 12.5, 0.0035),
        (1.960, 1e6, 0.05),
        (6.0, 1e4, 2.04e-9),
        (0.0, 7.0, 1.0),
    ],
)
def test_p_values_are_those_of_students_t(t: float, degrees: float, expected: float) -> None:
    found = spread(t, t + np.zeros(10), [], 10, seed=0)._replace(standard_error=1.0, degrees=degrees)
    assert p_value(t, found) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("t", [0.0, 0.01, 0.5, 1.0, 3.0, 20.0, 1000.0])
def test_p_values_are_exact_where_students_t_has_a_closed_form(t: float) -> None:
    for degrees, expected in {1.0: 1 - 2 / math.pi * math.atan(t), 2.0: 1 - t / math.sqrt(2 + t * t)}.items():
        assert p_value(t, Spread(np.zeros(1), 1.0, degrees)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("t", "degrees", "expected"),
    [(3, 10, 0.013343655022568485), (1.7, 3.7, 0.17012463249285664), (4.5, 30, 9.519359392109862e-05)],
)
def test_p_values_are_those_of_the_integral(t: float, degrees: float, expected: float) -> None:
    """Expected: the density integrated by Gauss and Legendre with 400 nodes."""
    assert p_value(t, Spread(np.zeros(1), 1.0, degrees)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("degrees", [1.0, 2.5, 40.0, 1e6])
@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
def test_an_interval_under_students_t_ends_at_0_where_p_is_what_it_leaves_out(degrees: float, level: float) -> None:
    found = spread(1.0, np.ones(10), [], 10, seed=0)._replace(standard_error=0.3, degrees=degrees)
    reach = student_interval(0.0, found, level).high
    assert student_interval(reach, found, level).low == pytest.approx(0.0, abs=1e-12)
    assert p_value(reach, found) == pytest.approx(1 - level, rel=1e-6)


def test_nothing_that_varies_is_certain() -> None:
    still = spread(0.0, np.zeros(10), [], 10, seed=0)
    assert p_value(0.0, still) == 1.0
    assert p_value(0.5, still) == 0.0


def test_holm_multiplies_the_smallest_by_the_number_of_tests_and_never_lets_a_later_one_be_smaller() -> None:
    assert holm([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert holm([0.4, 0.6]) == pytest.approx([0.8, 0.8])
    assert holm([]) == []


@pytest.mark.parametrize("loss", [0.1, 0.7, 1 / 3, 2.2])
def test_an_interval_holds_the_value_where_all_samples_are_equal(loss: float) -> None:
    for n_samples in (7, 37, 200):
        found = estimate_of(np.full((2, n_samples), loss), seed=0)
        assert found.low <= found.value <= found.high
        assert found.high - found.low < 1e-12
