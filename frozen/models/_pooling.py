"""Attention pooling with one learned query, as SigLIP's image towers end: timm's and transformers' modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear


class Attended(NamedTuple):
    """What the query reads of each token.

    Attributes:
        weights: [batch head token], attention, which sums to 1 over tokens.
        values: [batch token head dim].
    """

    weights: Float[Tensor, "batch head token"]
    values: Float[Tensor, "batch token head dim"]


class PoolingHead(NamedTuple):
    """An attention of one query over the tokens after the final norm, and an MLP after it.

    The image's embedding is x + added(x) with x = output(Σ over tokens of weights * values, heads side by side).

    Attributes:
        shape: number of heads, and dim of one.
        attend: tokens [batch token width] to what is read of them.
        output: the projection of the heads.
        added: what the MLP adds to what it reads, [batch width]; its norm and biases are part of it.
        first_read: the first token that is read.
    """

    shape: tuple[int, int]
    attend: Callable[[Tensor], Attended]
    output: nn.Linear
    added: Callable[[Tensor], Tensor]
    first_read: int


def timm_pooling_head(pool: Any, first_read: int) -> PoolingHead | None:
    """Of timm's AttentionPoolLatent; None for another module, several queries, or one without an MLP.

    Args:
        pool: the module.
        first_read: the first token that the model hands to it.
    """
    names = ("latent", "q", "kv", "proj", "q_norm", "k_norm", "mlp", "norm")
    if any(getattr(pool, name, None) is None for name in names) or pool.latent.shape[1] != 1:
        return None
    if not isinstance(pool.proj, nn.Linear):
        return None
    n_heads = int(pool.num_heads)

    def attend(tokens: Tensor) -> Attended:
        given = tokens if pool.pos_embed is None else tokens + pool.pos_embed
        query = pool.q_norm(pool.q(pool.latent).unflatten(-1, (n_heads, -1)).transpose(1, 2))
        keys, values = (part.unflatten(-1, (n_heads, -1)) for part in pool.kv(given).chunk(2, dim=-1))
        products = pool.scale * query @ pool.k_norm(keys.transpose(1, 2)).transpose(2, 3)
        return Attended(products.softmax(-1)[:, :, 0], values)

    shape = (n_heads, pool.proj.in_features // n_heads)
    return PoolingHead(shape, attend, pool.proj, lambda x: pool.mlp(pool.norm(x)), first_read)


def transformers_pooling_head(pool: Any) -> PoolingHead | None:
    """Of the pooling head of SigLIP in transformers; None for another module."""
    attention: Any = getattr(pool, "attention", None)
    names = ("probe", "layernorm", "mlp")
    if not isinstance(attention, nn.MultiheadAttention) or any(not hasattr(pool, name) for name in names):
        return None
    if attention.in_proj_weight is None or attention.bias_k is not None or pool.probe.shape[1] != 1:
        return None
    n_heads, dim = int(attention.num_heads), int(attention.head_dim)

    def attend(tokens: Tensor) -> Attended:
        weights = attention.in_proj_weight.chunk(3)
        biases = [None] * 3 if attention.in_proj_bias is None else attention.in_proj_bias.chunk(3)
        query, keys, values = (
            linear(given, weight, bias).unflatten(-1, (n_heads, -1))
            for given, weight, bias in zip((pool.probe, tokens, tokens), weights, biases, strict=True)
        )
        products = dim**-0.5 * query.transpose(1, 2) @ keys.permute(0, 2, 3, 1)
        return Attended(products.softmax(-1)[:, :, 0], values)

    return PoolingHead(
        (n_heads, dim), attend, attention.out_proj, lambda x: pool.mlp(pool.layernorm(x)), first_read=0
    )
