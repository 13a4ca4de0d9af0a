"""Measures from losses: formulas, intervals with their coverage, and the flags of the difference form."""

from __future__ import annotations

import numpy as np
import pytest

from binding.information import FLAGS, TestLosses, measures
from frozen.data.scenes import Entropies
from frozen.data.scenes.priors import PriorSource
from frozen.intervals import IntervalConfig

ENTROPIES = Entropies(feature_bits=5.0, conditional_bits=8.0)
QUICK = IntervalConfig(resamples=400)


def losses(objects: float, features: float, direct: float, given: float = 8.0, *, n: int = 500, spread: float = 0.5):
    """Losses of two seeds around given means; seed and sample effects are shared between targets."""
    rng = np.random.default_rng(0)
    sample = spread * rng.standard_normal(n)
    return TestLosses(*(mean + sample + np.array([[0.01], [-0.01]]) for mean in (objects, features, direct, given)))


def test_every_measure_is_its_formula() -> None:
    data = losses(6.0, 2.0, 3.0, 8.5)
    entropy = np.full(500, 8.0)
    found = measures(data, entropy, ENTROPIES, QUICK, seed=0)
    means = {name: values.mean() for name, values in data.named().items()}
    expected = {
        "object_loss_bits": means["objects"],
        "feature_loss_bits": means["features"],
        "direct_loss_bits": means["direct"],
        "given_loss_bits": means["given"],
        "object_information_bits": 13 - means["objects"],
        "object_information_ratio": (13 - means["objects"]) / 13,
        "feature_information_bits": 5 - means["features"],
        "binding_information_bits": 8 - means["objects"] + means["features"],
        "binding_ratio": (8 - means["objects"] + means["features"]) / 8,
        "direct_binding_information_bits": 8 - means["direct"],
        "direct_binding_ratio": (8 - means["direct"]) / 8,
        "v_information_bits": means["given"] - means["direct"],
        "cautious_binding_information_bits": 8 - means["direct"],
        "cautious_binding_ratio": (8 - means["direct"]) / 8,
    }
    assert set(found.estimates) == set(expected)
    for name, value in expected.items():
        estimate = found.estimates[name]
        assert estimate is not None
        assert estimate.value == pytest.approx(value, abs=1e-12)
        assert estimate.low - 1e-9 <= estimate.value <= estimate.high + 1e-9


def test_what_varies_together_is_resampled_together() -> None:
    """The losses are the samples' own entropies plus a constant: B*_direct is certain although both vary."""
    entropy = np.random.default_rng(1).normal(8, 2, 500)
    data = TestLosses(entropy[None] + 2, np.full((1, 500), 2.0), entropy[None] - 1, entropy[None])
    found = measures(data, entropy, None, QUICK, seed=0).estimates
    direct, loss = found["direct_binding_information_bits"], found["direct_loss_bits"]
    assert direct is not None
    assert loss is not None
    np.testing.assert_allclose(direct, 1.0)
    assert loss.high - loss.low > 0.2


def test_an_undefined_measure_is_empty_not_guessed() -> None:
    without = measures(losses(6, 2, 3), np.full(500, 8.0), None, QUICK, seed=0).estimates
    assert without["object_information_bits"] is None
    assert without["object_information_ratio"] is None
    assert without["feature_information_bits"] is None
    assert without["binding_ratio"] is not None
    nothing = measures(losses(6, 2, 3), np.zeros(500), Entropies(5.0, 0.0), QUICK, seed=0).estimates
    assert nothing["binding_ratio"] is None
    assert nothing["direct_binding_ratio"] is None
    assert nothing["binding_information_bits"] is not None


@pytest.mark.parametrize(
    ("objects", "features", "direct", "flags"),
    [
        (6.0, 2.0, 4.0, []),
        (8.0, 7.0, 4.0, ["features_probe_excess"]),
        (6.0, 2.0, 9.0, ["direct_probe_excess"]),
        (6.0, 4.0, 4.0, ["excess_unexplained"]),
        (9.0, 2.0, 4.0, ["objects_probe_excess"]),
        (8.0, 7.0, 9.0, ["features_probe_excess", "direct_probe_excess"]),
    ],
)
def test_a_contradiction_is_flagged_with_the_probe_to_blame(
    objects: float, features: float, direct: float, flags: list[str]
) -> None:
    found = measures(losses(objects, features, direct, spread=0.0), np.full(500, 8.0), ENTROPIES, QUICK, seed=0)
    assert found.flags == flags
    assert set(flags) <= set(FLAGS)


@pytest.mark.parametrize("rounding", [-1e-10, 0.0, 1e-10, 1e-6])
def test_rounding_decides_no_flag(rounding: float) -> None:
    """Losses at exactly what a probe needs, but for the last digits of float32, blame nobody."""
    unexplained = losses(6.0, 5.0 + rounding, 6.0 + rounding, spread=0.0)
    assert measures(unexplained, np.full(500, 8.0), ENTROPIES, QUICK, seed=0).flags == ["excess_unexplained"]
    for sign in (-1, 1):
        equal = TestLosses(*(np.full((2, 500), bits) for bits in (6.0, 2.0 + sign * rounding, 4.0, 8.0)))
        assert measures(equal, np.full(500, 8.0), ENTROPIES, QUICK, seed=0).flags == []


def test_an_excess_within_its_interval_blames_nobody() -> None:
    """The direct probe of 500 samples loses 0.02 bits more than H(O|F), with a standard error of 0.04."""
    noise = np.random.default_rng(1).standard_normal((1, 500))
    noise = (noise - noise.mean()) / noise.std()
    data = TestLosses(9 + noise, np.full((1, 500), 4.9), 8.02 + noise, np.full((1, 500), 8.0))
    assert measures(data, np.full(500, 8.0), ENTROPIES, QUICK, seed=0).flags == ["excess_unexplained"]
    sure = TestLosses(9 + noise, np.full((1, 500), 4.9), 8.2 + noise, np.full((1, 500), 8.0))
    assert measures(sure, np.full(500, 8.0), ENTROPIES, QUICK, seed=0).flags == ["direct_probe_excess"]


