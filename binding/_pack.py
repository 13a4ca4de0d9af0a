"""Probes of one structure trained side by side: stacked parameters, one optimiser, members that may leave."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim.adam import adam

from binding.probes import Dropout, HeadShape, Parameters, Probe

Products = Literal["float32", "tf32", "bfloat16"]
"""Precision of the matrix products of a training step."""

_BETAS = (0.9, 0.999)
_EPSILON = 1e-8
_CACHE_BYTES = 2**22


class Member(NamedTuple):
    """A probe of a pack.

    Attributes:
        position: among the caller's probes.
        probe: the probe.
        source: which cell's activations it reads, where there are those of several.
    """

    position: int
    probe: Probe
    source: int = 0


class Pack:
    """Members that share a structure; the trajectory of each is the one it would have alone.

    Args:
        members: the probes.
        shape: shape of the heads.
        seed: seed of every member's initial parameters and dropout.
        device: where to train.
        products: precision of the products in `backward`; parameters, losses and steps are float32.
    """

    def __init__(
        self,
        members: Sequence[Member],
        shape: HeadShape,
        seed: int,
        device: torch.device,
        products: Products = "float32",
    ) -> None:
        self.positions = [one.position for one in members]
        self.probe = members[0].probe
        self._sources = torch.tensor([one.source for one in members], device=device)
        self.shape = shape
        self._products: Products = products
        drawn = [one.probe.initial(shape, torch.Generator().manual_seed(seed)) for one in members]
        self.parameters = {
            name: torch.stack([member[name] for member in drawn]).to(device).requires_grad_() for name in drawn[0]
        }
        self._generators = [torch.Generator(device).manual_seed(seed + 1) for _ in members]
        self._pace = [(one.probe.learning_rate, one.probe.weight_decay) for one in members]
        self._first = {name: torch.zeros_like(value) for name, value in self.parameters.items()}
        self._second = {name: torch.zeros_like(value) for name, value in self.parameters.items()}
        self._gradients: dict[str, Tensor] = {}
        self._steps = {name: torch.zeros((), device=device) for name in self.parameters}

    def backward(
        self,
        z: Float[Tensor, "..."],
        codes: Float[Tensor, "batch codes"],
        offset: Float[Tensor, "batch heads"] | None,
        share: float,
    ) -> Float[Tensor, " pack"]:
        """Add `share` times the gradient of each member's mean loss; returns the losses in nats a head.

        z is [batch dim], [batch token dim], or [cell batch dim] of the cells that the members' `source` counts.
        """
        with _tf32(self._products == "tf32" and z.is_cuda):
            losses = head_losses(self._training_logits(z, codes), codes, offset).mean(dim=(1, 2))
            gradients = torch.autograd.grad(losses.sum() * share, list(self.parameters.values()), allow_unused=True)
        for name, gradient in zip(self.parameters, gradients, strict=True):
            if gradient is not None:
                self._add(name, gradient)
        return losses.detach()

    def logits(
        self, z: Float[Tensor, "..."], codes: Float[Tensor, "batch codes"]
    ) -> Float[Tensor, "pack batch heads"]:
        """Logits in evaluation; z as in `backward`."""
        return self.probe.logits(self.parameters, self.shape, self._own(z), codes)

    def _own(self, z: Tensor) -> Tensor:
        """The activations of each member [pack batch dim], where those of several cells come together."""
        return z if self.probe.reads_tokens or z.ndim == 2 else z.index_select(0, self._sources)

    def _training_logits(
        self, z: Float[Tensor, "..."], codes: Float[Tensor, "batch codes"]
    ) -> Float[Tensor, "pack batch heads"]:
        """Logits in training; in bfloat16 everything up to them is computed in it."""
        parameters, dropout = self.parameters, Dropout(tuple(self._generators))
        if self._products == "bfloat16":
            parameters = {name: value.bfloat16() for name, value in parameters.items()}
            z, codes = z.bfloat16(), codes.bfloat16()
        return self.probe.logits(parameters, self.shape, self._own(z), codes, dropout).float()

    def _add(self, name: str, gradient: Tensor) -> None:
        """The first gradient since the last step is kept as it comes, which saves two passes over memory."""
        if name in self._gradients:
            self._gradients[name].add_(gradient)
        else:
            self._gradients[name] = gradient.contiguous()

    @torch.no_grad()
    def step(self, factor: float) -> None:
        """One step of Adam with L2, with `factor` times each member's learning rate; clears the gradients.

        Neighbours of one learning rate and penalty take it together: an element's step depends on nothing else.
        """
        used = [name for name in self.parameters if name in self._gradients]
        for members, (rate, decay) in self._paces():
            adam(
                [self.parameters[name].detach()[members] for name in used],
                [self._gradients[name][members] for name in used],
                [self._first[name][members] for name in used],
                [self._second[name][members] for name in used],
                max_exp_avg_sqs=[],
                state_steps=[self._steps[name].clone() for name in used],  # Adam counts on in place
                fused=True,
                amsgrad=False,
                beta1=_BETAS[0],
                beta2=_BETAS[1],
                lr=rate * factor,
                weight_decay=decay,
                eps=_EPSILON,
                maximize=False,
            )
        for name in used:
            self._steps[name] += 1
        self._gradients.clear()

    def _paces(self) -> Iterator[tuple[slice, tuple[float, float]]]:
        """Neighbouring members of one learning rate and penalty."""
        start = 0
        for pace, members in groupby(self._pace):
            stop = start + len(list(members))
            yield slice(start, stop), pace
            start = stop

    def member(self, index: int) -> Parameters:
        """A copy of one member's parameters, without the pack axis."""
        return {name: value[index].detach().clone() for name, value in self.parameters.items()}

    def keep(self, staying: Bool[Tensor, " pack"]) -> None:
        """Let the other members leave."""
        indices = staying.nonzero().flatten()
        self.positions = [self.positions[i] for i in indices.tolist()]
        self._generators = [self._generators[i] for i in indices.tolist()]
        self._pace = [self._pace[i] for i in indices.tolist()]
        self._sources = self._sources[indices.to(self._sources.device)]
        self.parameters = {name: value.detach()[indices].requires_grad_() for name, value in self.parameters.items()}
        for state in (self._first, self._second):
            state.update({name: value[indices] for name, value in state.items()})


