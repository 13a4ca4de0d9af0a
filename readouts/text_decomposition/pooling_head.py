"""What is kept of an image whose tokens an attention pools, as SigLIP's does: no split by layer.

The embedding is Σ over heads and tokens + the bias of the output projection + what the pooling MLP adds. The
attention reads the tokens after the final norm, so that a head's term holds what all blocks wrote to the tokens that
it reads; the MLP reads the sum of all heads, and is not linear in them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from frozen.capture.conditions import Condition
from frozen.capture.reductions import Column, ForwardPass, Values
from frozen.capture.sites import Site
from frozen.models import BackboneError, Description, PoolingHead
from readouts.text_decomposition.capture import MOST_ERROR, columns_of

_TOKENS, _EMBEDDING = Site("final"), Site("final", "embedding")


@dataclass(frozen=True)
class PooledTerms:
    """Outputs of the heads of the attention that pools, and of the MLP after it.

    Columns are those of `ImageTerms` with one layer: `heads` [1 H D]; `from_first` [1 H D], of it what was read from
    the first token, if that is no patch; `mlps` [2 W], first the bias of the output projection, then what the MLP
    adds; `mean` 0, `scale` 1 and `weight` 1, because no norm follows; `embedding` [W]; and with `tokens`, `token_map`
    [N W].

    Attributes:
        tokens: whether to keep the token map.
        token_heads: heads that are kept by token, one by one: `token_heads` [K N D].
    """

    tokens: bool = False
    token_heads: tuple[int, ...] = ()
    sites = (_TOKENS, _EMBEDDING)
    labels = ()
    needs_head = False
    needs_gradient = False

    def key(self) -> dict[str, Any]:
        """Its name, version and fields."""
        key: dict[str, Any] = {"reduction": "pooled_terms", "reduction_version": 1, "tokens": self.tokens}
        return key | ({"token_heads": list(self.token_heads)} if self.token_heads else {})

    def columns(self, description: Description, condition: Condition) -> tuple[Column, ...]:
        """Its columns, see the class.

        Raises:
            ValueError: a model that pools in another way, or a condition that drops tokens.
        """
        if not description.pooling_heads:
            raise ValueError("no attention pools its tokens")
        if condition.key():
            raise ValueError("the terms of an embedding are those of the unchanged pass")
        width, n_tokens = description.embedding_width, description.layout.n_tokens
        shape, n_heads = description.pooling_heads, len(self.token_heads)
        # of one layer they are small, and heads and MLP may nearly cancel
        return columns_of(1, shape, width, n_tokens, self.tokens, n_heads, "float32")

    def begin(self, forward: ForwardPass) -> _Reducer:
        """A reducer for one batch.

        Raises:
            BackboneError: a model that pools in another way.
        """
        trunk = forward.model.trunk
        if trunk is None or not isinstance(trunk.ending, PoolingHead):
            raise BackboneError(f"{forward.model.identity} does not pool its tokens by an attention that is known")
        return _Reducer(self, trunk.ending, forward.layout.n_prefix > 0)


class _Reducer:
    def __init__(self, reduction: PooledTerms, pool: PoolingHead, has_first: bool) -> None:
        self._reduction, self._pool = reduction, pool
        self._reads_first = has_first and pool.first_read == 0
        self._found: dict[str, Values] = {}
        self._sum = torch.zeros(())

    def take(self, site: Site, value: Tensor) -> None:
        if site == _TOKENS:
            self._reduce(value)
            return
        error = float((self._sum - value).norm() / value.norm().clamp_min(1e-12))
        if not error <= MOST_ERROR:
            raise BackboneError(
                "what the heads that pool and their MLP wrote does not sum to the embedding (relative difference "
                f"{error:.2g}); the pooling has steps that are not known here"
            )
        self._found["embedding"] = value

    def _reduce(self, tokens: Tensor) -> None:
        pool, skipped = self._pool, self._pool.first_read
        read = pool.attend(tokens[:, skipped:])
        weights, values = read.weights.float(), read.values.float()
        heads = torch.einsum("bhn,bnhd->bhd", weights, values)
        weight, bias = pool.output.weight.float(), _bias(pool)
        attended = linear(heads.flatten(1), weight, bias)
        added = pool.added(attended).float()
        self._sum = attended + added
        first = weights[:, :, :1] * values[:, 0] if self._reads_first else torch.zeros_like(heads)
        n, like = len(tokens), attended.new_ones(len(tokens))
        self._found |= {"heads": heads[:, None], "from_first": first[:, None]}
        self._found["mlps"] = torch.stack([bias.expand(n, -1), added], dim=1)
        self._found |= {"mean": torch.zeros_like(like), "scale": like, "weight": like}
        if self._reduction.tokens or self._reduction.token_heads:
            shares = weights.transpose(1, 2)[..., None] * values
            unread = shares.new_zeros(n, skipped, *shares.shape[2:])
            shares = torch.cat([unread, shares], dim=1)
            if self._reduction.tokens:
                self._found["token_map"] = linear(shares.flatten(2), weight)
            if self._reduction.token_heads:
                self._found["token_heads"] = shares[:, :, list(self._reduction.token_heads)].transpose(1, 2)

    def finish(self) -> dict[str, Values]:
        return self._found


def _bias(pool: PoolingHead) -> Tensor:
    if pool.output.bias is None:
        return pool.output.weight.new_zeros(pool.output.out_features).float()
    return pool.output.bias.float()
