"""Attention of many heads over the same tokens, a few samples at a time, with its gradient written out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

_CHUNK_BYTES = 5 * 2**20
_QUERY_BYTES = 2**18


def pool(
    base: Float[Tensor, "pack heads dim"],
    turned: Float[Tensor, "pack codes dim"],
    seen: Float[Tensor, "batch heads codes"],
    tokens: Float[Tensor, "batch token dim"],
) -> Float[Tensor, "batch rows dim"]:
    """Tokens pooled by every head of every member, rows member by member.

    Head k of a sample has the query base_k + Σ_i seen_ki turned_i and the weights softmax(query·token).
    The queries are never held for the whole batch, and the tokens of a few samples serve both products while
    they lie in the cache. Gradients reach `base` and `turned`, and `seen` if asked for; tokens are data.
    """
    return _Pool.apply(base, turned, seen, tokens)  # pyright: ignore[reportReturnType]


def by_head(
    pooled: Float[Tensor, "batch rows dim"], weight: Float[Tensor, "rows dim columns"]
) -> Float[Tensor, "rows batch columns"]:
    """Every head's pooled tokens times its own weights."""
    return _ByHead.apply(pooled.transpose(0, 1), weight)  # pyright: ignore[reportReturnType]


def attention(
    base: Float[Tensor, "pack heads dim"],
    turned: Float[Tensor, "pack codes dim"],
    seen: Float[Tensor, "batch heads codes"],
    tokens: Float[Tensor, "batch token dim"],
) -> Float[Tensor, "batch rows token"]:
    """Weights of the tokens for every head of every member; rows sum to 1."""
    queries = _queries(base, turned, seen)
    return torch.bmm(queries, tokens.transpose(1, 2)).softmax(dim=2)


def _queries(base: Tensor, turned: Tensor, seen: Tensor) -> Float[Tensor, "batch rows dim"]:
    pack, heads, dim = base.shape
    queries = torch.bmm(seen.flatten(0, 1).expand(pack, -1, -1), turned)
    queries = queries.view(pack, len(seen), heads, dim).add_(base[:, None])
    return queries.transpose(0, 1).reshape(len(seen), pack * heads, dim)


class _Pool(torch.autograd.Function):
    """Keeps the weights of the tokens for the gradient, but not the queries: they are not needed there."""

    @staticmethod
    def forward(ctx: Any, base: Tensor, turned: Tensor, seen: Tensor, tokens: Tensor) -> Tensor:
        pack, heads, dim = base.shape
        pooled = tokens.new_empty(len(tokens), pack * heads, dim)
        weights = tokens.new_empty(len(tokens), pack * heads, tokens.shape[1])
        for part, members, rows in _parts(tokens, pack, heads):
            weights[part, rows] = attention(base[members], turned[members], seen[part], tokens[part])
            torch.bmm(weights[part, rows], tokens[part], out=pooled[part, rows])
        ctx.save_for_backward(turned, seen, tokens, weights)
        ctx.heads = heads
        return pooled

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor | None, None]:
        turned, seen, tokens, weights = ctx.saved_tensors
        pack, _, dim = turned.shape
        of_base, of_turned = tokens.new_zeros(pack, ctx.heads, dim), torch.zeros_like(turned)
        of_seen = torch.zeros_like(seen) if ctx.needs_input_grad[2] else None
        for part, members, rows in _parts(tokens, pack, ctx.heads):
            of_weights = torch.bmm(gradients[0][part, rows], tokens[part].transpose(1, 2))
            of_scores = _softmax_gradient(of_weights, weights[part, rows])
            of_queries = torch.bmm(of_scores, tokens[part]).unflatten(1, (-1, ctx.heads))
            of_base[members].add_(of_queries.sum(0))
            by_member = of_queries.transpose(0, 1).flatten(1, 2)
            of_turned[members].baddbmm_(seen[part].flatten(0, 1).T.expand(len(by_member), -1, -1), by_member)
            if of_seen is not None:
                of_seen[part].add_(torch.einsum("bpkd,pcd->bkc", of_queries, turned[members]))
        return of_base, of_turned, of_seen, None


class _ByHead(torch.autograd.Function):
    """A product for each row whose weights are narrow: their gradient is made transposed, twice as fast."""

    @staticmethod
    def forward(ctx: Any, pooled: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(pooled, weight)
        return torch.bmm(pooled, weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        pooled, weight = ctx.saved_tensors
        of_weight = torch.bmm(gradients[0].transpose(1, 2), pooled).transpose(1, 2)
        return torch.bmm(gradients[0], weight.transpose(1, 2)), of_weight


def _softmax_gradient(of_weights: Tensor, weights: Tensor) -> Tensor:
    products = of_weights.mul_(weights)
    return products.sub_(weights * products.sum(2, keepdim=True))


def _parts(tokens: Tensor, pack: int, heads: int) -> Iterator[tuple[slice, slice, slice]]:
    """Samples, members and their rows: as many as fit in the cores' caches; on a GPU all at once.

    Members share a sample's tokens in one product, while their queries of it are small or no more than its tokens.
    """
    (n_tokens, dim), size = tokens.shape[1:], tokens.element_size()
    together = max(_QUERY_BYTES // (heads * max(dim, 1) * size), n_tokens // heads, 1)
    members = pack if tokens.is_cuda else min(together, pack)
    bytes_each = ((n_tokens + members * heads) * dim + members * heads * n_tokens) * size
    each_core = max(_CHUNK_BYTES // max(bytes_each, 1), 1)
    samples = len(tokens) if tokens.is_cuda else each_core * torch.get_num_threads()
    for start in range(0, len(tokens), samples):
        for first in range(0, pack, members):
            last = first + members
            yield slice(start, start + samples), slice(first, last), slice(first * heads, last * heads)
