"""Sums of products whose factors heads share in part, a few products at a time, with its gradient written out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

_CHUNK_BYTES = 2**22


def sum_of_shared_products(
    codes: Float[Tensor, "batch visible"],
    code_weight: Float[Tensor, "pack visible columns"],
    per_value: Float[Tensor, "pack batch values"],
    sizes: Sequence[int],
) -> Float[Tensor, "pack batch heads"]:
    """Σ_r Π_g of the factors: codes times weights of the head's own, plus what its value of group g shares.

    The columns are [groups, rank, *sizes], the values [rank, size] of one group after the other. While the factors
    of a few products lie in the cache they are made, multiplied and summed, in the gradient likewise. Their samples
    are the last axis: what heads share is spread, and its gradient summed, along whole rows.
    """
    return _SharedProducts.apply(codes, code_weight, per_value, tuple(sizes))  # pyright: ignore[reportReturnType]


class _SharedProducts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, codes: Tensor, code_weight: Tensor, per_value: Tensor, sizes: tuple[int, ...]) -> Tensor:
        pack, batch, values = per_value.shape
        samples = codes.T.contiguous()
        factors = [codes.new_empty(pack, values // sum(sizes), *sizes, batch) for _ in sizes]
        logits = codes.new_zeros(pack, 1, *sizes, batch)
        shared = _by_value(per_value.transpose(1, 2).contiguous(), sizes)
        groups = list(zip(factors, shared, _by_head(code_weight, sizes), strict=True))
        for members, ranks in _parts(factors):
            made = []
            for factor, per_group, weight in groups:
                part = factor[members, ranks].copy_(per_group[members, ranks])
                own = weight[members, :, ranks].flatten(2).transpose(1, 2)
                part.flatten(1, -2).baddbmm_(own, samples.expand(len(own), -1, -1))
                made.append(part)
            logits[members].add_(_product(made).sum(1, keepdim=True))
        ctx.save_for_backward(samples, code_weight, *factors)
        return logits.flatten(1, -2).transpose(1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None]:
        samples, code_weight, *factors = ctx.saved_tensors
        pack, rank, *sizes, batch = factors[0].shape
        of_logits = gradients[0].transpose(1, 2).contiguous().unflatten(1, (1, *sizes))
        of_samples = torch.zeros_like(samples) if ctx.needs_input_grad[0] else None
        of_weight, of_values = torch.empty_like(code_weight), samples.new_empty(pack, rank * sum(sizes), batch)
        weights = (_by_head(weight, sizes) for weight in (code_weight, of_weight))
        groups = list(zip(_by_value(of_values, sizes), *weights, strict=True))
        for members, ranks in _parts(factors):
            parts = [factor[members, ranks] for factor in factors]
            for group, (of_shared, weight, of_own) in enumerate(groups):
                of_part = _product(parts[:group] + parts[group + 1 :], of_logits[members])
                axes = [2 + other for other in range(len(sizes)) if other != group]
                torch.sum(of_part, axes, keepdim=True, out=of_shared[members, ranks])
                flat = of_part.flatten(1, -2)
                into = of_own[members, :, ranks].flatten(2)
                torch.bmm(samples.expand(len(flat), -1, -1), flat.transpose(1, 2), out=into)
                if of_samples is not None:
                    of_samples += torch.bmm(weight[members, :, ranks].flatten(2), flat).sum(0)
        return None if of_samples is None else of_samples.T, of_weight, of_values.transpose(1, 2), None


def _by_value(per_value: Float[Tensor, "pack values batch"], sizes: Sequence[int]) -> list[Tensor]:
    """The values of each group, [pack rank *sizes batch]: of every group's axes only its own is long."""
    rank = per_value.shape[1] // sum(sizes)
    parts = per_value.split([rank * size for size in sizes], dim=1)
    axes = [[size if g == own else 1 for g, size in enumerate(sizes)] for own in range(len(sizes))]
    return [part.unflatten(1, (rank, *long)) for part, long in zip(parts, axes, strict=True)]


def _by_head(
    weight: Float[Tensor, "pack visible columns"], sizes: Sequence[int]
) -> tuple[Float[Tensor, "pack visible rank heads"], ...]:
    """The columns of each group."""
    return weight.unflatten(2, (len(sizes), -1, math.prod(sizes))).unbind(2)


def _product(factors: Sequence[Tensor], last: Tensor | None = None) -> Tensor:
    """All multiplied, in one new tensor."""
    first, second, *others = [*factors] if last is None else [*factors, last]
    out = first * second
    for other in others:
        out *= other
    return out


def _parts(factors: Sequence[Tensor]) -> Iterator[tuple[slice, slice]]:
    """Members and ranks whose factors fit in a core's cache; on a GPU all at once."""
    pack, rank, *rest = factors[0].shape
    bytes_each = len(factors) * math.prod(rest) * factors[0].element_size()
    ranks = rank if factors[0].is_cuda else max(_CHUNK_BYTES // bytes_each, 1)
    members = pack if factors[0].is_cuda else max(_CHUNK_BYTES // (bytes_each * rank), 1)
    for member in range(0, pack, members):
        for start in range(0, rank, ranks):
            yield slice(member, member + members), slice(start, start + ranks)
