"""Training that was not adequate is marked, and a probe without a number is never averaged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from binding.fit import FitConfig
from binding.measurement import measure_samples
from binding.samples import MeasureConfig
from binding.search import ProbeSpace, Range, SearchConfig
from binding.testing import known_codes
from binding.tuning import NothingTrainedError

CODES = {code.name: code for code in known_codes()}
QUICK = MeasureConfig(fit=FitConfig(epochs=2, batch_size=64), search=SearchConfig(suggestions=1), n_seeds=1)
LINEAR = ProbeSpace.of("linear", learning_rate=0.1)


def epochs(count: int) -> MeasureConfig:
    return replace(QUICK, fit=FitConfig(epochs=count, batch_size=64))


def test_a_loss_that_still_falls_at_the_last_epoch_is_marked() -> None:
    samples = CODES["objects"].samples(train=600, validation=200, test=200)
    assert {"last_epoch", "still_falling"} <= set(measure_samples(samples, LINEAR, epochs(2)).flags)
    converged = measure_samples(samples, ProbeSpace.of("linear", learning_rate=1.0), epochs(40))
    assert "still_falling" not in converged.flags
    assert "wide_gap" not in converged.flags


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


def test_a_probe_that_has_no_test_loss_is_not_averaged() -> None:
    samples = CODES["objects"].samples(train=600, validation=200, test=200)
    broken = np.array(samples.test.activations[:])
    broken[3] = np.nan
    test = samples.test._replace(activations=broken)
    with pytest.raises(NothingTrainedError, match="the objects probe diverged with every seed"):
        measure_samples(samples._replace(test=test), LINEAR, QUICK)
