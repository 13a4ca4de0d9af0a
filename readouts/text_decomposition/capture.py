"""What is kept of an image: outputs of heads and MLPs where the embedding is pooled, and the final norm's numbers.

The embedding is a linear map of these once the final layer norm's mean and deviation are known (paper, section 3),
so that images are never read twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import linear

from frozen.capture.conditions import Condition
from frozen.capture.reductions import Column, ForwardPass, Values
from frozen.capture.sites import Site
from frozen.models import BackboneError, Description, Ending
from frozen.models.joint import output_map, queries_keys

MOST_ERROR = 0.05
"""Largest relative difference between a head's output and the sum of its shares by token: products in half
precision differ by less, another kind of attention by more."""


@dataclass(frozen=True)
class ImageTerms:
    """Outputs of heads and MLPs, as the final pooling weighs the tokens that they are written to.

    Columns (H heads of width D in L blocks, N tokens, W the trunk's width): `heads` [L H D] before the output
    projection; `from_first` [L H D], the part of it that was read from the first token; `mlps` [L+1 W], first what
    enters the first block; `mean` and `scale` of the final norm (scale is sqrt(variance + eps)); `weight`, the sum
    of the pooling's weights; `embedding` [W], the model's own; and with `tokens`, `token_map` [N W]: what all heads
    wrote, by the token it was read from.

    Attributes:
        n_blocks: L.
        tokens: whether to keep the token map.
        token_layers: blocks that the token map sums over; None for all.
        token_heads: block and head of those that are kept by token, one by one: `token_heads` [K N D].
    """

    n_blocks: int
    tokens: bool = False
    token_layers: tuple[int, ...] | None = None
    token_heads: tuple[tuple[int, int], ...] = ()
    labels = ()
    needs_head = False
    needs_gradient = False

    @property
    def sites(self) -> tuple[Site, ...]:
        """Tokens, values, heads and MLP of every block, and the embedding."""
        blocks = [str(number) for number in range(self.n_blocks)]
        of_blocks = [Site(block, part) for block in blocks for part in ("values", "heads", "mlp", "residual")]
        return (Site("embed"), *of_blocks, Site("final", "embedding"))

    def key(self) -> dict[str, Any]:
        """Its name, version and fields; those that came later only where they say something."""
        key: dict[str, Any] = {"reduction": "image_terms", "reduction_version": 1}
        key |= {"blocks": self.n_blocks, "tokens": self.tokens}
        if self.token_layers is not None:
            key["token_layers"] = list(self.token_layers)
        if self.token_heads:
            key["token_heads"] = [list(head) for head in self.token_heads]
        return key

    def columns(self, description: Description, condition: Condition) -> tuple[Column, ...]:
        """Its columns, see the class.

        Raises:
            ValueError: a model whose parts cannot be read, or a condition that drops tokens.
        """
        for site in self.sites:
            if reason := site.refusal(description):
                raise ValueError(f"site {site}: {reason}")
        if condition.key():
            raise ValueError("the terms of an embedding are those of the unchanged pass")
        heads = description.part("heads")
        assert not isinstance(heads, str)
        width, n_tokens = description.layout.width, description.layout.n_tokens
        return columns_of(self.n_blocks, heads, width, n_tokens, self.tokens, len(self.token_heads))

    def begin(self, forward: ForwardPass) -> _Reducer:
        """A reducer for one batch.

        Raises:
            BackboneError: a model that does not end in a layer norm and pooling.
        """
        return _Reducer(self, forward)


def columns_of(
    n_layers: int,
    heads: tuple[int, ...],
    width: int,
    n_tokens: int,
    tokens: bool,
    n_heads: int,
    dtype: str | None = None,
) -> tuple[Column, ...]:
    """Columns of the terms of an embedding.

    Args:
        n_layers: with heads.
        heads: their number in a layer, and the dim of one.
        width: of what heads and MLPs write.
        n_tokens: of the model.
        tokens: whether there is a token map.
        n_heads: that are kept by token.
        dtype: of the outputs of heads and MLPs; by default the store's.
    """
    shape = (n_layers, *heads)
    numbers = [Column(name, (), "float32") for name in ("mean", "scale", "weight")]
    token_map = [Column("token_map", (n_tokens, width))] * tokens
    token_map += [Column("token_heads", (n_heads, n_tokens, heads[1]))] * bool(n_heads)
    return (
        Column("heads", shape, dtype),
        Column("from_first", shape, dtype),
        Column("mlps", (n_layers + 1, width), dtype),
        *numbers,
        Column("embedding", (width,), "float32"),
        *token_map,
    )


class _Reducer:
    def __init__(self, reduction: ImageTerms, forward: ForwardPass) -> None:
        trunk = forward.model.trunk
        if trunk is None or not isinstance(trunk.ending, Ending):
            raise BackboneError(
                f"{forward.model.identity} does not end in a layer norm and pooled tokens, so that its embedding "
                "is no sum of what its blocks wrote"
            )
        self._trunk, self._ending = trunk, trunk.ending
        self._reduction = reduction
        self._token_heads: dict[tuple[int, int], Tensor] = {}
        self._has_first = forward.layout.n_prefix > 0
        self._seen: dict[Site, Tensor] = {}
        self._weights: Tensor | None = None
        self._rows: dict[str, list[Tensor]] = {"heads": [], "from_first": [], "mlps": []}
        self._token_map: Tensor | None = None
        self._last = Site(str(reduction.n_blocks - 1))
        self._embedding: Tensor | None = None

    def take(self, site: Site, value: Tensor) -> None:
        if site == Site("final", "embedding"):
            self._embedding = value
            return
        self._seen[site] = value
        if site == Site("embed"):
            self._weights = _early_weights(self._ending, value)
            self._pooled_later("mlps", value)
        if site.part == "mlp" and self._weights is not None:
            self._reduce(int(site.layer))

    def finish(self) -> dict[str, Values]:
        last = self._seen[self._last]
        ending, weights = self._ending, self._weights
        if weights is None:  # every token has a norm of its own, which its share of the mean is divided by
            mean, scale = _statistics(last, ending.norm.eps)
            even = _even(ending, last)
            weights = self._weights = even / scale
            self._pooled_later("mlps", self._seen[Site("embed")])
            for block in range(int(self._last.layer) + 1):
                self._reduce(block)
            total = ((weights * mean).sum(1), torch.ones_like(scale[:, 0]))
        else:
            total = _statistics(_pool(weights, last), ending.norm.eps)
        found: dict[str, Values] = {name: torch.stack(rows, dim=1) for name, rows in self._rows.items()}
        found |= {"mean": total[0], "scale": total[1], "weight": weights.sum(1)}
        assert self._embedding is not None
        found["embedding"] = self._embedding
        if self._reduction.tokens:
            assert self._token_map is not None
            found["token_map"] = self._token_map
        if self._reduction.token_heads:
            found["token_heads"] = torch.stack([self._token_heads[one] for one in self._reduction.token_heads], dim=1)
        return found

    def _pooled_later(self, name: str, value: Tensor) -> None:
        if self._weights is not None:
            self._rows[name].append(_pool(self._weights, value))

    def _reduce(self, block: int) -> None:
        """Pool what a block wrote, and tell it apart by the tokens that its heads read."""
        weights = self._weights
        assert weights is not None
        before = Site("embed") if block == 0 else Site(str(block - 1))
        parts: tuple[Any, ...] = ("values", "heads", "mlp")
        values, heads, mlp = (self._seen.pop(Site(str(block), part)) for part in parts)
        tokens = self._seen.pop(before)
        pooled = _pool(weights, heads)
        attention = _attention(self._trunk.blocks[block], tokens, weights)
        _check(torch.einsum("bhn,bnhd->bhd", attention, values), pooled, block)
        self._rows["heads"].append(pooled)
        first = attention[:, :, :1] * values[:, 0]
        self._rows["from_first"].append(first if self._has_first else torch.zeros_like(pooled))
        self._rows["mlps"].append(_pool(weights, mlp))
        for head in [head for layer, head in self._reduction.token_heads if layer == block]:
            self._token_heads[block, head] = attention[:, head, :, None] * values[:, :, head]
        layers = self._reduction.token_layers
        if self._reduction.tokens and (layers is None or block in layers):
            shares = attention.transpose(1, 2)[..., None] * values
            wrote = linear(shares.flatten(2), output_map(self._trunk, block).weight)
            self._token_map = wrote if self._token_map is None else self._token_map + wrote


def _early_weights(ending: Ending, tokens: Float[Tensor, "batch token dim"]) -> Float[Tensor, "batch token"] | None:
    """Weights of tokens in what is pooled; None where they depend on norms that come last."""
    if ending.pooling == "token" or ending.is_pooled_first:
        return _even(ending, tokens)
    return None


def _even(ending: Ending, tokens: Float[Tensor, "batch token dim"]) -> Float[Tensor, "batch token"]:
    weights = torch.zeros(tokens.shape[1], device=tokens.device)
    if ending.pooling == "token":
        weights[0] = 1
        return weights.expand(len(tokens), -1)
    weights[ending.first_pooled :] = 1 / (tokens.shape[1] - ending.first_pooled)
    return weights.repeat(len(tokens), 1)


def _pool(weights: Float[Tensor, "batch token"], values: Float[Tensor, "batch token ..."]) -> Tensor:
    if weights.stride(0) == 0:  # one token of every sample
        return values[:, 0]
    return torch.einsum("bn,bn...->b...", weights, values)


def _statistics(tokens: Float[Tensor, "*batch dim"], eps: float) -> tuple[Tensor, Tensor]:
    """Mean over channels, and sqrt(variance + eps)."""
    return tokens.mean(-1), (tokens.var(-1, correction=0) + eps).sqrt()


def _attention(
    block: Any, tokens: Float[Tensor, "batch token dim"], weights: Float[Tensor, "batch token"]
) -> Float[Tensor, "batch head token"]:
    """Attention of the pooled tokens, weighted; only the rows that have a weight are computed.

    Raises:
        BackboneError: an attention whose queries and keys cannot be made from its input.
    """
    is_read = slice(0, 1) if weights.stride(0) == 0 else slice(None)
    found = queries_keys(block, tokens, is_read)
    rows = (found.scale * found.queries @ found.keys.transpose(2, 3)).softmax(-1)
    return torch.einsum("bq,bhqn->bhn", weights[:, is_read], rows)


def _check(summed: Tensor, pooled: Tensor, block: int) -> None:
    """The shares of tokens sum to the output of their heads.

    Raises:
        BackboneError: they do not: the attention is another one than softmax(queries · keys).
    """
    error = float((summed - pooled).norm() / pooled.norm().clamp_min(1e-12))
    if not error <= MOST_ERROR:
        raise BackboneError(
            f"block {block}: what its heads read from each token does not sum to what they wrote (relative "
            f"difference {error:.2g}); its attention has positions, gates or norms that are not known here"
        )
