"""Known answers: what the whole measurement must say of codes whose information is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from binding import FeatureSpace, FitConfig, MeasureConfig, ProbeSpace, SearchConfig, UniformPrior, measure
from binding.information import Estimate
from binding.measurement import Measurement, measure_samples
from binding.samples import Samples, SplitSamples
from frozen.data.scenes import SPLITS, ColorShape, SplitName, SplitPolicy
from frozen.ranges import Choices

SCENE = ColorShape(
    n_colors=3,
    n_shapes=3,
    max_objects=4,
    image_size=64,
    object_size=12,
    split=SplitPolicy(train=2000, validation=500, test=800),
)
QUICK = MeasureConfig(
    fit=FitConfig(epochs=12, patience=4, batch_size=200, schedule_step=5), search=SearchConfig(suggestions=3, ask=3)
)


@cache
def labels(name: SplitName) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Object codes, entropies and prior odds of a split."""
    split = SCENE.open(name)
    return split.object_codes, split.conditional_entropy_bits(), split.prior_log_odds()


def measured(
    activations: Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray],
    probe: ProbeSpace,
    config: MeasureConfig = QUICK,
) -> Measurement:
    """Measure activations made from the object and feature codes of each split."""
    parts = []
    for number, name in enumerate(SPLITS):
        codes, entropy, odds = labels(name)
        z = activations(codes, SCENE.space.feature_codes(codes), np.random.default_rng(number)).astype(np.float32)
        parts.append(Samples(z, codes, entropy, odds))
    samples = SplitSamples(SCENE.space, *parts, entropies=SCENE.open("test").entropies)
    return measure_samples(samples, probe, config)


PROBES = [
    ProbeSpace.of("linear", learning_rate=1.0),
    ProbeSpace.of("quadratic_concat", learning_rate=Choices(choices=(0.02, 0.05)), rank=8),
]


def value(measurement: Measurement, name: str) -> Estimate:
    estimate = measurement.estimates[name]
    assert estimate is not None
    return estimate


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.family)
def test_object_codes_bind_wholly(probe: ProbeSpace) -> None:
    found = measured(lambda objects, features, rng: objects, probe)
    assert value(found, "binding_ratio").value > 0.98
    assert value(found, "direct_binding_ratio").value > 0.98
    assert value(found, "object_information_ratio").value > 0.98
    for ratio in ("direct_binding_ratio", "object_information_ratio"):
        assert value(found, ratio).high <= 1 + 1e-9
    # the difference form has no bound of its own: above 1 by more than its interval, it is flagged
    assert value(found, "binding_ratio").low <= 1 + 1e-9 or found.flags


def test_feature_codes_do_not_bind() -> None:
    """Nor does a linear probe find that they do: TestLinear of test_known_answers."""
    found = measured(lambda objects, features, rng: features, PROBES[1])
    assert abs(value(found, "direct_binding_information_bits").value) < 0.05
    assert abs(value(found, "v_information_bits").value) < 0.05
    assert value(found, "feature_information_bits").value == pytest.approx(
        SCENE.open("test").entropies.feature_bits, abs=0.1
    )
    difference = value(found, "binding_information_bits")
    off = difference.high < 0 or difference.low > 0  # with two seeds the interval is wide
    assert abs(difference.value) < 0.1 or not off or "objects_probe_excess" in found.flags


def test_noise_tells_nothing() -> None:
    """Nor does it tell a linear probe anything: TestLinear of test_known_answers."""
    found = measured(lambda objects, features, rng: rng.standard_normal((len(objects), 32)), PROBES[1])
    assert value(found, "object_information_ratio").value <= 0.02
    assert value(found, "feature_information_bits").low <= 0
    assert abs(value(found, "direct_binding_information_bits").value) < 0.05


