"""A multi-layer perceptron for each head."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import gelu

from binding.probes._base import Dropout, HeadShape, Parameters, Probe, Visible, normal
from frozen.problems import Problem, at_least


@dataclass(frozen=True, kw_only=True)
class DnnConcat(Probe):
    """Logit k = MLP_k([z ; y_k]) with GELU between `num_layers` weight layers and dropout after each."""

    learning_rate: float = 1e-3
    num_layers: int = 3
    """Weight layers; 1 is a linear readout."""
    hidden_dim: int | None = None
    """Width of the hidden layers; by default the width of the input, within 128..1024."""
    dropout: float = 0.0
    """Share of hidden units dropped in training."""

    family: ClassVar[str] = "dnn_concat"
    is_apart: ClassVar[bool] = True

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        yield from at_least("num_layers", self.num_layers, 1)
        if self.hidden_dim is not None:
            yield from at_least("hidden_dim", self.hidden_dim, 1)
        if not 0 <= self.dropout < 1:
            yield Problem("dropout", f"must lie in [0, 1), got {self.dropout}")

    def structure(self) -> tuple[object, ...]:
        return (self.use_conditioned_query, self.num_layers, self.hidden_dim, self.dropout)

    def units(self, shape: HeadShape, n_tokens: int) -> int:
        kept = 2 * (self.num_layers - 1) * (2 if self.dropout else 1)  # of every layer, before and after GELU
        return super().units(shape, n_tokens) + (kept + 2) * self._width(shape) * shape.n_heads

    def _width(self, shape: HeadShape) -> int:
        return self.hidden_dim or min(max(self.n_inputs(shape), 128), 1024)

    def _outputs(self, shape: HeadShape) -> list[int]:
        """Width of every layer."""
        return [self._width(shape)] * (self.num_layers - 1) + [1]

    def n_parameters(self, shape: HeadShape) -> int:
        widths = [self.n_inputs(shape), *self._outputs(shape)]
        return sum((inner + 1) * outer for inner, outer in pairwise(widths)) * shape.n_heads

    def initial(self, shape: HeadShape, generator: torch.Generator) -> Parameters:
        heads, inputs = shape.n_heads, [shape.z_dim, self.n_visible(shape)]
        widths = self._outputs(shape)
        parameters = {
            "z_weight": normal(generator, heads, inputs[0], widths[0]),
            "code_weight": normal(generator, heads, inputs[1], widths[0]),
            "bias0": torch.zeros(heads, 1, widths[0]),
        }
        for layer, (inner, outer) in enumerate(pairwise(widths), start=1):
            parameters[f"weight{layer}"] = normal(generator, heads, inner, outer)
            parameters[f"bias{layer}"] = torch.zeros(heads, 1, outer)
        return parameters

    def logits(
        self,
        parameters: Parameters,
        shape: HeadShape,
        z: Float[Tensor, "batch dim"],
        codes: Float[Tensor, "batch codes"],
        dropout: Dropout | None = None,
    ) -> Float[Tensor, "pack batch heads"]:
        pack = len(parameters["z_weight"])
        flat = {name: value.flatten(0, 1) for name, value in parameters.items()}
        hidden = _first_layer(flat, z, self.visible(shape, codes))
        for layer in range(1, self.num_layers):
            hidden = gelu(hidden)
            if dropout is not None and self.dropout:
                hidden = hidden * self._kept(hidden, dropout)
            hidden = torch.bmm(hidden, flat[f"weight{layer}"]).add_(flat[f"bias{layer}"])
        return hidden.squeeze(2).unflatten(0, (pack, shape.n_heads)).transpose(1, 2)

    def _kept(self, hidden: Float[Tensor, "rows batch width"], dropout: Dropout) -> Float[Tensor, "rows batch width"]:
        pack = len(dropout.generators)
        rates = torch.full((pack,), self.dropout, device=hidden.device)
        return dropout.keep((len(hidden) // pack, *hidden.shape[1:]), rates).flatten(0, 1)


def _first_layer(
    flat: Parameters, z: Float[Tensor, "batch dim"], visible: Visible
) -> Float[Tensor, "rows batch width"]:
    """[z ; y_k] times the first weights of every head of every member, as rows; z is never copied.

    The bias goes with the codes, as the weight of a code that is always 1.
    """
    rows = len(flat["z_weight"])
    mask = visible.mask.T.repeat(rows // visible.mask.shape[1], 1).unsqueeze(2)
    weight = torch.cat([flat["code_weight"] * mask, flat["bias0"]], dim=1)
    codes = torch.cat([visible.codes, visible.codes.new_ones(len(z), 1)], dim=1)
    hidden = torch.bmm(z.expand(rows, -1, -1), flat["z_weight"])
    return hidden.baddbmm_(codes.expand(rows, -1, -1), weight)
