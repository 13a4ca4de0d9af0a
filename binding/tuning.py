"""Tunes a probe family with Optuna on validation loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from typing import NamedTuple

import optuna

from binding.fit import Fitted, OnEpoch
from binding.probes import Probe
from binding.search import ProbeSpace, SearchConfig
from frozen.ranges import Value


class Suggestion(NamedTuple):
    """One probe that was tried and the validation loss it reached, bits a sample."""

    values: dict[str, Value]
    validation_bits: float
    best_epoch: int
    status: str
    ranges: dict[str, str]
    """What each value was drawn from, as Optuna writes distributions."""
    curve: list[float]
    """Validation loss of every epoch, bits a sample."""


class Tuned(NamedTuple):
    """The best suggestion, as it was trained, and all of them."""

    best: Fitted
    suggestions: list[Suggestion]


class NothingTrainedError(RuntimeError):
    """Every suggestion of a cell diverged."""


FitTogether = Callable[[list[Probe], OnEpoch | None], list[Fitted]]


def tune(space: ProbeSpace, config: SearchConfig, fit_together: FitTogether, seed: int) -> Tuned:
    """Tune a probe family on validation loss.

    Args:
        space: family, fixed settings and ranges; without ranges there is one suggestion.
        config: number of suggestions, how many are trained at once, and pruning.
        fit_together: trains some probes on the same data; passes on every epoch's validation loss.
        seed: seed of the sampler.

    Raises:
        NothingTrainedError: no suggestion reached a finite validation loss.
    """
    steps = tuning(space, config, seed)
    asked = next(steps)
    while True:
        try:
            asked = steps.send(fit_together(*asked))
        except StopIteration as end:
            return end.value


Asked = tuple[list[Probe], OnEpoch | None]
"""Probes to be trained together, and what is told their validation losses."""


def tuning(space: ProbeSpace, config: SearchConfig, seed: int) -> Generator[Asked, list[Fitted], Tuned]:
    """The same step by step: yields what is to be trained, and is sent it trained."""
    study = _study(config, seed)
    study.enqueue_trial(space.first())
    remaining = config.suggestions if space.ranges else 1
    tried: list[tuple[Fitted, Suggestion]] = []
    while remaining:
        trials = [study.ask() for _ in range(min(config.ask, remaining))]
        remaining -= len(trials)
        fitted = yield [space.suggest(trial) for trial in trials], _reporter(trials, config)
        for trial, result in zip(trials, fitted, strict=True):
            _tell(study, trial, result)
            tried.append((result, _suggestion(trial, result)))
    best = min(tried, key=lambda pair: pair[0].validation_bits)[0]
    if not math.isfinite(best.validation_bits):
        raise NothingTrainedError(
            f"all {len(tried)} suggestions of {space.family} diverged; lower the learning rate or standardize"
        )
    return Tuned(best, [suggestion for _, suggestion in tried])


def _suggestion(trial: optuna.Trial, result: Fitted) -> Suggestion:
    ranges = {name: optuna.distributions.distribution_to_json(item) for name, item in trial.distributions.items()}
    curve = [point.validation_bits for point in result.curve]
    return Suggestion(trial.params, result.validation_bits, result.best_epoch, result.status, ranges, curve)


def _study(config: SearchConfig, seed: int) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruners = {
        "none": optuna.pruners.NopPruner,
        "median": optuna.pruners.MedianPruner,
        "successive_halving": optuna.pruners.SuccessiveHalvingPruner,
    }
    sampler = optuna.samplers.TPESampler(seed=seed)
    return optuna.create_study(direction="minimize", sampler=sampler, pruner=pruners[config.pruner]())


def _reporter(trials: list[optuna.Trial], config: SearchConfig) -> OnEpoch | None:
    if config.pruner == "none":
        return None

    def on_epoch(position: int, epoch: int, validation_bits: float) -> bool:
        trials[position].report(validation_bits, epoch)
        return bool(trials[position].should_prune())  # the median pruner returns numpy's

    return on_epoch


def _tell(study: optuna.Study, trial: optuna.Trial, result: Fitted) -> None:
    if not math.isfinite(result.validation_bits):
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    elif result.status == "pruned":
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    else:
        study.tell(trial, result.validation_bits)
