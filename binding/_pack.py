"""Probes of one structure trained side by side: stacked parameters, one optimiser, members that may leave."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from binding.probes import Dropout, HeadShape, Parameters, Probe

_BETAS = (0.9, 0.999)
_EPSILON = 1e-8


class Pack:
    """Members that share a structure; the trajectory of each is the one it would have alone.

    Args:
        members: position of each member among the caller's probes, and the probe.
        shape: shape of the heads.
        seed: seed of every member's initial parameters and dropout.
        device: where to train.
    """

    def __init__(
        self, members: Sequence[tuple[int, Probe]], shape: HeadShape, seed: int, device: torch.device
    ) -> None:
        self.positions = [position for position, _ in members]
        self.probe = members[0][1]
        self.shape = shape
        drawn = [probe.initial(shape, torch.Generator().manual_seed(seed)) for _, probe in members]
        self.parameters = {
            name: torch.stack([member[name] for member in drawn]).to(device).requires_grad_() for name in drawn[0]
        }
        self._generators = [torch.Generator(device).manual_seed(seed + 1) for _ in members]
        self._rates = torch.tensor([probe.learning_rate for _, probe in members], device=device)
        self._decays = torch.tensor([probe.weight_decay for _, probe in members], device=device)
        self._first = {name: torch.zeros_like(value) for name, value in self.parameters.items()}
        self._second = {name: torch.zeros_like(value) for name, value in self.parameters.items()}
        self._gradients = {name: torch.zeros_like(value) for name, value in self.parameters.items()}
        self._steps = 0

    def backward(
        self,
        z: Float[Tensor, "batch *tokens dim"],
        codes: Float[Tensor, "batch codes"],
        offset: Float[Tensor, "batch heads"] | None,
        share: float,
    ) -> Float[Tensor, " pack"]:
        """Add `share` times the gradient of each member's mean loss; returns the losses in nats a head."""
        dropout = Dropout(tuple(self._generators))
        logits = self.probe.logits(self.parameters, self.shape, z, codes, dropout)
        losses = head_losses(logits, codes, offset).mean(dim=(1, 2))
        gradients = torch.autograd.grad(losses.sum() * share, list(self.parameters.values()), allow_unused=True)
        for total, gradient in zip(self._gradients.values(), gradients, strict=True):
            if gradient is not None:
                total.add_(gradient)
        return losses.detach()

    @torch.no_grad()
    def step(self, factor: float) -> None:
        """One step of Adam with L2, with `factor` times each member's learning rate; clears the gradients."""
        self._steps += 1
        first_bias, second_bias = (1 - beta**self._steps for beta in _BETAS)
        for name, value in self.parameters.items():
            ones = (1,) * (value.ndim - 1)
            gradient = self._gradients[name].addcmul_(value, self._decays.view(-1, *ones))
            first = self._first[name].lerp_(gradient, 1 - _BETAS[0])
            second = self._second[name].mul_(_BETAS[1]).addcmul_(gradient, gradient, value=1 - _BETAS[1])
            rates = (self._rates * (factor / first_bias)).view(-1, *ones)
            value.sub_(first.div(second.div(second_bias).sqrt_().add_(_EPSILON)).mul_(rates))
            gradient.zero_()

    def member(self, index: int) -> Parameters:
        """A copy of one member's parameters, without the pack axis."""
        return {name: value[index].detach().clone() for name, value in self.parameters.items()}

    def keep(self, staying: Bool[Tensor, " pack"]) -> None:
        """Let the other members leave."""
        indices = staying.nonzero().flatten()
        self.positions = [self.positions[i] for i in indices.tolist()]
        self._generators = [self._generators[i] for i in indices.tolist()]
        self._rates, self._decays = self._rates[indices], self._decays[indices]
        self.parameters = {name: value.detach()[indices].requires_grad_() for name, value in self.parameters.items()}
        for state in (self._first, self._second, self._gradients):
            state.update({name: value[indices] for name, value in state.items()})


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
