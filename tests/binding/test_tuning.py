"""Tuning: the budget is kept, equal seeds repeat it, and what diverged is never chosen."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from binding.examples import Examples
from binding.fit import FitConfig, Fitted, OnEpoch, fit
from binding.probes import HeadShape, Probe, QuadraticConcat
from binding.search import ProbeSpace, SearchConfig
from binding.tuning import NothingTrainedError, Tuned, tune
from frozen.ranges import Range
from frozen.rows import Rows

SHAPE = HeadShape(z_dim=2, n_heads=2)
SPACE = ProbeSpace.of("quadratic_concat", rank=Range(low=2, high=64))
LOGS = ProbeSpace.of("quadratic_concat", learning_rate=Range(low=1e-4, high=1.0, log=True))


class Trainer:
    """Stands for training: the loss of a probe is a function of it."""

    def __init__(self, loss: Callable[[Probe], float]) -> None:
        self.loss = loss
        self.asked: list[list[Probe]] = []
        self.told: list[bool] = []

    def __call__(self, probes: list[Probe], on_epoch: OnEpoch | None) -> list[Fitted]:
        self.asked.append(probes)
        self.told.append(on_epoch is not None)
        return [self._fitted(probe) for probe in probes]

    def _fitted(self, probe: Probe) -> Fitted:
        bits = self.loss(probe)
        status = "finished" if math.isfinite(bits) else "diverged"
        return Fitted(probe, SHAPE, best_epoch=7, validation_bits=bits, status=status)

    @property
    def probes(self) -> list[Probe]:
        return [probe for probes in self.asked for probe in probes]


def far_from_a_tenth(probe: Probe) -> float:
    return abs(math.log10(probe.learning_rate) + 1)


def tuned(space: ProbeSpace, trainer: Trainer, seed: int = 0, **config: object) -> Tuned:
    return tune(space, SearchConfig(**config), trainer, seed)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("suggestions", "ask", "sizes"),
    [(8, 4, [4, 4]), (10, 4, [4, 4, 2]), (3, 8, [3]), (1, 1, [1]), (3, 1, [1, 1, 1])],
)
def test_the_budget_is_asked_for_in_its_parts(suggestions: int, ask: int, sizes: list[int]) -> None:
    trainer = Trainer(far_from_a_tenth)
    found = tuned(SPACE, trainer, suggestions=suggestions, ask=ask)
    assert [len(probes) for probes in trainer.asked] == sizes
    assert len(found.suggestions) == suggestions


def test_without_ranges_there_is_one_suggestion() -> None:
    trainer = Trainer(far_from_a_tenth)
    found = tuned(ProbeSpace.of("quadratic_concat", learning_rate=0.02), trainer, suggestions=8)
    assert trainer.asked == [[QuadraticConcat(learning_rate=0.02)]]
    assert [suggestion.values for suggestion in found.suggestions] == [{}]


def test_the_defaults_are_tried_first() -> None:
    trainer = Trainer(far_from_a_tenth)
    tuned(SPACE, trainer, suggestions=4, ask=2)
    assert trainer.probes[0] == QuadraticConcat()
    assert QuadraticConcat() not in trainer.probes[1:]


def test_equal_seeds_repeat_the_search_and_others_do_not() -> None:
    def probes(seed: int) -> list[Probe]:
        trainer = Trainer(far_from_a_tenth)
        tuned(SPACE, trainer, seed, suggestions=16, ask=4)
        return trainer.probes

    assert probes(0) == probes(0)
    assert probes(0)[1:4] != probes(1)[1:4]


def test_the_best_of_all_is_returned_with_all() -> None:
    trainer = Trainer(far_from_a_tenth)
    found = tuned(SPACE, trainer, suggestions=9, ask=4)
    assert found.best.probe == min(trainer.probes, key=far_from_a_tenth)
    assert [suggestion.validation_bits for suggestion in found.suggestions] == [
        far_from_a_tenth(probe) for probe in trainer.probes
    ]
    for suggestion, probe in zip(found.suggestions, trainer.probes, strict=True):
        assert SPACE.probe(suggestion.values) == probe
        assert (suggestion.best_epoch, suggestion.status) == (7, "finished")


def test_what_was_tried_guides_what_comes() -> None:
    trainer = Trainer(far_from_a_tenth)
    tuned(LOGS, trainer, suggestions=40, ask=2)
    losses = [far_from_a_tenth(probe) for probe in trainer.probes]
    assert np.mean(losses[-15:]) < 0.7 * np.mean(losses[1:10])


def test_a_diverged_suggestion_is_not_chosen() -> None:
    trainer = Trainer(lambda probe: math.inf if probe.learning_rate > 0.01 else probe.learning_rate)
    found = tuned(LOGS, trainer, suggestions=12, ask=4)
    statuses = {suggestion.status for suggestion in found.suggestions}
    assert statuses == {"finished", "diverged"}
    assert found.best.status == "finished"
    assert found.best.validation_bits == min(s.validation_bits for s in found.suggestions)


def test_the_first_suggestion_may_diverge() -> None:
    first = QuadraticConcat()
    found = tuned(SPACE, Trainer(lambda probe: math.inf if probe == first else 1.0), suggestions=2, ask=2)
    assert found.best.probe != first


def test_a_search_in_which_all_diverge_says_what_to_do() -> None:
    message = "all 5 suggestions of quadratic_concat diverged; lower the learning rate or standardize"
    with pytest.raises(NothingTrainedError, match=message):
        tuned(SPACE, Trainer(lambda probe: math.inf), suggestions=5, ask=2)


@pytest.mark.parametrize(("pruner", "told"), [("none", False), ("median", True), ("successive_halving", True)])
def test_epochs_are_told_to_pruners_only(pruner: str, told: bool) -> None:
    trainer = Trainer(far_from_a_tenth)
    tuned(SPACE, trainer, suggestions=2, ask=2, pruner=pruner)
    assert trainer.told == [told]


def signs(n: int, seed: int) -> Examples:
    """Bits that are the signs of the activations."""
    z = np.random.default_rng(seed).standard_normal((n, SHAPE.z_dim)).astype(np.float32)
    device = torch.device("cpu")
    return Examples.of(Rows(z, None, device), (z > 0).astype(np.uint8), None, device)


class RealTrainer:
    """Training on the signs, which keeps what it made."""

    def __init__(self) -> None:
        self._train, self._validation = signs(256, 0), signs(128, 1)
        self.made: list[Fitted] = []

    def __call__(self, probes: list[Probe], on_epoch: OnEpoch | None) -> list[Fitted]:
        config = FitConfig(epochs=8, batch_size=32)
        fitted = fit(probes, SHAPE, self._train, self._validation, config, seed=0, on_epoch=on_epoch)
        self.made.extend(fitted)
        return fitted


RATES = ProbeSpace.of("linear", learning_rate=Range(low=1e-5, high=1.0, log=True))


def tuned_for_real(pruner: str) -> tuple[Tuned, list[Fitted]]:
    trainer = RealTrainer()
    return tune(RATES, SearchConfig(suggestions=20, ask=2, pruner=pruner), trainer, 1), trainer.made  # type: ignore[arg-type]


@pytest.mark.parametrize("pruner", ["successive_halving", "median"])
def test_pruned_suggestions_leave_and_the_winner_stays(pruner: str) -> None:
    (found, made), (whole, all_made) = tuned_for_real(pruner), tuned_for_real("none")
    assert {len(fitted.curve) for fitted in all_made} == {8}
    assert {fitted.status for fitted in all_made} == {"finished"}
    pruned = [fitted for fitted in made if fitted.status == "pruned"]
    assert 3 <= len(pruned) < 20
    assert min(len(fitted.curve) for fitted in pruned) < 8
    assert {len(fitted.curve) for fitted in made if fitted.status == "finished"} == {8}
    assert [suggestion.status for suggestion in found.suggestions] == [fitted.status for fitted in made]
    assert found.best.validation_bits == min(fitted.validation_bits for fitted in made)
    assert found.best.validation_bits == pytest.approx(whole.best.validation_bits, rel=0.1)


def test_halving_stops_where_its_rungs_are() -> None:
    """Rungs at 1 and 4 epochs; the first trainings set the scale and run to their end."""
    _, made = tuned_for_real("successive_halving")
    assert {len(fitted.curve) for fitted in made if fitted.status == "pruned"} <= {1, 4}
    assert [fitted.status for fitted in made[:2]] == ["finished", "finished"]
