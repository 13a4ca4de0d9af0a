"""Selectivity and minimum description length: codes whose answer is known, and the codes they are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from binding import FeatureSpace, FitConfig, MeasureConfig, ProbeSpace, SearchConfig, measure
from binding.control_code import control_codes
from binding.description_length import block_batch_size, coding_blocks
from binding.extras import EXTRA_ESTIMATES, EXTRAS, N_ORDERS, extra_estimates
from binding.information import Estimate
from binding.measurement import Measurement, measure_samples
from binding.samples import Samples, SplitSamples
from frozen.data.scenes import SPLITS, ColorShape, SplitPolicy
from frozen.intervals import IntervalConfig

SCENE = ColorShape(
    n_colors=4,
    n_shapes=4,
    max_objects=6,
    image_size=64,
    object_size=12,
    split=SplitPolicy(train=2000, validation=400, test=600),
)
PROBE = ProbeSpace.of("linear", learning_rate=0.3)
CONFIG = MeasureConfig(
    fit=FitConfig(epochs=8, batch_size=128, schedule_step=3),
    search=SearchConfig(suggestions=1),
    n_seeds=1,
    intervals=IntervalConfig(resamples=500),
    extras=EXTRAS,
)
MakeActivations = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def measured(activations: MakeActivations) -> Measurement:
    parts = []
    for number, name in enumerate(SPLITS):
        split = SCENE.open(name)
        z = activations(split.object_codes, np.random.default_rng(number)).astype(np.float32)
        parts.append(Samples(z, split.object_codes, split.conditional_entropy_bits(), split.prior_log_odds()))
    samples = SplitSamples(SCENE.space, *parts, entropies=SCENE.open("test").entropies)
    return measure_samples(samples, PROBE, CONFIG)


@pytest.fixture(scope="module")
def of_objects() -> Measurement:
    return measured(lambda codes, rng: codes)


@pytest.fixture(scope="module")
def of_noise() -> Measurement:
    return measured(lambda codes, rng: rng.standard_normal((len(codes), 16)))


def value(measurement: Measurement, name: str) -> Estimate:
    estimate = measurement.estimates[name]
    assert estimate is not None
    assert estimate.low <= estimate.value <= estimate.high
    return estimate


def test_object_codes_are_read_and_their_control_is_not(of_objects: Measurement) -> None:
    entropies = of_objects.entropies
    assert entropies is not None
    assert value(of_objects, "selectivity_bits").low > 0.9 * entropies.object_bits
    assert value(of_objects, "control_information_bits").high < 0.1 * entropies.object_bits
    total = value(of_objects, "selectivity_bits").value + value(of_objects, "control_information_bits").value
    assert total == pytest.approx(value(of_objects, "object_information_bits").value)


def test_what_is_read_linearly_does_not_hang_on_the_order_of_the_objects(of_objects: Measurement) -> None:
    assert value(of_objects, "order_spread_bits").high < 0.1


def test_a_number_whose_digits_are_the_objects_is_read_from_the_first_digit_on() -> None:
    """Each digit follows linearly from the number and the digits before it, and from nothing else."""
    codes = np.random.default_rng(0).integers(2, size=(1500, 4), dtype=np.uint8)
    number = codes @ np.array([8.0, 4.0, 2.0, 1.0])
    config = replace(CONFIG, fit=FitConfig(epochs=24, batch_size=64), extras=("orders",))
    found = measure(
        number[:, None].astype(np.float32),
        codes,
        FeatureSpace.of(color=2, shape=2),
        probe=ProbeSpace.of("linear", learning_rate=2.0),
        config=config,
    )
    loss = value(found, "object_loss_bits").value
    given, others = loss, [bits.mean() for name, bits in found.extra_bits.items() if name.startswith("order_")]
    assert len(others) == N_ORDERS
    assert given < 0.4
    spread = value(found, "order_spread_bits")
    assert spread.value == pytest.approx(max(given, *others) - min(given, *others))
    assert spread.low > 1


def test_noise_is_not_selective(of_noise: Measurement) -> None:
    selectivity = value(of_noise, "selectivity_bits")
    assert selectivity.low <= 0 <= selectivity.high
    assert selectivity.high - selectivity.low < 0.5


def test_object_codes_are_described_shortly(of_objects: Measurement) -> None:
    assert value(of_objects, "description_length_bits").high < 0.2 * 16
    assert value(of_objects, "compression").low > 5


def test_noise_is_described_by_the_prior_at_best(of_noise: Measurement) -> None:
    """What the probe can learn without Z is that at most six objects are present: H(O) of 16 bits."""
    entropies = of_noise.entropies
    assert entropies is not None
    length = value(of_noise, "description_length_bits")
    assert entropies.object_bits < length.low
    assert length.high <= 16
    assert 1 <= value(of_noise, "compression").value < 16 / entropies.object_bits


def test_extras_repeat_and_change_nothing_else() -> None:
    space = FeatureSpace.of(color=2, shape=2)
    codes = np.random.default_rng(0).integers(2, size=(300, 4), dtype=np.uint8)
    quick = {"fit": FitConfig(epochs=2), "search": SearchConfig(suggestions=1), "n_seeds": 2}
    plain, asked, again = (
        measure(codes.astype(np.float32), codes, space, probe="linear", config=MeasureConfig(**quick, extras=extras))  # type: ignore[arg-type]
        for extras in ((), EXTRAS, EXTRAS)
    )
    assert asked.estimates == again.estimates
    assert set(asked.estimates) - set(plain.estimates) == set(EXTRA_ESTIMATES)
    assert {name: asked.estimates[name] for name in plain.estimates} == plain.estimates
    assert asked.estimates["control_information_bits"] is None  # H(O) is unknown
    assert asked.estimates["selectivity_bits"] is not None


def test_the_control_code_is_a_bijection_without_fixed_points() -> None:
    splits = [SCENE.open(name).object_codes for name in SPLITS]
    control = control_codes(splits, seed=0)
    assert [part.shape for part in control] == [part.shape for part in splits]
    before, after = np.concatenate(splits), np.concatenate(control)
    pairs = np.unique(np.concatenate([before, after], axis=1), axis=0)
    distinct = np.unique(before, axis=0)
    assert len(pairs) == len(distinct)
    np.testing.assert_array_equal(np.unique(after, axis=0), distinct)
    assert not (pairs[:, :16] == pairs[:, 16:]).all(axis=1).any()
    np.testing.assert_allclose(after.mean(axis=0), before.mean(axis=0), atol=0.03)


def test_the_control_code_depends_on_codes_and_seed_alone() -> None:
    splits = [SCENE.open(name).object_codes for name in SPLITS]
    first, same, other = (np.concatenate(control_codes(splits, seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()
    alone = np.zeros((5, 16), np.uint8)
    np.testing.assert_array_equal(control_codes([alone], 0)[0], alone)


def test_blocks_double_and_hold_every_sample_once() -> None:
    blocks = coding_blocks(1280, seed=0)
    assert [len(block) for block in blocks] == [10, 10, 20, 40, 80, 160, 320, 640]
    assert sorted(np.concatenate(blocks)) == list(range(1280))
    assert [len(block) for block in coding_blocks(100, seed=0)] == [13, 12, 25, 50]
    assert [len(block) for block in coding_blocks(5, seed=0)] == [5]


def test_short_blocks_have_short_batches() -> None:
    assert [block_batch_size(512, known, 10_000) for known in (5000, 1250, 79)] == [256, 64, 32]
    assert block_batch_size(16, 79, 10_000) == 16


def test_a_description_length_is_resampled_within_blocks() -> None:
    """Lengths that are the same in each block leave nothing to chance, however much blocks differ."""
    lengths = np.zeros(1280)
    for number, block in enumerate(coding_blocks(1280, seed=0)):
        lengths[block] = 16 - 2 * number
    found = extra_estimates({"code_length": lengths[None]}, None, IntervalConfig(resamples=100), seed=0)
    length, compression = found["description_length_bits"], found["compression"]
    assert length == pytest.approx((lengths.mean(),) * 3)
    assert compression == pytest.approx((16 / lengths.mean(),) * 3)
