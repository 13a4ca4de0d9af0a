"""Trains probes on one set of activations and keeps each at its best validation epoch (paper, section 3.2)."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from binding._pack import Member, Pack, Products, head_losses, packs_of
from binding._pack_memory import evaluation_rows, in_budget, pack_budget_bytes, training_bytes
from binding.examples import Examples
from binding.probes import HeadShape, Parameters, Probe
from binding.search import ProbeSpace, Setting
from frozen.problems import Problem, at_least, refuse

logger = logging.getLogger(__name__)

_EPOCHS, _LEAST_STEPS, _CUT_EVERY = 40, 1000, 8
_LEAST_BATCHES, _BATCH_SIZES = 25, (16, 512)

OnEpoch = Callable[[int, int, float], bool]
"""Called with a probe's position, epoch and validation loss (bits); returns whether to prune it."""


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How a probe is trained: Adam with L2, learning rate cut in steps, best validation epoch kept."""

    epochs: int | None = None
    """Passes over the training samples; null: 40, or as many as make 1,000 steps of the optimiser."""
    batch_size: int | None = None
    """Samples a batch; null: the largest power of two from 16 to 512 that makes 25 batches an epoch."""
    accumulate: int = 1
    """Batches a step of the optimiser."""
    patience: int | None = 8
    """Stop a probe after this many epochs without a lower validation loss than in its epochs before; null trains all
    epochs."""
    schedule_step: int | None = None
    """Epochs between cuts of the learning rate; null: 8, or a fifth of the epochs if they are more than 40."""
    schedule_factor: float = 0.2
    """Factor of each cut."""
    standardize: bool = True
    """Standardise activations with the training split's mean and deviation of each channel."""
    learning_rate: float | None = None
    """Learning rate of probes that give none; null tunes it in the family's range."""
    weight_decay: float | None = None
    """L2 penalty of probes that give none; null takes the family's default, 0."""
    products: Products = "float32"
    """Precision of the matrix products of a training step: float32, tf32 (on a GPU; float32 elsewhere) or bfloat16.
    Parameters, the optimiser and every validation and test loss stay float32 or better. In a study also auto:
    bfloat16 where this machine multiplies in it at least 1.3 times as fast, measured and said."""

    def __post_init__(self) -> None:
        refuse("fit", self.problems())

    def problems(self) -> Iterator[Problem]:
        """Every broken rule."""
        for name in ("epochs", "batch_size", "accumulate", "patience", "schedule_step"):
            if (value := getattr(self, name)) is not None:
                yield from at_least(name, value, 1)
        if self.products not in get_args(Products):
            yield Problem("products", f"must be {', '.join(get_args(Products))}, got {self.products!r}")
        if not 0 < self.schedule_factor <= 1:
            yield Problem("schedule_factor", f"must lie in (0, 1], got {self.schedule_factor}")
        if self.learning_rate is not None and not self.learning_rate > 0:
            yield Problem("learning_rate", f"must be > 0, got {self.learning_rate}")
        if self.weight_decay is not None:
            yield from at_least("weight_decay", self.weight_decay, 0)

    def probe_space(self, family: str, given: Mapping[str, Setting]) -> ProbeSpace:
        """A family with the settings given, and with this fit's learning rate and weight decay where it has them.

        Raises:
            ConfigurationError: what `ProbeSpace.of` refuses.
        """
        own = {"learning_rate": self.learning_rate, "weight_decay": self.weight_decay}
        return ProbeSpace.of(
            family, **{name: value for name, value in own.items() if value is not None} | dict(given)
        )

    @classmethod
    def paper(cls) -> FitConfig:
        """The settings of the paper's script: fixed learning rate and L2, two batches a step, raw activations."""
        return cls(
            epochs=40,
            batch_size=512,
            accumulate=2,
            patience=None,
            schedule_step=8,
            standardize=False,
            learning_rate=1e-3,
            weight_decay=1e-4,
        )

    def schedule(self, n_train: int) -> Schedule:
        """Batches, epochs and cuts for a number of training samples: what is given, and the rules for the rest."""
        size = self.batch_size or default_batch_size(n_train)
        steps_an_epoch = -(-n_train // (size * self.accumulate))
        epochs = self.epochs or max(_EPOCHS, -(-_LEAST_STEPS // max(steps_an_epoch, 1)))
        return Schedule(size, epochs, self.schedule_step or max(_CUT_EVERY, -(-epochs // 5)), steps_an_epoch)


class Schedule(NamedTuple):
    """How a training goes through a number of samples."""

    batch_size: int
    epochs: int
    """At most; patience may end it earlier."""
    step: int
    """Epochs between cuts of the learning rate."""
    steps_an_epoch: int
    """Steps of the optimiser."""

    @property
    def n_steps(self) -> int:
        """Steps of the optimiser in all epochs."""
        return self.epochs * self.steps_an_epoch


def default_batch_size(n_train: int) -> int:
    """The largest power of two from 16 to 512 that makes at least 25 batches: small data needs small batches."""
    fitting = n_train // _LEAST_BATCHES
    return min(max(1 << max(fitting.bit_length() - 1, 0), _BATCH_SIZES[0]), _BATCH_SIZES[1])


class EpochLoss(NamedTuple):
    """One point of a learning curve, in bits a sample."""

    epoch: int
    train_bits: float
    validation_bits: float


@dataclass
class Fitted:
    """A probe after training.

    Attributes:
        parameters: at the best epoch; None stands for the untrained state, whose output is 0.
        best_epoch: epoch with the lowest validation loss; 0 for the untrained state.
        validation_bits: that loss, bits a sample; infinite if no epoch gave a number.
        status: finished all epochs, stopped for lack of progress, pruned by the search, or diverged.
    """

    probe: Probe
    shape: HeadShape
    parameters: Parameters | None = None
    best_epoch: int = 0
    validation_bits: float = math.inf
    curve: list[EpochLoss] = field(default_factory=list)
    status: Literal["finished", "stopped", "pruned", "diverged"] = "finished"

    @torch.no_grad()
    def evaluate(self, examples: Examples) -> tuple[Float64[np.ndarray, "samples heads"], float]:
        """Loss in bits of every head of every sample, and the share of bits guessed right."""
        losses, correct = [], 0.0
        batches = torch.arange(len(examples.codes)).split(evaluation_rows(examples.z.shape))
        for z, codes, offset in examples.read(batches):
            logits = self.logits(z, codes)
            losses.append(_head_bits(logits, codes, offset)[0])
            guesses = logits[0] if offset is None else logits[0] + offset
            correct += ((guesses > 0) == (codes[:, : self.shape.n_heads] > 0)).double().mean(1).sum().item()
        return torch.cat(losses).cpu().numpy(), correct / len(examples.codes)

    def logits(self, z: Float[Tensor, "..."], codes: Float[Tensor, "batch codes"]) -> Float[Tensor, "1 batch heads"]:
        """Logits of samples; z is [batch dim] or [batch token dim], codes are true bits minus 0.5, then the given."""
        if self.parameters is None:
            return z.new_zeros(1, len(codes), self.shape.n_heads)
        packed = {name: value[None] for name, value in self.parameters.items()}
        return self.probe.logits(packed, self.shape, z, codes)


def fit(
    probes: Sequence[Probe],
    shape: HeadShape,
    train: Examples,
    validation: Examples,
    config: FitConfig,
    *,
    seed: int,
    untrained: bool = False,
    on_epoch: OnEpoch | None = None,
    sources: Sequence[int] | None = None,
) -> list[Fitted]:
    """Train probes on the same batches; none of them is influenced by the others.

    Args:
        probes: hyper-parameters, of any families that read this kind of activations.
        shape: shape of the heads, the same for all.
        train: samples to train on.
        validation: samples that pick the epoch of each probe.
        config: how to train.
        seed: seed of initial parameters, dropout and the order of samples.
        untrained: whether the untrained state, with output 0, may be the best epoch.
        on_epoch: told every validation loss; may prune.
        sources: where examples hold activations of several cells (`StackedRows`), of which of them each probe reads.

    Returns:
        The probes in their order, each at its best epoch.
    """
    device = train.codes.device
    results = [Fitted(probe, shape) for probe in probes]
    if untrained:
        prior_bits = float(results[0].evaluate(validation)[0].sum(axis=1).mean())
        for result in results:
            result.validation_bits = prior_bits
    fresh = [replace(result, curve=[]) for result in results]
    n_tokens = train.z.shape[1] if len(train.z.shape) > 2 else 1
    schedule = config.schedule(len(train.codes))
    sizes = [training_bytes(probe, shape, schedule.batch_size, n_tokens) for probe in probes]
    groups = deque(in_budget(sizes, pack_budget_bytes(device)))
    while groups:
        positions = groups.popleft()
        try:
            members = [Member(i, probes[i], 0 if sources is None else sources[i]) for i in positions]
            packs = packs_of(members, shape, seed, device, config.products, schedule.batch_size)
            _train(packs, results, train, validation, config, seed, on_epoch)
        except torch.OutOfMemoryError:
            if len(positions) == 1:
                raise
        else:
            continue
        # Outside the handler, whose traceback holds on to the memory of the pack.
        packs = None
        groups.extendleft(reversed(_halves(positions)))
        results = [replace(fresh[i], curve=[]) if i in positions else result for i, result in enumerate(results)]
        if device.type == "cuda":
            torch.cuda.empty_cache()
    return results


def _halves(positions: list[int]) -> list[list[int]]:
    """A pack that was too large for the memory as two; each probe's training is the same in any pack."""
    middle = len(positions) // 2
    logger.warning(
        "out of GPU memory with %d probes in a pack; going on with %d", len(positions), len(positions) - middle
    )
    return [positions[:middle], positions[middle:]]


def _train(
    packs: list[Pack],
    results: list[Fitted],
    train: Examples,
    validation: Examples,
    config: FitConfig,
    seed: int,
    on_epoch: OnEpoch | None,
) -> None:
    """All epochs of some packs; results are filled in."""
    order = torch.Generator().manual_seed(seed)
    schedule = config.schedule(len(train.codes))
    for epoch in range(1, schedule.epochs + 1):
        factor = config.schedule_factor ** ((epoch - 1) // schedule.step)
        batches = torch.randperm(len(train.codes), generator=order).split(schedule.batch_size)
        losses = _train_epoch(packs, train, config, batches, factor)
        for pack, pack_losses in zip(packs, losses, strict=True):
            _finish_epoch(pack, epoch, pack_losses, results, validation, config, on_epoch)
        packs = [pack for pack in packs if pack.positions]
        if not packs:
            return


def _train_epoch(
    packs: list[Pack], train: Examples, config: FitConfig, batches: Sequence[Int[Tensor, " _"]], factor: float
) -> list[Float[Tensor, " pack"]]:
    """One pass over the samples; returns each member's mean loss in nats a head."""
    totals = [torch.zeros(len(pack.positions), device=train.codes.device) for pack in packs]
    for number, (indices, (z, codes, offset)) in enumerate(zip(batches, train.read(batches), strict=True), start=1):
        for pack, total in zip(packs, totals, strict=True):
            losses = pack.backward(z, codes, offset, share=1 / config.accumulate)
            total += losses * (len(indices) / len(train.codes))
            if number % config.accumulate == 0 or number == len(batches):
                pack.step(factor)
    return totals


def _finish_epoch(
    pack: Pack,
    epoch: int,
    train_losses: Float[Tensor, " pack"],
    results: list[Fitted],
    validation: Examples,
    config: FitConfig,
    on_epoch: OnEpoch | None,
) -> None:
    """Validate the members, remember new best ones, and let go of those that should not go on."""
    validation_bits = _mean_bits(pack, validation)
    train_bits = (train_losses * pack.shape.n_heads / math.log(2)).tolist()
    staying = torch.ones(len(pack.positions), dtype=torch.bool)
    for index, position in enumerate(pack.positions):
        result, bits = results[position], validation_bits[index]
        result.curve.append(EpochLoss(epoch, train_bits[index], bits))
        if bits < result.validation_bits:
            result.validation_bits, result.best_epoch = bits, epoch
            result.parameters = pack.member(index)
        if not math.isfinite(bits):
            result.status = "diverged"
        elif on_epoch is not None and on_epoch(position, epoch, bits):
            result.status = "pruned"
        elif config.patience is not None and epoch - _lowest_epoch(result) >= config.patience:
            result.status = "stopped"
        staying[index] = result.status == "finished"
    if not staying.all():
        pack.keep(staying)


def _lowest_epoch(result: Fitted) -> int:
    """Epoch of the lowest loss so far, the untrained state apart: a probe may begin above it and end far below."""
    return min(result.curve, key=lambda point: point.validation_bits).epoch


@torch.no_grad()
def _mean_bits(pack: Pack, examples: Examples) -> list[float]:
    """Mean loss of each member in bits a sample."""
    total = torch.zeros(len(pack.positions), dtype=torch.float64, device=examples.codes.device)
    batches = torch.arange(len(examples.codes)).split(evaluation_rows(examples.z.shape))
    for z, codes, offset in examples.read(batches):
        total += _bits(pack.logits(z, codes), codes, offset).sum(1)
    return (total / len(examples.codes)).tolist()


def _bits(logits: Tensor, codes: Tensor, offset: Tensor | None) -> Float64[Tensor, "pack batch"]:
    """Loss in bits of every sample: the sum over heads, in float64."""
    return _head_bits(logits, codes, offset).sum(2)


def _head_bits(logits: Tensor, codes: Tensor, offset: Tensor | None) -> Float64[Tensor, "pack batch heads"]:
    exact = head_losses(logits.double(), codes.double(), None if offset is None else offset.double())
    return exact / math.log(2)
