"""Attention over the spatial tokens, then the quadratic form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from binding.probes._base import Dropout, HeadShape, Parameters, Probe, dense, normal
from binding.probes._pooling import attention, by_head, pool
from binding.probes._quadratic import QuadraticConcat, sum_of_products
from frozen.problems import Problem, at_least


@dataclass(frozen=True, kw_only=True)
class AttentionQuadratic(Probe):
    """Head k pools the tokens with a query of its own, then reads [CLS ; pooled ; y_k] with a quadratic form.

    The query is Wq(base_k + Σ_i y_ki e_i), the weights softmax(q_k·s_j / sqrt(D)) over the spatial tokens.
    Without a CLS token the form reads [pooled ; y_k].
    """

    learning_rate: float = 5e-3
    rank: int = 16
    """Number R of products in each form."""
    attend_cls: bool = False
    """Whether the CLS token is among the tokens attended to."""

    family: ClassVar[str] = "attention_quadratic"
    reads_tokens: ClassVar[bool] = True

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        yield from at_least("rank", self.rank, 1)

    def structure(self) -> tuple[object, ...]:
        return (self.use_conditioned_query, self.rank, self.attend_cls)

    def without_activations(self) -> Probe:
        return QuadraticConcat(learning_rate=self.learning_rate, weight_decay=self.weight_decay, rank=self.rank)

    def units(self, shape: HeadShape, n_tokens: int) -> int:
        pooled, columns = 2 * shape.z_dim + n_tokens, 3 * 2 * self.rank
        return super().units(shape, n_tokens) + (pooled + columns) * shape.n_heads

    def _first_visible(self, shape: HeadShape) -> int:
        """The quadratic form always sees the codes; only the query can be kept from them."""
        del shape
        return 0

    def n_parameters(self, shape: HeadShape) -> int:
        queries = (shape.n_heads + shape.n_codes + shape.z_dim) * shape.z_dim
        seen = (1 + shape.has_cls) * shape.z_dim + shape.n_codes
        return queries + (2 * self.rank * seen + 1) * shape.n_heads

    def initial(self, shape: HeadShape, generator: torch.Generator) -> Parameters:
        dim, heads, columns = shape.z_dim, shape.n_heads, 2 * self.rank
        parameters = {
            "query_base": normal(generator, heads, dim),
            "query_code": normal(generator, shape.n_codes, dim),
            "query_weight": (2 * torch.rand(dim, dim, generator=generator) - 1) / dim**0.5,
            "pooled_weight": normal(generator, heads, dim, columns),
            "code_weight": normal(generator, shape.n_codes, columns, heads),
            "bias": torch.zeros(heads),
        }
        if shape.has_cls:
            parameters["cls_weight"] = normal(generator, dim, columns, heads)
        return parameters

    def logits(
        self,
        parameters: Parameters,
        shape: HeadShape,
        z: Float[Tensor, "batch token dim"],
        codes: Float[Tensor, "batch codes"],
        dropout: Dropout | None = None,
    ) -> Float[Tensor, "pack batch heads"]:
        del dropout
        pooled = pool(*self._queries(parameters, shape, codes), self._attended(shape, z))
        columns = by_head(pooled, parameters["pooled_weight"].flatten(0, 1)).unflatten(0, (-1, shape.n_heads))
        cls = z[:, 0] if shape.has_cls else z.new_zeros(len(z), 0)
        cls_weight = parameters.get("cls_weight", parameters["code_weight"][:, :0])
        others = dense(cls, cls_weight, self.visible(shape, codes), parameters["code_weight"])
        columns = others.add_(columns.permute(0, 2, 3, 1))
        width = shape.z_dim * (1 + shape.has_cls) + shape.n_codes
        return sum_of_products(columns) * width**-0.5 + parameters["bias"][:, None]

    def attend(
        self,
        parameters: Parameters,
        shape: HeadShape,
        z: Float[Tensor, "batch token dim"],
        codes: Float[Tensor, "batch codes"],
    ) -> Float[Tensor, "batch pack heads attended"]:
        """Attention of every head over the tokens it may attend to; rows sum to 1."""
        weights = attention(*self._queries(parameters, shape, codes), self._attended(shape, z))
        return weights.unflatten(1, (-1, shape.n_heads))

    def _attended(self, shape: HeadShape, z: Float[Tensor, "batch token dim"]) -> Float[Tensor, "batch attended dim"]:
        return z[:, 1:] if shape.has_cls and not self.attend_cls else z

    def _queries(
        self, parameters: Parameters, shape: HeadShape, codes: Float[Tensor, "batch codes"]
    ) -> tuple[Float[Tensor, "pack heads dim"], Float[Tensor, "pack seen dim"], Float[Tensor, "batch heads seen"]]:
        """Parts of the queries over sqrt(D); Wq turns the few base and code vectors, not every sample's query."""
        start = 0 if self.use_conditioned_query else shape.n_heads
        seen = codes[:, None, start:] * shape.mask[start:].T.to(codes)
        query_weight = parameters["query_weight"] * shape.z_dim**-0.5
        turned_base = parameters["query_base"] @ query_weight
        turned_code = parameters["query_code"][:, start:] @ query_weight
        return turned_base, turned_code, seen
