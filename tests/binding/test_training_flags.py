"""Training that was not adequate is marked, and a probe without a number is never averaged."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from binding._trainer import TargetResult
from binding.fit import EpochLoss, FitConfig, Fitted
from binding.measurement import measure_samples
from binding.probes import FAMILIES, HeadShape, Linear, Parameters, Target
from binding.samples import MeasureConfig
from binding.search import ProbeSpace, SearchConfig
from binding.testing import known_codes
from binding.training_flags import training_flags
from binding.tuning import NothingTrainedError
from frozen.ranges import Range

CODES = {code.name: code for code in known_codes()}
QUICK = MeasureConfig(fit=FitConfig(epochs=2, batch_size=64), search=SearchConfig(suggestions=1), n_seeds=1)
LINEAR = ProbeSpace.of("linear", learning_rate=0.1)


def epochs(count: int) -> MeasureConfig:
    return replace(QUICK, fit=FitConfig(epochs=count, batch_size=64))


def test_a_loss_that_still_falls_at_the_last_epoch_is_marked() -> None:
    samples = CODES["objects"].samples(train=600, validation=200, test=200)
    assert {"last_epoch", "still_falling"} <= set(measure_samples(samples, LINEAR, epochs(2)).flags)
    converged = measure_samples(samples, ProbeSpace.of("linear", learning_rate=1.0), epochs(24))
    assert "still_falling" not in converged.flags
    assert "wide_gap" not in converged.flags


def curve(*losses: float) -> Fitted:
    """A training with these validation losses."""
    best = min(losses)
    points = [EpochLoss(epoch, loss, loss) for epoch, loss in enumerate(losses, start=1)]
    return Fitted(Linear(), HeadShape(4, 4), {}, losses.index(best) + 1, best, points)


@pytest.mark.parametrize(
    ("losses", "flags"),
    [
        ([8, 6, 5.0, 4.0, 3.9, 3.9, 3.89, 3.889], {"still_falling"}),  # cut after 4: frozen while it fell
        ([8, 4, 4.0, 4.0, 3.9, 3.9, 3.89, 3.889], set()),  # the last is the best by a hair
        ([8, 4, 4.0, 4.0, 3.9, 3.9, 3.89, 3.85], {"last_epoch"}),
        ([8, 4, 4.0, 4.0, 3.9, 3.9, 3.5, 3.0], {"last_epoch", "still_falling"}),
        ([40, 20, 8.0, 9.0, 9.0, 9.0, 9.0, 9.0], {"still_falling"}),
        ([3, 40, 30.0, 20.0, 9.0, 8.0, 7.0, 6.0], set()),  # falls above its best are of no account
        ([3, 3.5], set()),
    ],
)
def test_what_a_learning_curve_says(losses: list[float], flags: set[str]) -> None:
    config = FitConfig(epochs=8, schedule_step=4)
    result = TargetResult(
        [], [curve(*losses)], np.full((1, 2), 8.0), np.zeros((1, 2, 4), np.float32), 1.0, 0.0, [], Linear()
    )
    targets: dict[Target, TargetResult] = {"objects": result, "given": result}
    assert set(training_flags(targets, config, 100, 1)) == flags


@pytest.mark.parametrize(("gap_bits", "flagged"), [(0.39, False), (0.41, True)])
def test_a_gap_is_wide_from_a_twentieth_of_the_entropy(gap_bits: float, flagged: bool) -> None:
    fits = [curve(4.0, 4.0)]
    result = TargetResult(
        [], fits, np.full((1, 2), 8.0), np.zeros((1, 2, 4), np.float32), 1.0, gap_bits, [], Linear()
    )
    targets: dict[Target, TargetResult] = {"objects": result, "given": result}
    assert (training_flags(targets, FitConfig(epochs=8), 100, 1) == ["wide_gap"]) == flagged


def test_a_probe_that_learns_its_samples_by_heart_is_marked() -> None:
    samples = CODES["noise"].samples(train=40, validation=400, test=400)
    wide = np.random.default_rng(0).standard_normal((40, 200)).astype(np.float32)
    others = [np.random.default_rng(i).standard_normal((400, 200)).astype(np.float32) for i in (1, 2)]
    memorised = samples._replace(
        train=samples.train._replace(activations=wide),
        validation=samples.validation._replace(activations=others[0]),
        test=samples.test._replace(activations=others[1]),
    )
    found = measure_samples(memorised, LINEAR, epochs(20))
    assert "wide_gap" in found.flags
    assert found.targets["objects"].gap_bits > 0.4
    assert found.targets["direct"].gap_bits == 0.0  # the untrained state wins: nothing was learnt


def test_an_optimum_at_the_edge_of_its_range_is_marked() -> None:
    samples = CODES["objects"].samples(train=600, validation=200, test=200)
    low = ProbeSpace.of("linear", learning_rate=Range(low=1e-6, high=1e-2, log=True))
    config = replace(QUICK, search=SearchConfig(suggestions=6, ask=6))
    assert "range_edge" in measure_samples(samples, low, config).flags


@dataclass(frozen=True, kw_only=True)
class Fragile(Linear):
    """A linear probe whose second training is without a number from the start, unless it reads features."""

    family = "fragile"

    def initial(self, shape: HeadShape, generator: torch.Generator) -> Parameters:
        parameters = super().initial(shape, generator)
        diverges = generator.initial_seed() == 1 and shape.group_sizes
        return {name: value * math.nan if diverges else value for name, value in parameters.items()}


def test_a_seed_that_diverges_is_reported_and_not_averaged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FAMILIES.own, "fragile", Fragile)
    samples = CODES["objects"].samples(train=600, validation=200, test=200)
    found = measure_samples(samples, ProbeSpace.of("fragile", learning_rate=0.1), replace(QUICK, n_seeds=3))
    assert "diverged" in found.flags
    assert {name: len(bits) for name, bits in found.losses.named().items()} == {
        "objects": 2,
        "features": 3,
        "direct": 3,  # the untrained state, which no divergence can take away
        "given": 3,
    }
    sound = measure_samples(samples, LINEAR, replace(QUICK, n_seeds=3))
    np.testing.assert_array_equal(found.losses.objects, sound.losses.objects[[0, 2]])
    estimate = found.estimates["object_loss_bits"]
    assert estimate is not None
    assert estimate.value == pytest.approx(sound.losses.objects[[0, 2]].mean())


def test_a_probe_that_has_no_test_loss_is_not_averaged() -> None:
    samples = CODES["objects"].samples(train=600, validation=200, test=200)
    broken = np.array(samples.test.activations[:])
    broken[3] = np.nan
    test = samples.test._replace(activations=broken)
    with pytest.raises(NothingTrainedError, match="the objects probe diverged with every seed"):
        measure_samples(samples._replace(test=test), LINEAR, QUICK)
