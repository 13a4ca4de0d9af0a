"""Quadratic and multilinear probes whose activation weights are shared by objects with a common feature."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from binding._problems import Problem, at_least
from binding.probes._base import Dropout, HeadShape, Parameters, Probe, normal


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
        code_weight = parameters["code_weight"]
        pack, n_groups = len(code_weight), len(shape.group_sizes)
        factors = visible.codes.expand(pack, -1, -1) @ (code_weight * visible.mask[:, None, :]).flatten(2)
        own = factors.view(pack, len(codes), n_groups, self.rank, *shape.group_sizes).unbind(dim=2)
        shared = self._shared(parameters["z_weight"], shape, z)
        terms = [one + other for one, other in zip(own, shared, strict=True)]
        scale = (shape.z_dim + self.n_visible(shape)) ** -0.5
        return math.prod(terms[1:], start=terms[0]).sum(dim=2).flatten(2) * scale + parameters["bias"][:, None]

    def _shared(
        self, z_weight: Float[Tensor, "pack dim values"], shape: HeadShape, z: Float[Tensor, "batch dim"]
    ) -> list[Float[Tensor, "pack batch rank ..."]]:
        """The part of each factor that comes from z, with the axes of the groups: long in the factor's own only."""
        per_value = z.expand(len(z_weight), -1, -1) @ z_weight
        parts = per_value.split([self.rank * size for size in shape.group_sizes], dim=2)
        return [
            part.view(
                *part.shape[:2], self.rank, *(size if g == own else 1 for g, size in enumerate(shape.group_sizes))
            )
            for own, part in enumerate(parts)
        ]


@dataclass(frozen=True, kw_only=True)
class QuadraticConcatReuse(MultilinearConcatReuse):
    """The shared quadratic probe of two groups: A depends on z through the first feature, B through the second."""

    family: ClassVar[str] = "quadratic_concat_reuse"

    @classmethod
    def _refuses_groups(cls, n_groups: int) -> str | None:
        if n_groups == 2:
            return None
        return f"{cls.family} needs 2 feature groups, the data set has {n_groups}; use multilinear_concat_reuse"