@pytest.mark.parametrize("entropy", [1e-12, 1e-16])
def test_an_entropy_that_is_only_rounding_gives_no_ratio(entropy: float) -> None:
    found = measures(losses(6, 2, 3), np.full(500, entropy), Entropies(5.0, entropy), QUICK, seed=0).estimates
    assert found["binding_ratio"] is None
    assert found["direct_binding_ratio"] is None


def test_a_difference_within_its_interval_is_not_flagged() -> None:
    rng = np.random.default_rng(0)
    noisy = TestLosses(*(mean + 3 * rng.standard_normal((2, 300)) for mean in (6.1, 2.0, 4.0, 8.0)))
    flags = measures(noisy, np.full(300, 8.0), ENTROPIES, QUICK, seed=0).flags
    assert set(flags) <= {"seeds_disagree"}


@pytest.mark.parametrize(
    ("apart", "noise", "n_seeds", "flagged"),
    [(0.6, 1.0, 2, True), (0.6, 1.0, 1, False), (0.02, 1.0, 2, False), (0.6, 12.0, 2, False), (0.1, 0.1, 2, False)],
)
def test_seeds_that_differ_more_than_samples_explain_are_flagged(
    apart: float, noise: float, n_seeds: int, flagged: bool
) -> None:
    """The last case is beyond what samples explain, and below a hundredth of H(O|F)."""
    sample = noise * np.random.default_rng(0).standard_normal(500)
    seeds = np.array([[0.0], [apart]])[:n_seeds]
    data = TestLosses(5 + sample + seeds, np.full((n_seeds, 500), 2.0), 4 + sample + seeds, np.full((1, 500), 8.0))
    found = measures(data, np.full(500, 8.0), ENTROPIES, QUICK, seed=0)
    assert ("seeds_disagree" in found.flags) == flagged


def test_the_spread_between_seeds_is_that_of_the_difference_form() -> None:
    data = TestLosses(
        *(
            np.array([[value], [value + step]]) + np.zeros((2, 9))
            for value, step in ((6.0, 0.5), (2.0, 0.1), (3.0, 0.0), (8.0, 0.0))
        )
    )
    assert measures(data, np.full(9, 8.0), None, QUICK, seed=0).seed_spread_bits == pytest.approx(0.4 / 2**0.5)
    single = TestLosses(*(values[:1] for values in data.named().values()))
    assert measures(single, np.full(9, 8.0), None, QUICK, seed=0).seed_spread_bits is None


def test_the_bootstrap_repeats_with_its_seed() -> None:
    data, entropy = losses(6, 2, 3), np.full(500, 8.0)
    first, again, other = (measures(data, entropy, ENTROPIES, QUICK, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first.estimates != other.estimates


@pytest.mark.parametrize("prior", ["declared", "estimated"])
@pytest.mark.parametrize(("given", "cautious"), [(8.5, 5.0), (7.0, 4.0)])
def test_the_cautious_measure_is_the_smaller_one_unless_the_prior_is_exact(
    prior: PriorSource, given: float, cautious: float
) -> None:
    data, entropy = losses(6.0, 2.0, 3.0, given, spread=0.0), np.full(500, 8.0)
    found = measures(data, entropy, ENTROPIES, QUICK, seed=0, prior=prior).estimates
    exact = measures(data, entropy, ENTROPIES, QUICK, seed=0, prior="exact").estimates
    for estimates, bits in ((found, cautious), (exact, 5.0)):
        value, ratio = estimates["cautious_binding_information_bits"], estimates["cautious_binding_ratio"]
        assert value is not None
        assert ratio is not None
        assert value.value == pytest.approx(bits)
        assert value.low - 1e-9 <= value.value <= value.high + 1e-9
        assert ratio.value == pytest.approx(bits / 8)


def test_without_a_prior_the_cautious_measure_is_v_information() -> None:
    found = measures(losses(6, 2, 3, 7.5), np.full(500, np.nan), None, QUICK, seed=0, prior="none")
    assert found.estimates["cautious_binding_information_bits"] == found.estimates["v_information_bits"]
    assert found.estimates["cautious_binding_ratio"] is None
    assert found.flags == []


@pytest.mark.parametrize(
    ("given", "flags"),
    [
        (7.0, ["prior_mismatch"]),
        (8.5, ["objects_probe_excess"]),
        (8.0, ["objects_probe_excess"]),
        (7.995, ["objects_probe_excess"]),  # a hundredth of a bit misleads nobody
    ],
)
def test_a_prior_that_is_beaten_without_activations_is_flagged_and_nothing_else_vouches_for_it(
    given: float, flags: list[str]
) -> None:
    data = losses(9.0, 2.0, 4.0, given, spread=0.0)
    found = measures(data, np.full(500, 8.0), ENTROPIES, QUICK, seed=0, prior="declared")
    assert found.flags == flags
    assert "Trust B*_direct" not in FLAGS["prior_mismatch"]


def test_a_prior_that_is_beaten_within_its_interval_is_not_flagged() -> None:
    entropy = np.full(300, 8.0)
    noisy = TestLosses(*(mean + 3 * np.random.default_rng(0).standard_normal((2, 300)) for mean in (6, 2, 4, 7.8)))
    assert "prior_mismatch" not in measures(noisy, entropy, ENTROPIES, QUICK, seed=0).flags
