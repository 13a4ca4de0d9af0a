"""Sums of products whose factors heads share in part, a few samples at a time, with its gradient written out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

_CHUNK_BYTES = 2**20


def sum_of_shared_products(
    codes: Float[Tensor, "batch visible"],
    code_weight: Float[Tensor, "pack visible columns"],
    per_value: Float[Tensor, "pack batch values"],
    sizes: Sequence[int],
) -> Float[Tensor, "pack batch heads"]:
    """Σ_r Π_g of the factors: codes times weights of the head's own, plus what its value of group g shares.

    The columns are [groups, rank, *sizes], the values [rank, size] of one group after the other. While the factors
    of a few samples lie in the cache they are made, multiplied and summed, in the gradient likewise.
    """
    return _SharedProducts.apply(codes, code_weight, per_value, tuple(sizes))  # pyright: ignore[reportReturnType]


class _SharedProducts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, codes: Tensor, code_weight: Tensor, per_value: Tensor, sizes: tuple[int, ...]) -> Tensor:
        pack, batch, values = per_value.shape
        factors = codes.new_empty(pack, batch, len(sizes), values // sum(sizes), *sizes)
        logits = codes.new_empty(pack, batch, math.prod(sizes))
        for members, rows in _parts(factors):
            part = factors[members, rows]
            for group, shared in enumerate(_by_group(per_value[members, rows], sizes)):
                part[:, :, group] = shared
            part.flatten(2).baddbmm_(codes[rows].expand(len(part), -1, -1), code_weight[members])
            first, *others = part.unbind(2)
            logits[members, rows] = math.prod(others, start=first).sum(2).flatten(2)
        ctx.save_for_backward(codes, code_weight, factors)
        return logits

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None]:
        codes, code_weight, factors = ctx.saved_tensors
        pack, batch, _, rank, *sizes = factors.shape
        of_codes = torch.zeros_like(codes) if ctx.needs_input_grad[0] else None
        of_weight, of_values = torch.zeros_like(code_weight), codes.new_empty(pack, batch, rank * sum(sizes))
        for members, rows in _parts(factors):
            part, of_logits = factors[members, rows], gradients[0][members, rows].unflatten(2, (1, *sizes))
            of_part = torch.empty_like(part)
            for group, of_shared in enumerate(_by_group(of_values[members, rows], sizes)):
                first, *others = [other for index, other in enumerate(part.unbind(2)) if index != group]
                torch.mul(math.prod(others, start=first), of_logits, out=of_part[:, :, group])
                of_shared.copy_(of_part[:, :, group].sum_to_size(of_shared.shape))
            flat = of_part.flatten(2)
            of_weight[members].baddbmm_(codes[rows].T.expand(len(flat), -1, -1), flat)
            if of_codes is not None:
                of_codes[rows] += torch.bmm(flat, code_weight[members].transpose(1, 2)).sum(0)
        return of_codes, of_weight, of_values, None


def _by_group(
    per_value: Float[Tensor, "pack batch values"], sizes: Sequence[int]
) -> list[Float[Tensor, "pack batch rank ..."]]:
    """The values of each group, with the axes of all groups: long in its own only."""
    rank = per_value.shape[2] // sum(sizes)
    parts = per_value.split([rank * size for size in sizes], dim=2)
    axes = [[size if g == own else 1 for g, size in enumerate(sizes)] for own in range(len(sizes))]
    return [part.unflatten(2, (rank, *long)) for part, long in zip(parts, axes, strict=True)]


def _parts(factors: Tensor) -> Iterator[tuple[slice, slice]]:
    """Members and samples whose factors fit in a core's cache; on a GPU all at once."""
    pack, batch = factors.shape[:2]
    bytes_each = math.prod(factors.shape[2:]) * factors.element_size()
    samples = batch if factors.is_cuda else max(_CHUNK_BYTES // bytes_each, 1)
    members = pack if factors.is_cuda else max(_CHUNK_BYTES // (bytes_each * batch), 1)
    for member in range(0, pack, members):
        for start in range(0, batch, samples):
            yield slice(member, member + members), slice(start, start + samples)
