"""Probes of one structure trained side by side: stacked parameters, one optimiser, members that may leave."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import compress
from typing import Literal

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


class Pack:
    """Members that share a structure; the trajectory of each is the one it would have alone.

    Args:
        members: position of each member among the caller's probes, and the probe.
        shape: shape of the heads.
        seed: seed of every member's initial parameters and dropout.
        device: where to train.
        products: precision of the products in `backward`; parameters, losses and steps are float32.
    """

    def __init__(
        self,
        members: Sequence[tuple[int, Probe]],
        shape: HeadShape,
        seed: int,
        device: torch.device,
        products: Products = "float32",
    ) -> None:
        self.positions = [position for position, _ in members]
        self.probe = members[0][1]
        self.shape = shape
        self._products: Products = products
        drawn = [probe.initial(shape, torch.Generator().manual_seed(seed)) for _, probe in members]
        self.parameters = {
            name: torch.stack([member[name] for member in drawn]).to(device).requires_grad_() for name in drawn[0]
        }
        self._generators = [torch.Generator(device).manual_seed(seed + 1) for _ in members]
        self._rates = [probe.learning_rate for _, probe in members]
        self._decays = [probe.weight_decay for _, probe in members]
        self._first = {name: torch.zeros_like(value) for name, value in self.parameters.items()}
        self._second = {name: torch.zeros_like(value) for name, value in self.parameters.items()}
        self._gradients: dict[str, Tensor] = {}
        self._steps = torch.zeros(len(members), len(drawn[0]), device=device)
        self._states = self._states_of_members()

    def backward(
        self,
        z: Float[Tensor, "batch *tokens dim"],
        codes: Float[Tensor, "batch codes"],
        offset: Float[Tensor, "batch heads"] | None,
        share: float,
    ) -> Float[Tensor, " pack"]:
        """Add `share` times the gradient of each member's mean loss; returns the losses in nats a head."""
        with _tf32(self._products == "tf32" and z.is_cuda):
            losses = head_losses(self._logits(z, codes), codes, offset).mean(dim=(1, 2))
            gradients = torch.autograd.grad(losses.sum() * share, list(self.parameters.values()), allow_unused=True)
        for name, gradient in zip(self.parameters, gradients, strict=True):
            if gradient is not None:
                self._add(name, gradient)
        return losses.detach()

    def _logits(
        self, z: Float[Tensor, "batch *tokens dim"], codes: Float[Tensor, "batch codes"]
    ) -> Float[Tensor, "pack batch heads"]:
        """Logits in training; in bfloat16 everything up to them is computed in it."""
        parameters, dropout = self.parameters, Dropout(tuple(self._generators))
        if self._products == "bfloat16":
            parameters = {name: value.bfloat16() for name, value in parameters.items()}
            z, codes = z.bfloat16(), codes.bfloat16()
        return self.probe.logits(parameters, self.shape, z, codes, dropout).float()

    def _add(self, name: str, gradient: Tensor) -> None:
        """The first gradient since the last step is kept as it comes, which saves two passes over memory."""
        if name in self._gradients:
            self._gradients[name].add_(gradient)
        else:
            self._gradients[name] = gradient.contiguous()

    @torch.no_grad()
    def step(self, factor: float) -> None:
        """One step of Adam with L2, with `factor` times each member's learning rate; clears the gradients."""
        used = [name in self._gradients for name in self.parameters]
        gradients = zip(*(self._gradients[name].unbind() for name in compress(self.parameters, used)), strict=True)
        members = zip(self._states, gradients, self._rates, self._decays, strict=True)
        for states, of_member, rate, decay in members:
            parameters, first, second, steps = (list(compress(state, used)) for state in states)
            adam(
                parameters,
                list(of_member),
                first,
                second,
                max_exp_avg_sqs=[],
                state_steps=steps,
                fused=True,
                amsgrad=False,
                beta1=_BETAS[0],
                beta2=_BETAS[1],
                lr=rate * factor,
                weight_decay=decay,
                eps=_EPSILON,
                maximize=False,
            )
        self._gradients.clear()

    def _states_of_members(self) -> list[tuple[Sequence[Tensor], ...]]:
        """Of each member its parameters, both moments and counts of steps, as views."""
        parameters = {name: value.detach() for name, value in self.parameters.items()}
        kinds = [
            zip(*(value.unbind() for value in kind.values()), strict=True)
            for kind in (parameters, self._first, self._second)
        ]
        return list(zip(*kinds, (count.unbind() for count in self._steps), strict=True))

    def member(self, index: int) -> Parameters:
        """A copy of one member's parameters, without the pack axis."""
        return {name: value[index].detach().clone() for name, value in self.parameters.items()}

    def keep(self, staying: Bool[Tensor, " pack"]) -> None:
        """Let the other members leave."""
        indices = staying.nonzero().flatten()
        self.positions = [self.positions[i] for i in indices.tolist()]
        self._generators = [self._generators[i] for i in indices.tolist()]
        self._rates = [self._rates[i] for i in indices.tolist()]
        self._decays = [self._decays[i] for i in indices.tolist()]
        self._steps = self._steps[indices]
        self.parameters = {name: value.detach()[indices].requires_grad_() for name, value in self.parameters.items()}
        for state in (self._first, self._second):
            state.update({name: value[indices] for name, value in state.items()})
        self._states = self._states_of_members()


def packs_of(
    members: Sequence[tuple[int, Probe]], shape: HeadShape, seed: int, device: torch.device, products: Products
) -> list[Pack]:
    """One pack for each structure; on a CPU one for each probe of a family whose members share no product."""
    groups: dict[object, list[tuple[int, Probe]]] = {}
    for position, probe in members:
        alone = position if probe.is_apart and device.type == "cpu" else None
        groups.setdefault((type(probe), probe.structure(), alone), []).append((position, probe))
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
