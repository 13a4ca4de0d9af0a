"""Every probe family against codes whose information is known, and those codes themselves."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from binding.fit import FitConfig
from binding.information import TestLosses, measures
from binding.measurement import measure_samples
from binding.samples import MeasureConfig
from binding.search import ProbeSpace, SearchConfig
from binding.testing import GaussianCode, MeasurementConformance, known_codes
from binding.testing._known_codes import PRIOR, SPACE, entropies
from frozen.intervals import IntervalConfig

ALL = ("objects", "erased", "linear", "bilinear", "gaussian")


class TestLinear(MeasurementConformance):
    misses = ("bilinear",)
    config = replace(MeasurementConformance.config, fit=FitConfig(epochs=12, patience=4, batch_size=250))

    @pytest.fixture
    def probe(self) -> ProbeSpace:
        return ProbeSpace.of("linear", learning_rate=0.5)


@pytest.mark.slow
class TestAttention(MeasurementConformance):
    reads = ("objects", "erased", "linear", "gaussian")

    @pytest.fixture
    def probe(self) -> ProbeSpace:
        return ProbeSpace.of("attention_quadratic", learning_rate=0.05, rank=8)


@pytest.mark.slow
class TestQuadratic(MeasurementConformance):
    reads = ALL

    @pytest.fixture
    def probe(self) -> ProbeSpace:
        return ProbeSpace.of("quadratic_concat", learning_rate=0.05, rank=8)


@pytest.mark.slow
class TestDnn(MeasurementConformance):
    reads = ALL

    @pytest.fixture
    def probe(self) -> ProbeSpace:
        return ProbeSpace.of("dnn_concat", learning_rate=0.01, hidden_dim=64)


@pytest.mark.slow
class TestQuadraticReuse(MeasurementConformance):
    @pytest.fixture
    def probe(self) -> ProbeSpace:
        return ProbeSpace.of("quadratic_concat_reuse", learning_rate=0.05, rank=8)


@pytest.mark.slow
class TestMultilinearReuse(MeasurementConformance):
    @pytest.fixture
    def probe(self) -> ProbeSpace:
        return ProbeSpace.of("multilinear_concat_reuse", learning_rate=0.05, rank=8)


def binary_input_information_bits(deviation: float, order: int = 4000) -> float:
    """I of one fair bit in normal noise, by the trapezoidal rule: the textbook integral."""
    z = np.linspace(-12 * deviation, 1 + 12 * deviation, order)
    density = [
        np.exp(-((z - bit) ** 2) / (2 * deviation**2)) / (deviation * math.sqrt(2 * math.pi)) for bit in (0, 1)
    ]
    mixture = (density[0] + density[1]) / 2
    entropy = -np.trapezoid(np.where(mixture > 0, mixture * np.log2(np.maximum(mixture, 1e-300)), 0), z)
    return float(entropy - 0.5 * math.log2(2 * math.pi * math.e * deviation**2))


@pytest.mark.parametrize("deviation", [0.4, 0.6, 1.0])
def test_the_integral_of_the_gaussian_code_is_exact(deviation: float) -> None:
    """The sixteen codes are four independent fair bits, so I(O;Z) is four times that of one bit."""
    code = GaussianCode(deviation)
    found = code.truth()
    assert found.objects == pytest.approx(4 * binary_input_information_bits(deviation), abs=5e-3)
    assert found.objects == pytest.approx(found.features + found.binding)  # the chain rule
    assert found == pytest.approx(code.truth(order=8), abs=2e-2)


def test_the_gaussian_code_has_its_information_on_average() -> None:
    rng = np.random.default_rng(0)
    code = GaussianCode(0.6)
    codes = rng.integers(2, size=(40_000, 4), dtype=np.uint8)
    losses = code.bayes_losses(codes, code.draw(codes, rng))
    exact = entropies()
    for entropy, loss, truth in zip(
        (exact.object_bits, exact.feature_bits, exact.conditional_bits), losses, code.truth(), strict=True
    ):
        assert entropy - loss.mean() == pytest.approx(truth, abs=5 * loss.std() / 200)


def test_an_undertrained_features_probe_inflates_the_difference_form_and_is_named() -> None:
    noise = next(code for code in known_codes() if code.name == "noise")
    config = MeasureConfig(fit=FitConfig(epochs=4, batch_size=128), search=SearchConfig(suggestions=1), n_seeds=2)
    probe, lazy = ProbeSpace.of("linear", learning_rate=0.1), ProbeSpace.of("linear", learning_rate=1e-5)
    found = measure_samples(noise.samples(), probe, config, feature_probe=lazy)
    assert found.estimates["binding_information_bits"].low > noise.truth.binding  # type: ignore[union-attr]
    assert "features_probe_excess" in found.flags


def bayes_coverage(experiments: int, n_samples: int) -> dict[str, float]:
    """Share of experiments whose interval holds the true information, the best predictor plugged in."""
    code, exact = GaussianCode(0.6), entropies()
    truth = code.truth(order=11)
    truths = {
        "object_information_bits": truth.objects,
        "feature_information_bits": truth.features,
        "binding_information_bits": truth.binding,
        "direct_binding_information_bits": truth.binding,
    }
    covered = dict.fromkeys(truths, 0)
    rng = np.random.default_rng(0)
    config = IntervalConfig(resamples=200)
    for experiment in range(experiments):
        codes = rng.integers(2, size=(n_samples, 4), dtype=np.uint8)
        objects, features, direct = (loss[None] for loss in code.bayes_losses(codes, code.draw(codes, rng)))
        entropy = PRIOR.conditional_entropy_bits(SPACE.feature_codes(codes))
        losses = TestLosses(objects, features, direct, entropy[None])
        found = measures(losses, entropy, exact, config, seed=experiment).estimates
        for column, value in truths.items():
            covered[column] += found[column].low <= value <= found[column].high  # type: ignore[union-attr]
    return {column: count / experiments for column, count in covered.items()}


def test_intervals_cover_the_true_information_when_the_best_predictor_is_plugged_in() -> None:
    for column, share in bayes_coverage(250, 150).items():
        assert 0.91 <= share <= 0.99, column  # a standard deviation of 250 experiments is 1.4%


@pytest.mark.slow
def test_intervals_cover_the_true_information_in_93_to_97_of_100() -> None:
    for column, share in bayes_coverage(3000, 400).items():
        assert 0.93 <= share <= 0.97, column
