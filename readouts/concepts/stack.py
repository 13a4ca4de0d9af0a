"""Several dictionaries of one kind and size as one: they share a leading axis, so that one product serves all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from readouts.concepts.dictionary import Dictionary, Kind, keep_largest
from readouts.concepts.settings import DictionaryConfig, TrainingConfig

_BANDWIDTH = 0.05
"""Width of jumprelu's straight-through kernel, in units of a pre-activation (Rajamanoharan et al. 2024)."""
_PREFIXES = (0.25, 0.5, 1.0)
"""Shares of the atoms that matryoshka's nested reconstructions use."""
_AUXILIARY = 1 / 32
"""Weight of auxk (Gao et al. 2024)."""
_THRESHOLD_DECAY = 0.99
_ROWS_AT_ONCE = 4096


class BatchResult(NamedTuple):
    """What a batch gives.

    Attributes:
        loss: of each dictionary [n].
        codes: [n rows latents].
        errors: x − x̂ of the scaled rows [n rows dim].
        fires: rows in which each atom is active [n latents].
    """

    loss: Float[Tensor, " n"]
    codes: Float[Tensor, "n rows latents"]
    errors: Float[Tensor, "n rows dim"]
    fires: Int[Tensor, "n latents"]


class _Jump(torch.autograd.Function):
    """z·H(z − θ), with a rectangle as the derivative of the step with respect to θ."""

    @staticmethod
    def forward(ctx: object, z: Tensor, threshold: Tensor) -> Tensor:
        ctx.save_for_backward(z, threshold)  # pyright: ignore[reportAttributeAccessIssue]
        return z * (z > threshold)

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> tuple[Tensor, Tensor]:  # pyright: ignore
        z, threshold = ctx.saved_tensors  # pyright: ignore[reportAttributeAccessIssue]
        near = ((z - threshold).abs() < _BANDWIDTH / 2).to(z.dtype)
        return gradient * (z > threshold), -threshold / _BANDWIDTH * near * gradient


class _Step(torch.autograd.Function):
    """H(z − θ), with the same rectangle."""

    @staticmethod
    def forward(ctx: object, z: Tensor, threshold: Tensor) -> Tensor:
        ctx.save_for_backward(z, threshold)  # pyright: ignore[reportAttributeAccessIssue]
        return (z > threshold).to(z.dtype)

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> tuple[Tensor, Tensor]:  # pyright: ignore
        z, threshold = ctx.saved_tensors  # pyright: ignore[reportAttributeAccessIssue]
        near = ((z - threshold).abs() < _BANDWIDTH / 2).to(z.dtype)
        return torch.zeros_like(z), -near / _BANDWIDTH * gradient


