"""Quadratic and multilinear probes whose activation weights are shared by objects with a common feature."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from binding.probes._base import Dropout, HeadShape, Parameters, Probe, normal
from binding.probes._shared_products import sum_of_shared_products
from frozen.problems import Problem, at_least


@dataclass(frozen=True, kw_only=True)
class MultilinearConcatReuse(Probe):
    """Logit k = s Σ_r Π_g (x_k·W_grk) + b_k; the z part of W_g is one for all objects with a value of group g."""

    learning_rate: float = 0.05
    rank: int = 16
    """Number R of products in each form."""

    family: ClassVar[str] = "multilinear_concat_reuse"
    objects_only: ClassVar[bool] = True

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        yield from at_least("rank", self.rank, 1)

    @classmethod
    def _refuses_groups(cls, n_groups: int) -> str | None:
        return None if n_groups >= 2 else f"{cls.family} needs at least 2 feature groups, the data set has {n_groups}"

    def structure(self) -> tuple[object, ...]:
        return (self.use_conditioned_query, self.rank)

    def units(self, shape: HeadShape, n_tokens: int) -> int:
        return super().units(shape, n_tokens) + 3 * len(shape.group_sizes) * self.rank * shape.n_heads

    def n_parameters(self, shape: HeadShape) -> int:
        own = self.rank * len(shape.group_sizes) * self.n_visible(shape) + 1
        return self.rank * sum(shape.group_sizes) * shape.z_dim + own * shape.n_heads

    def initial(self, shape: HeadShape, generator: torch.Generator) -> Parameters:
        columns = self.rank * len(shape.group_sizes)
        return {
            "z_weight": normal(generator, shape.z_dim, self.rank * sum(shape.group_sizes)),
            "code_weight": normal(generator, self.n_visible(shape), columns, shape.n_heads),
            "bias": torch.zeros(shape.n_heads),
        }

    def logits(
        self,
        parameters: Parameters,
        shape: HeadShape,
        z: Float[Tensor, "batch dim"],
        codes: Float[Tensor, "batch codes"],
        dropout: Dropout | None = None,
    ) -> Float[Tensor, "pack batch heads"]:
        del dropout
        visible = self.visible(shape, codes)
        own = (parameters["code_weight"] * visible.mask[:, None, :]).flatten(2)
        per_value = z.expand(len(own), -1, -1) @ parameters["z_weight"]
        scale = self.n_inputs(shape) ** -0.5
        products = sum_of_shared_products(visible.codes, own, per_value, shape.group_sizes)
        return products * scale + parameters["bias"][:, None]


@dataclass(frozen=True, kw_only=True)
class QuadraticConcatReuse(MultilinearConcatReuse):
    """The shared quadratic probe of two groups: A depends on z through the first feature, B through the second."""

    family: ClassVar[str] = "quadratic_concat_reuse"

    @classmethod
    def _refuses_groups(cls, n_groups: int) -> str | None:
        if n_groups == 2:
            return None
        return f"{cls.family} needs 2 feature groups, the data set has {n_groups}; use multilinear_concat_reuse"
