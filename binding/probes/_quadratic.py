"""The low-rank quadratic probe, one form for each head."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from binding.probes._base import Dropout, HeadShape, Parameters, Probe, dense, normal
from frozen.problems import Problem, at_least


@dataclass(frozen=True, kw_only=True)
class QuadraticConcat(Probe):
    """Logit k = s Σ_r (x_k·A_rk)(x_k·B_rk) + b_k with x_k = [z ; y_k] and s = 1 / sqrt(width of x_k)."""

    learning_rate: float = 0.05
    rank: int = 16
    """Number R of products in each form."""

    family: ClassVar[str] = "quadratic_concat"
    reads_several: ClassVar[bool] = True

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        yield from at_least("rank", self.rank, 1)

    def structure(self) -> tuple[object, ...]:
        return (self.use_conditioned_query, self.rank)

    def units(self, shape: HeadShape, n_tokens: int) -> int:
        return super().units(shape, n_tokens) + 3 * 2 * self.rank * shape.n_heads

    def n_parameters(self, shape: HeadShape) -> int:
        return (2 * self.rank * self.n_inputs(shape) + 1) * shape.n_heads

    def initial(self, shape: HeadShape, generator: torch.Generator) -> Parameters:
        columns = 2 * self.rank
        return {
            "z_weight": normal(generator, shape.z_dim, columns, shape.n_heads),
            "code_weight": normal(generator, self.n_visible(shape), columns, shape.n_heads),
            "bias": torch.zeros(shape.n_heads),
        }

    def logits(
        self,
        parameters: Parameters,
        shape: HeadShape,
        z: Float[Tensor, "*pack batch dim"],
        codes: Float[Tensor, "batch codes"],
        dropout: Dropout | None = None,
    ) -> Float[Tensor, "pack batch heads"]:
        del dropout
        factors = dense(z, parameters["z_weight"], self.visible(shape, codes), parameters["code_weight"])
        scale = self.n_inputs(shape) ** -0.5
        return sum_of_products(factors) * scale + parameters["bias"][:, None]


def sum_of_products(factors: Float[Tensor, "pack batch columns heads"]) -> Float[Tensor, "pack batch heads"]:
    """Σ_r of the products of both factors, whose columns are [2, rank]."""
    return _SumOfProducts.apply(factors)  # pyright: ignore[reportReturnType]


class _SumOfProducts(torch.autograd.Function):
    """Its gradient is written in place; autograd would make it in halves and copy them together."""

    @staticmethod
    def forward(ctx: Any, factors: Tensor) -> Tensor:
        ctx.save_for_backward(factors)
        first, second = factors.chunk(2, dim=2)
        return (first * second).sum(dim=2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (factors,) = ctx.saved_tensors
        out = torch.empty_like(factors)
        for into, other in zip(out.chunk(2, dim=2), reversed(factors.chunk(2, dim=2)), strict=True):
            torch.mul(other, gradients[0].unsqueeze(2), out=into)
        return out