def packs_of(
    members: Sequence[Member],
    shape: HeadShape,
    seed: int,
    device: torch.device,
    products: Products,
    batch_size: int = 1,
) -> list[Pack]:
    """One pack for each structure; on a CPU one for each probe of a family whose members share no product.

    Members that read several cells' activations share none either, but what a step costs beside its products: on a
    CPU so many train together as keep their numbers in the cache.
    """
    groups: dict[object, list[Member]] = {}
    several = len({one.source for one in members}) > 1 and device.type == "cpu"
    for number, one in enumerate(members):
        alone: object = one.position if one.probe.is_apart and device.type == "cpu" else None
        if several:
            units = shape.z_dim + one.probe.units(shape, 1)
            alone = number // max(1, _CACHE_BYTES // (4 * batch_size * units))
        groups.setdefault((type(one.probe), one.probe.structure(), alone), []).append(one)
    return [Pack(group, shape, seed, device, products) for group in groups.values()]


@contextmanager
def _tf32(wanted: bool) -> Iterator[None]:
    """Float32 products on a GPU in TF32 while the block runs, and only there."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if wanted else before)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def head_losses(
    logits: Float[Tensor, "pack batch heads"],
    codes: Float[Tensor, "batch codes"],
    offset: Float[Tensor, "batch heads"] | None,
) -> Float[Tensor, "pack batch heads"]:
    """Cross-entropy in nats of every head; `codes` are the true bits minus 0.5, then the given ones."""
    labels = codes[:, : logits.shape[2]] + 0.5
    if offset is not None:
        logits = logits + offset
    return binary_cross_entropy_with_logits(logits, labels.expand_as(logits), reduction="none")