def test_an_erased_code_tells_its_share() -> None:
    def erased(objects: np.ndarray, features: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        blank = rng.permutation(len(objects))[:, None] % 2
        return np.concatenate([np.where(blank, 0, objects - 0.5), blank], axis=1)

    found = measured(erased, ProbeSpace.of("quadratic_concat", learning_rate=0.05, rank=8))
    exact = SCENE.open("test").entropies
    for name, truth in (
        ("object_information_bits", 0.5 * exact.object_bits),
        ("direct_binding_information_bits", 0.5 * exact.conditional_bits),
    ):
        estimate = value(found, name)
        assert estimate.low <= truth
        assert estimate.value > 0.8 * truth


def test_a_product_code_defeats_a_linear_probe_and_not_a_quadratic_one() -> None:
    def hidden(objects: np.ndarray, features: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        mask = rng.choice([-1.0, 1.0], size=(len(objects), 9))
        return np.concatenate([mask * (2.0 * objects - 1), mask], axis=1)

    linear = value(measured(hidden, PROBES[0]), "direct_binding_ratio").value
    quadratic = value(measured(hidden, PROBES[1]), "direct_binding_ratio").value
    assert linear < 0.02
    assert quadratic > 0.8


def test_the_library_entry_measures_any_array() -> None:
    space = FeatureSpace.of(color=("red", "blue"), shape=("square", "circle"))
    codes = np.random.default_rng(0).integers(2, size=(3000, 4), dtype=np.uint8)
    mixed = codes @ np.random.default_rng(1).standard_normal((4, 7))
    found = measure(mixed, codes, space, probe="linear", config=QUICK)
    assert value(found, "binding_ratio").value > 0.95
    assert found.binding_ratio == found.estimates["binding_ratio"]
    assert found.estimates["object_information_bits"] is None
    assert found.conditional_entropy_bits == pytest.approx(
        UniformPrior(space, 0, 4).conditional_entropy_bits(space.feature_codes(codes[2400:])).mean()
    )


def test_equal_seeds_give_equal_numbers() -> None:
    short = replace(QUICK, fit=replace(QUICK.fit, epochs=3))
    runs = [measured(lambda objects, features, rng: objects[:, :3], PROBES[1], short) for _ in range(2)]
    assert runs[0].estimates == runs[1].estimates
    np.testing.assert_array_equal(runs[0].losses.objects, runs[1].losses.objects)


def test_every_probe_family_of_vectors_runs_through_the_measurement() -> None:
    quick = MeasureConfig(fit=FitConfig(epochs=2), search=SearchConfig(suggestions=1), n_seeds=1)
    space = FeatureSpace.of(color=2, shape=2)
    codes = np.random.default_rng(0).integers(2, size=(400, 4), dtype=np.uint8)
    for family in ("linear", "dnn_concat", "quadratic_concat", "quadratic_concat_reuse", "multilinear_concat_reuse"):
        found = measure(codes.astype(np.float32), codes, space, probe=family, config=quick)
        expected = "quadratic_concat" if family.endswith("reuse") else family
        assert found.targets["features"].probe.family == expected
        assert found.targets["direct"].probe.family == family


def test_attention_reads_tokens_of_which_one_is_relevant() -> None:
    """Each sample's code lies in one token, at a random place, marked by a flag."""
    space = FeatureSpace.of(color=2, shape=2)
    rng = np.random.default_rng(0)
    n = 2000
    codes = rng.integers(2, size=(n, 4), dtype=np.uint8)
    tokens = rng.standard_normal((n, 6, 8))
    place = rng.integers(1, 6, size=n)
    tokens[:, :, :5] = 0
    tokens[np.arange(n), place, :4] = 2 * codes - 1.0
    tokens[np.arange(n), place, 4] = 3
    found = measure(tokens, codes, space, probe="attention_quadratic", config=replace(QUICK, n_seeds=1))
    assert value(found, "direct_binding_ratio").value > 0.7


@pytest.mark.parametrize(
    ("activations", "codes", "probe", "message"),
    [
        (np.zeros((20, 3)), np.zeros((20, 5), np.uint8), "linear", r"object_codes must be \[20 samples, 4 objects\]"),
        (np.zeros((20, 1, 2, 3)), np.zeros((20, 4), np.uint8), "linear", r"activations must be \[samples dim\]"),
        (np.zeros((20, 2, 3)), np.zeros((20, 4), np.uint8), "linear", "linear reads one vector"),
        (np.zeros((20, 3)), np.zeros((20, 4), np.uint8), "quadratik", "there is no 'quadratik'"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    activations: np.ndarray, codes: np.ndarray, probe: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        measure(activations, codes, FeatureSpace.of(color=2, shape=2), probe=probe)
