from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from binding import forecast as module
from binding.fit import FitConfig
from binding.forecast import forecast_s
from binding.samples import MeasureConfig
from binding.search import ProbeSpace, SearchConfig
from frozen.data.scenes import SplitName
from frozen.data.scenes.codes import FeatureSpace
from frozen.intervals import IntervalConfig
from frozen.ranges import Choices

SPACE = FeatureSpace.of(color=2, shape=2)
SIZES: dict[SplitName, int] = {"train": 640, "validation": 160, "test": 200}


CONFIG = MeasureConfig(
    fit=FitConfig(epochs=10, batch_size=64),
    search=SearchConfig(suggestions=8, ask=4),
    intervals=IntervalConfig(resamples=100),
    n_seeds=3,
)


@pytest.fixture
def a_training_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """One second to begin with a batch of each kind, a step half a second more, a validation batch a quarter."""
    monkeypatch.setattr(module, "_best_s", lambda *works: [1.75, 1.75 + 2 * 0.5, 1.75 + 2 * 0.25])
    monkeypatch.setattr(module, "_intervals_s", lambda n_test, config: 7.0)


@pytest.mark.usefixtures("a_training_takes")
def test_all_epochs_of_all_trainings_are_added_up() -> None:
    epochs, steps, validation_batches, test_batches = 10, 10, 2.5, 200 / 64
    one = 1.0 + epochs * (steps * 0.5 + validation_batches * 0.25) + test_batches * 0.25
    tuned = 2 * one + 2 * one  # two packs of four suggestions, two more seeds of the winner
    given = 3 * one
    assert forecast_s(SIZES, (8,), SPACE, ProbeSpace.of("linear"), CONFIG) == pytest.approx(3 * tuned + given + 7.0)


@pytest.mark.usefixtures("a_training_takes")
def test_without_ranges_there_is_one_suggestion() -> None:
    fixed = ProbeSpace.of("linear", learning_rate=0.01)
    one = 1.0 + 10 * (10 * 0.5 + 2.5 * 0.25) + 200 / 64 * 0.25
    assert forecast_s(SIZES, (8,), SPACE, fixed, CONFIG) == pytest.approx(3 * 3 * one + 3 * one + 7.0)


@pytest.mark.usefixtures("a_training_takes")
def test_extras_are_trainings_of_the_objects_probe() -> None:
    probe = ProbeSpace.of("linear")
    without = forecast_s(SIZES, (8,), SPACE, probe, CONFIG)
    one = 1.0 + 10 * (10 * 0.5 + 2.5 * 0.25) + 200 / 64 * 0.25
    selective = forecast_s(SIZES, (8,), SPACE, probe, replace(CONFIG, extras=("selectivity",)))
    assert selective - without == pytest.approx(3 * one)
    known, batches = (10, 20, 40, 80, 160, 320), (32, 32, 32, 32, 32, 32)  # of 640 samples
    steps = [-(-n // size) for n, size in zip(known, batches, strict=True)]
    coded = sum(1.0 + 10 * (n * 0.5 + 2.5 * 0.25) for n in steps) + (640 - 10) / 64 * 0.25
    assert forecast_s(SIZES, (8,), SPACE, probe, replace(CONFIG, extras=("mdl",))) - without == pytest.approx(coded)


@pytest.mark.parametrize(
    ("probe", "shape"),
    [
        (ProbeSpace.of("linear"), (8,)),
        (ProbeSpace.of("quadratic_concat", rank=Choices(choices=(2, 4))), (8,)),
        (ProbeSpace.of("attention_quadratic", rank=2), (5, 8)),
    ],
)
def test_every_family_is_timed_for_real(probe: ProbeSpace, shape: tuple[int, ...]) -> None:
    taken = forecast_s(SIZES, shape, SPACE, probe, CONFIG, device=torch.device("cpu"))
    assert 0 < taken < 3600


def test_fewer_samples_than_a_batch() -> None:
    sizes: dict[SplitName, int] = {"train": 10, "validation": 10, "test": 10}
    assert forecast_s(sizes, (8,), SPACE, ProbeSpace.of("linear"), CONFIG) > 0
