"""Decomposition of a pooling head that attends to all tokens, as SigLIP has one: no split by layer.

pooled = Σ over heads and tokens + the bias of the output projection + what the MLP adds.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from frozen.models import BackboneError


class PoolingTerms(NamedTuple):
    """Terms of the pooled vector (H heads, N tokens, width W).

    Attributes:
        heads: [image H N W], what each head read from each token.
        bias: [W], of the output projection, added once.
        mlp: [image W], what the MLP adds, its bias included.
    """

    heads: Float[Tensor, "image head token width"]
    bias: Float[Tensor, " width"]
    mlp: Float[Tensor, "image width"]

    def sum(self) -> Float[Tensor, "image width"]:
        """The pooled vector."""
        return self.heads.sum((1, 2)) + self.bias + self.mlp


@torch.inference_mode()
def pooling_terms(pool: Any, tokens: Float[Tensor, "image token width"]) -> PoolingTerms:
    """Terms of timm's AttentionPoolLatent with one latent.

    Args:
        pool: the module.
        tokens: that it reads, after the final norm.

    Raises:
        BackboneError: another kind of pooling head.
    """
    known = ("latent", "q", "kv", "proj", "q_norm", "k_norm")
    if any(not hasattr(pool, name) for name in known) or pool.latent.shape[1] != 1:
        raise BackboneError(f"{type(pool).__name__} is no attention pool with one latent")
    given = tokens if pool.pos_embed is None else tokens + pool.pos_embed
    n_heads = pool.num_heads
    query = pool.q_norm(pool.q(pool.latent).unflatten(-1, (n_heads, -1)).transpose(1, 2))
    keys, values = (part.unflatten(-1, (n_heads, -1)).transpose(1, 2) for part in pool.kv(given).chunk(2, dim=-1))
    attention = (pool.scale * query @ pool.k_norm(keys).transpose(2, 3)).softmax(-1)[:, :, 0]
    weight = pool.proj.weight.unflatten(1, (n_heads, -1))
    heads = torch.einsum("bhn,bhnd,whd->bhnw", attention, values, weight)
    bias = pool.proj.bias.detach()
    attended = heads.sum((1, 2)) + bias
    mlp = pool.mlp(pool.norm(attended)) if pool.mlp is not None else torch.zeros_like(attended)
    return PoolingTerms(heads, bias, mlp)