class Stack:
    """Parameters of n dictionaries of one kind, M atoms each, and what a batch costs them.

    Args:
        configs: the dictionaries, equal in kind and number of atoms.
        seeds: of their initial weights.
        width: D.
        training: how they begin.
        device: where they live.
    """

    def __init__(
        self,
        configs: Sequence[DictionaryConfig],
        seeds: Sequence[int],
        width: int,
        training: TrainingConfig,
        device: torch.device,
    ) -> None:
        self.configs, self.training, self.device = tuple(configs), training, device
        self.kind: Kind = configs[0].kind
        n, m = len(configs), configs[0].n_atoms(width)
        drawn = [_initial(m, width, seed, training.initialisation) for seed in seeds]
        self.decoder = _parameter(torch.stack([one[0] for one in drawn]), device)
        self.encoder = _parameter(torch.stack([one[1] for one in drawn]), device)
        self.encoder_bias = _parameter(torch.stack([one[2] for one in drawn]), device)
        self.bias = _parameter(torch.zeros(n, width), device)
        self.log_threshold = _parameter(torch.full((n, m), math.log(0.1)), device)
        self.gain = _parameter(torch.zeros(n, m), device)
        self.magnitude_bias = _parameter(torch.zeros(n, m), device)
        self.threshold = torch.zeros(n, device=device)
        self.k = [one.k for one in configs]
        self.weight = torch.tensor([one.weight for one in configs], device=device)
        self.has_auxk = configs[0].revival == "auxk"
        self.silent_rows = torch.zeros(n, m, dtype=torch.long, device=device)

    @property
    def parameters(self) -> list[Tensor]:
        """What the optimiser changes."""
        own = {"jumprelu": [self.log_threshold], "gated": [self.gain, self.magnitude_bias]}
        return [self.encoder, self.encoder_bias, self.decoder, self.bias, *own.get(self.kind, [])]

    def run(self, x: Float[Tensor, "rows dim"], penalty_factor: float) -> BatchResult:
        """Loss, codes and errors of a batch of scaled rows."""
        z = x[None] - self.bias[:, None]
        linear = z @ self.encoder.transpose(1, 2)
        pre = linear + self.encoder_bias[:, None]
        codes, sparsity = self._codes(linear, pre)
        loss, errors = self._reconstruction(x, codes)
        loss = loss + penalty_factor * self.weight * sparsity
        if self.kind == "gated":
            gate = torch.relu(pre)
            frozen = gate @ self.decoder.detach() + self.bias.detach()[:, None]
            loss = loss + (x[None] - frozen).square().mean((1, 2))
        if self.has_auxk:
            loss = loss + _AUXILIARY * self._auxiliary(pre, errors.detach())
        with torch.no_grad():
            fires = (codes > 0).sum(1)
            self.silent_rows = torch.where(fires > 0, 0, self.silent_rows + len(x))
        return BatchResult(loss, codes.detach(), errors.detach(), fires)

    @torch.no_grad()
    def row_losses(self, x: Float[Tensor, "rows dim"]) -> Float[Tensor, "n rows"]:
        """Squared error and λ times the L1 norm of every row, by which restarts choose rows (paper's code)."""
        found: list[Tensor] = []
        thresholds = self.threshold
        for rows in x.split(_ROWS_AT_ONCE):
            linear = (rows[None] - self.bias[:, None]) @ self.encoder.transpose(1, 2)
            codes, _ = self._codes(linear, linear + self.encoder_bias[:, None])
            loss = self._reconstruction(rows, codes)[1].square().mean(2)
            found.append(loss + self.weight[:, None] * codes.sum(2) if self.kind == "relu_l1" else loss)
        self.threshold = thresholds  # those of inference follow the batches of training only
        return torch.cat(found, dim=1)

    def _codes(self, linear: Tensor, pre: Tensor) -> tuple[Tensor, Tensor]:
        """Codes, and what λ weighs: the L1 or L0 norm of a row's code, its mean over rows [n]."""
        nothing = torch.zeros(len(pre), device=pre.device)
        if self.kind == "topk":
            return self._largest(pre), nothing
        if self.kind in ("batchtopk", "matryoshka"):
            return self._largest_of_batch(pre), nothing
        positive = torch.relu(pre)
        if self.kind == "jumprelu":
            threshold = self.log_threshold.exp()[:, None]
            return _Jump.apply(positive, threshold), _Step.apply(pre, threshold).sum(2).mean(1)  # pyright: ignore
        if self.kind == "gated":
            magnitude = torch.relu(linear * self.gain.exp()[:, None] + self.magnitude_bias[:, None])
            return magnitude * (pre > 0), positive.sum(2).mean(1)
        return positive, positive.sum(2).mean(1)

    def _largest(self, pre: Tensor) -> Tensor:
        """The k largest of each row, where they are positive."""
        most = min(max(self.k), pre.shape[-1])
        found = pre.topk(most, dim=-1, sorted=len(set(self.k)) > 1)
        kept = torch.relu(found.values)
        if len(set(self.k)) > 1:
            k = torch.tensor(self.k, device=pre.device)
            kept = kept * (torch.arange(most, device=pre.device) < k[:, None, None])
        return torch.zeros_like(pre).scatter_(-1, found.indices, kept)

    def _largest_of_batch(self, pre: Tensor) -> Tensor:
        """The k·B largest of a batch; the least of them is followed as the threshold of inference."""
        with torch.no_grad():
            flat, rows = pre.flatten(1), pre.shape[1]
            sizes = [min(k * rows, flat.shape[1]) for k in self.k]
            least = [one.topk(size, sorted=False).values.min() for one, size in zip(flat, sizes, strict=True)]
            cuts = torch.relu(torch.stack(least))
            old = torch.where(self.threshold == 0, cuts, self.threshold)
            self.threshold = _THRESHOLD_DECAY * old + (1 - _THRESHOLD_DECAY) * cuts
            kept = (pre >= cuts[:, None, None]) & (pre > 0)
        return pre * kept

    def _reconstruction(self, x: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Mean squared error, of nested prefixes where the kind has them, and the errors of all atoms together."""
        if self.kind != "matryoshka":
            errors = x[None] - codes @ self.decoder - self.bias[:, None]
            return errors.square().mean((1, 2)), errors
        ends = [max(1, round(share * codes.shape[2])) for share in _PREFIXES]
        partial = self.bias[:, None].expand(-1, len(x), -1)
        loss, errors = torch.zeros(len(codes), device=x.device), x[None] - partial
        for start, end in zip([0, *ends], ends, strict=False):
            partial = partial + codes[:, :, start:end] @ self.decoder[:, start:end]
            errors = x[None] - partial
            loss = loss + errors.square().mean((1, 2)) / len(ends)
        return loss, errors

    def _auxiliary(self, pre: Tensor, errors: Tensor) -> Tensor:
        """How badly the silent atoms model the residual, normalised by it; 0 where none is silent."""
        silent = self.silent_rows >= self.training.dead_rows
        if not bool(silent.any()):
            return torch.zeros(len(pre), device=pre.device)
        k = min(pre.shape[-1], max(1, errors.shape[-1] // 2))
        codes = keep_largest(torch.relu(pre) * silent[:, None], k)
        found = (errors - codes @ self.decoder).square().mean((1, 2)) / errors.square().mean((1, 2)).clamp_min(1e-12)
        return torch.where(silent.any(1), found, 0.0)

    @torch.no_grad()
    def project(self) -> None:
        """Remove from the decoder's gradient what would change the length of an atom."""
        gradient = self.decoder.grad
        assert gradient is not None
        unit = self.decoder  # its rows have length 1 after every step
        gradient -= unit * (unit * gradient).sum(2, keepdim=True)

    @torch.no_grad()
    def clip(self, most: float) -> None:
        """Bound the norm of each dictionary's gradient by itself."""
        gradients = [one.grad for one in self.parameters if one.grad is not None]
        norms = torch.stack([one.flatten(1).norm(dim=1) for one in gradients]).norm(dim=0)
        factor = (most / norms.clamp_min(1e-12)).clamp_max(1.0)
        for one in gradients:
            one *= factor.view(-1, *[1] * (one.ndim - 1))

    @torch.no_grad()
    def renormalise(self) -> None:
        """Every atom has length 1 again."""
        self.decoder.copy_(normalize(self.decoder, dim=2))

    def dictionary(self, i: int, centre: Tensor, scale: float) -> Dictionary:
        """The i-th one, detached, on the CPU."""
        m = self.encoder.shape[1]
        threshold = torch.zeros(m)
        if self.kind == "jumprelu":
            threshold = self.log_threshold[i].exp()
        elif self.kind in ("batchtopk", "matryoshka"):
            threshold = self.threshold[i].expand(m)
        of_gate = self.kind == "gated"
        tensors = {
            "encoder": self.encoder[i],
            "encoder_bias": self.encoder_bias[i],
            "decoder": self.decoder[i],
            "bias": self.bias[i],
            "centre": centre,
            "threshold": threshold,
            "gain": self.gain[i] if of_gate else torch.zeros(m),
            "magnitude_bias": self.magnitude_bias[i] if of_gate else torch.zeros(m),
        }
        plain = {name: one.detach().float().cpu().clone() for name, one in tensors.items()}
        return Dictionary(self.kind, self.configs[i].k if self.configs[i].is_topk else 0, scale, **plain)


def _parameter(values: Tensor, device: torch.device) -> Tensor:
    return values.to(device).requires_grad_()


def _initial(m: int, width: int, seed: int, how: str) -> tuple[Tensor, Tensor, Tensor]:
    """Decoder, encoder and encoder bias."""
    generator = torch.Generator().manual_seed(seed)
    decoder = normalize(torch.randn(m, width, generator=generator), dim=1)
    if how == "tied":
        return decoder, decoder.clone(), torch.zeros(m)
    bound = math.sqrt(6 / (m * width))
    encoder = (2 * torch.rand(m, width, generator=generator) - 1) * bound
    return decoder, encoder, (2 * torch.rand(m, generator=generator) - 1) / math.sqrt(m)


def silent_atoms(fires: Int[Tensor, "n latents"]) -> list[Tensor]:
    """Indices of the atoms of each dictionary that never fired."""
    return [torch.nonzero(one == 0).flatten() for one in fires]
