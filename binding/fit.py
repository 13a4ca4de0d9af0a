"""Trains probes on one set of activations and keeps each at its best validation epoch (paper, section 3.2)."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from binding._pack import Pack, Products, head_losses, packs_of
from binding._pack_memory import evaluation_rows, in_budget, pack_budget_bytes, training_bytes
from binding.examples import Examples
from binding.probes import HeadShape, Parameters, Probe
from frozen.problems import Problem, at_least, refuse

logger = logging.getLogger(__name__)

OnEpoch = Callable[[int, int, float], bool]
"""Called with a probe's position, epoch and validation loss (bits); returns whether to prune it."""


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How a probe is trained: Adam with L2, learning rate cut in steps, best validation epoch kept."""

    epochs: int = 40
    """Passes over the training samples."""
    batch_size: int = 512
    """Samples a batch."""
    accumulate: int = 1
    """Batches a step of the optimiser."""
    patience: int | None = None
    """Stop a probe after this many epochs without a lower validation loss than in its epochs before; null trains all
    epochs."""
    schedule_step: int = 8
    """Epochs between cuts of the learning rate."""
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
    Parameters, the optimiser and every validation and test loss stay float32 or better."""

    def __post_init__(self) -> None:
        refuse("fit", self.problems())

    def problems(self) -> Iterator[Problem]:
        """Every broken rule."""
        for name in ("epochs", "batch_size", "accumulate", "schedule_step"):
            yield from at_least(name, getattr(self, name), 1)
        if self.patience is not None:
            yield from at_least("patience", self.patience, 1)
        if not 0 < self.schedule_factor <= 1:
            yield Problem("schedule_factor", f"must lie in (0, 1], got {self.schedule_factor}")
        if self.learning_rate is not None and not self.learning_rate > 0:
            yield Problem("learning_rate", f"must be > 0, got {self.learning_rate}")
        if self.weight_decay is not None:
            yield from at_least("weight_decay", self.weight_decay, 0)

    def probe_defaults(self) -> dict[str, float]:
        """Hyper-parameters of probes that give none."""
        given = {"learning_rate": self.learning_rate, "weight_decay": self.weight_decay}
        return {name: value for name, value in given.items() if value is not None}

    @classmethod
    def paper(cls) -> FitConfig:
        """The settings of the paper's script: fixed learning rate and L2, two batches a step, raw activations."""
        return cls(accumulate=2, standardize=False, learning_rate=1e-3, weight_decay=1e-4)


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

    def logits(
        self, z: Float[Tensor, "batch *tokens dim"], codes: Float[Tensor, "batch codes"]
    ) -> Float[Tensor, "1 batch heads"]:
        """Logits of some samples; codes are true bits minus 0.5, then the given ones."""
        if self.parameters is None:
            return z.new_zeros(1, len(z), self.shape.n_heads)
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
    sizes = [training_bytes(probe, shape, config.batch_size, n_tokens) for probe in probes]
    groups = deque(in_budget(sizes, pack_budget_bytes(device)))
    while groups:
        positions = groups.popleft()
        try:
            packs = packs_of([(i, probes[i]) for i in positions], shape, seed, device, config.products)
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
    for epoch in range(1, config.epochs + 1):
        factor = config.schedule_factor ** ((epoch - 1) // config.schedule_step)
        losses = _train_epoch(packs, train, config, torch.randperm(len(train.codes), generator=order), factor)
        for pack, pack_losses in zip(packs, losses, strict=True):
            _finish_epoch(pack, epoch, pack_losses, results, validation, config, on_epoch)
        packs = [pack for pack in packs if pack.positions]
        if not packs:
            return


def _train_epoch(
    packs: list[Pack], train: Examples, config: FitConfig, order: Int[Tensor, " samples"], factor: float
) -> list[Float[Tensor, " pack"]]:
    """One pass over the samples; returns each member's mean loss in nats a head."""
    totals = [torch.zeros(len(pack.positions), device=train.codes.device) for pack in packs]
    batches = order.split(config.batch_size)
    for number, (indices, (z, codes, offset)) in enumerate(zip(batches, train.read(batches), strict=True), start=1):
        for pack, total in zip(packs, totals, strict=True):
            losses = pack.backward(z, codes, offset, share=1 / config.accumulate)
            total += losses * (len(indices) / len(order))
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
        total += _bits(pack.probe.logits(pack.parameters, pack.shape, z, codes), codes, offset).sum(1)
    return (total / len(examples.codes)).tolist()


def _bits(logits: Tensor, codes: Tensor, offset: Tensor | None) -> Float64[Tensor, "pack batch"]:
    """Loss in bits of every sample: the sum over heads, in float64."""
    return _head_bits(logits, codes, offset).sum(2)


def _head_bits(logits: Tensor, codes: Tensor, offset: Tensor | None) -> Float64[Tensor, "pack batch heads"]:
    exact = head_losses(logits.double(), codes.double(), None if offset is None else offset.double())
    return exact / math.log(2)
