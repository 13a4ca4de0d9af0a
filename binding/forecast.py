"""How long a cell will take: two batches of each of its trainings are timed, on random activations of its shape."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import optuna
import torch

from binding._trainer import N_NARROWER, Trainer
from binding.description_length import block_batch_size, coding_blocks
from binding.extras import N_ORDERS
from binding.fit import Schedule
from binding.information import TestLosses, measures
from binding.measurement import default_feature_probe
from binding.probes import Probe, Target
from binding.samples import MeasureConfig, Samples, SplitSamples
from binding.search import ProbeSpace
from frozen.data.scenes.codes import FeatureSpace

_ROUNDS = 2
_BATCHES = 2


class _Costs(NamedTuple):
    """Seconds that a training takes."""

    to_begin: float
    a_step: float
    a_validation_batch: float

    def training_s(self, steps: int, validation_batches: float, epochs: int) -> float:
        return self.to_begin + epochs * (steps * self.a_step + validation_batches * self.a_validation_batch)


def forecast_s(
    sizes: Mapping[str, int],
    sample_shape: tuple[int, ...],
    space: FeatureSpace,
    probe: ProbeSpace,
    config: MeasureConfig,
    *,
    feature_probe: ProbeSpace | None = None,
    all_heads_shape: tuple[int, ...] | None = None,
    has_cls: bool = True,
    device: torch.device | None = None,
) -> float:
    """Seconds that a measurement will take on this device, all epochs of all suggestions and seeds.

    What stops early (patience, pruning, a suggestion that diverges) makes it shorter.

    Args:
        sizes: samples of each split.
        sample_shape: of one sample's activations, [dim] or [token dim].
        space: the feature groups.
        probe: the family with its settings and ranges.
        config: training, tuning, seeds, intervals and extras.
        feature_probe: of the features; by default what `measure_samples` takes.
        all_heads_shape: of a head that is to be left out, the shape of all heads of its block.
        has_cls: whether token 0 is a CLS token.
        device: where to train; the CPU by default.
    """
    schedule = config.fit.schedule(sizes["train"])
    batch = min(schedule.batch_size, sizes["train"])
    schedule = schedule._replace(batch_size=batch)

    def trainer_of(shape: tuple[int, ...]) -> Trainer:
        return Trainer(_random_samples((1 + _BATCHES) * batch, shape, space, has_cls), config, device or _CPU)

    trainer = trainer_of(sample_shape)
    direct = probe.probe(probe.first()).without_activations()
    features = feature_probe or default_feature_probe(probe)
    families: tuple[tuple[Target, ProbeSpace], ...] = (("objects", probe), ("features", features), ("direct", probe))
    total = sum(_tuned_s(trainer, target, family, config, sizes, schedule) for target, family in families)
    total += config.n_seeds * _training_s(trainer, "given", [direct], config, sizes, schedule)
    total += _extras_s(trainer, probe.probe(probe.first()), config, sizes, schedule)
    if all_heads_shape is not None:
        first = [probe.probe(probe.first())]
        each = _training_s(trainer_of(all_heads_shape), "direct", first, config, sizes, schedule)
        total += 2 * (config.n_seeds + N_NARROWER) * each  # direct and objects probes, each with narrower inputs
    return total + _intervals_s(sizes["test"], config)


_CPU = torch.device("cpu")


def _tuned_s(
    trainer: Trainer,
    target: Target,
    space: ProbeSpace,
    config: MeasureConfig,
    sizes: Mapping[str, int],
    schedule: Schedule,
) -> float:
    """Tuning, and the winner's trainings with the other seeds."""
    asked = min(config.search.ask, config.search.suggestions) if space.ranges else 1
    rounds = config.search.suggestions / asked if space.ranges else 1
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=config.seed))
    probes = [space.suggest(study.ask()) for _ in range(asked)]
    tuning = rounds * _training_s(trainer, target, probes, config, sizes, schedule)
    if config.n_seeds == 1:
        return tuning
    return tuning + (config.n_seeds - 1) * _training_s(trainer, target, probes[:1], config, sizes, schedule)


