"""The linear probe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from binding.probes._base import Dropout, HeadShape, Parameters, Probe, dense


@dataclass(frozen=True, kw_only=True)
class Linear(Probe):
    """Logit k = w_k·z + v_k·y_k + b_k."""

    learning_rate: float = 0.5

    family: ClassVar[str] = "linear"
    reads_several: ClassVar[bool] = True
    learning_rates: ClassVar[tuple[float, float]] = (1e-3, 2.0)

    def structure(self) -> tuple[object, ...]:
        return (self.use_conditioned_query,)

    def n_parameters(self, shape: HeadShape) -> int:
        return (self.n_inputs(shape) + 1) * shape.n_heads

    def initial(self, shape: HeadShape, generator: torch.Generator) -> Parameters:
        return {
            "z_weight": _uniform(generator, shape.z_dim, shape.n_heads),
            "code_weight": _uniform(generator, self.n_visible(shape), shape.n_heads),
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
        z_weight, code_weight = (parameters[name].unsqueeze(2) for name in ("z_weight", "code_weight"))
        return dense(z, z_weight, self.visible(shape, codes), code_weight).squeeze(2) + parameters["bias"][:, None]


def _uniform(generator: torch.Generator, inputs: int, outputs: int) -> Tensor:
    """Weights of torch.nn.Linear: uniform within 1 / sqrt(inputs)."""
    return (2 * torch.rand(inputs, outputs, generator=generator) - 1) / max(inputs, 1) ** 0.5