def _extras_s(
    trainer: Trainer, probe: Probe, config: MeasureConfig, sizes: Mapping[str, int], schedule: Schedule
) -> float:
    """Control code and other orders are learned with every seed, the online code block by block with the first."""
    if not config.extras:
        return 0.0
    total, costs = 0.0, _costs(trainer, "objects", [probe], config, schedule.batch_size)
    if "selectivity" in config.extras:
        total += config.n_seeds * _whole_s(costs, schedule, sizes)
    if "orders" in config.extras:
        total += N_ORDERS * config.n_seeds * _whole_s(costs, schedule, sizes)
    if "mdl" in config.extras:
        first, *later = map(len, coding_blocks(sizes["train"], config.seed))
        batch = schedule.batch_size
        known, validation_batches = first, sizes["validation"] / batch
        for block in later:
            steps = -(-known // block_batch_size(batch, known, sizes["train"]))
            total += costs.training_s(steps, validation_batches, schedule.epochs)
            total += block / batch * costs.a_validation_batch
            known += block
    return total


def _training_s(
    trainer: Trainer,
    target: Target,
    probes: list[Probe],
    config: MeasureConfig,
    sizes: Mapping[str, int],
    schedule: Schedule,
) -> float:
    return _whole_s(_costs(trainer, target, probes, config, schedule.batch_size), schedule, sizes)


def _whole_s(costs: _Costs, schedule: Schedule, sizes: Mapping[str, int]) -> float:
    steps = -(-sizes["train"] // schedule.batch_size)
    batches_seen = (sizes["validation"] + sizes["test"] / schedule.epochs) / schedule.batch_size
    return costs.training_s(steps, batches_seen, schedule.epochs)


def _costs(trainer: Trainer, target: Target, probes: list[Probe], config: MeasureConfig, batch: int) -> _Costs:
    """Trainings of one epoch with one batch or more: what a further batch adds is its cost."""
    once = replace(config.fit, epochs=1)

    def train(n_train: int, n_validation: int) -> Callable[[], object]:
        return lambda: trainer.rehearse(target, probes, once, n_train * batch, n_validation * batch)

    train(1, 1)()
    base, more_training, more_validation = _best_s(train(1, 1), train(1 + _BATCHES, 1), train(1, 1 + _BATCHES))
    step = max(more_training - base, 0.0) / _BATCHES
    validation = max(more_validation - base, 0.0) / _BATCHES
    return _Costs(max(base - step - validation, 0.0), step, validation)


def _best_s(*works: Callable[[], object]) -> list[float]:
    best = [float("inf")] * len(works)
    for _ in range(_ROUNDS):
        for index, work in enumerate(works):
            start = time.perf_counter()
            work()
            best[index] = min(best[index], time.perf_counter() - start)
    return best


def _intervals_s(n_test: int, config: MeasureConfig) -> float:
    """Time of the bootstrap."""
    bits = np.random.default_rng(0).random((config.n_seeds, n_test))
    losses = TestLosses(objects=bits, features=bits, direct=bits, given=bits)
    start = time.perf_counter()
    measures(losses, np.ones(n_test), None, config.intervals, seed=0)
    return time.perf_counter() - start


def _random_samples(n: int, sample_shape: tuple[int, ...], space: FeatureSpace, has_cls: bool) -> SplitSamples:
    """The same random samples as all three splits."""
    chance = np.random.default_rng(0)
    activations = chance.standard_normal((n, *sample_shape), dtype=np.float32).astype(np.float16)
    codes = chance.integers(2, size=(n, space.n_objects), dtype=np.uint8)
    samples = Samples(activations, codes, np.ones(n), np.zeros((n, space.n_objects)))
    return SplitSamples(space, samples, samples, samples, has_cls=has_cls)
