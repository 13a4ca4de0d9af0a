"""How a sublayer's output matrix reaches the residual stream, and the classifier behind it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from frozen.models import Backbone, BackboneError

Sublayer = Literal["attention", "mlp"]
VectorRule = Literal["folded", "raw"]
COEFFICIENTS: dict[Sublayer, Any] = {"attention": "heads", "mlp": "mlp_hidden"}
"""The part of a block that a sublayer's output matrix reads."""
_SCALES = {"attention": ("ls1", "layer_scale1"), "mlp": ("ls2", "layer_scale2")}
_GAMMAS = {"attention": "gamma_1", "mlp": "gamma_2"}
_NORMS = {"attention": "norm1", "mlp": "norm2"}


def contribution(model: Backbone, block: int, sublayer: Sublayer = "attention") -> Callable[[Tensor], Tensor]:
    """What the input of a sublayer's output matrix adds to the residual stream: matrix, layer scale, later norm."""
    # by `forward`, past the hooks: they are what is being read meanwhile
    steps = [_output(model, block, sublayer).forward, *_scales(model, block, sublayer)]
    if (norm := _later_norm(model, block, sublayer)) is not None:
        steps.append(norm.forward)

    def apply(coefficients: Tensor) -> Tensor:
        for step in steps:
            coefficients = step(coefficients)
        return coefficients

    return apply


def check_contribution(model: Backbone, block: int, found: Tensor, true: Tensor) -> None:
    """Refuse a block whose heads reach the residual stream in another way than is known.

    Raises:
        BackboneError: what was found is not what attention adds.
    """
    if not torch.allclose(found, true, rtol=1e-2, atol=1e-3 * float(true.abs().max())):
        raise BackboneError(
            f"{model.identity}: what the heads of block {block} add is not their projection and scale, so that "
            "relevancy cannot be computed; leave out `deletion` and `head_relevancy`"
        )


def value_vectors(
    model: Backbone, block: int, sublayer: Sublayer, rule: VectorRule = "raw"
) -> Float[Tensor, "width memories"]:
    """The columns of a sublayer's output matrix, float32: what each of its memories writes.

    Args:
        model: with trunk; for folded vectors with its head too.
        block: number of the block.
        sublayer: attention or mlp.
        rule: raw, as they stand in the matrix; or folded: what of them reaches the classifier, that is scaled by the
            block's layer scale, centred as the norms do and scaled by the norms' gains. E times a folded vector,
            divided by the norms' standard deviations, is what one unit of the memory adds to the logits exactly.
    """
    weight = _output(model, block, sublayer).weight.detach().float()
    if rule == "raw":
        return weight
    assert model.head is not None
    rows = weight.T.clone()
    with torch.no_grad():
        for scale in _scales(model, block, sublayer):
            rows = scale(rows)
        for norm in (_later_norm(model, block, sublayer), *model.head.norms):
            if isinstance(norm, nn.LayerNorm):
                rows = rows - rows.mean(-1, keepdim=True)
                rows = rows if norm.weight is None else rows * norm.weight.float()
    return rows.T


def _output(model: Backbone, block: int, sublayer: Sublayer) -> nn.Linear:
    assert model.trunk is not None
    output = model.trunk.parts[block].points[COEFFICIENTS[sublayer]].module
    assert isinstance(output, nn.Linear)
    return output


def _scales(model: Backbone, block: int, sublayer: Sublayer) -> list[Callable[[Tensor], Tensor]]:
    assert model.trunk is not None
    module = model.trunk.blocks[block]
    scales = (getattr(module, name, None) for name in _SCALES[sublayer])
    steps: list[Callable[[Tensor], Tensor]] = [one.forward for one in scales if isinstance(one, nn.Module)]
    if isinstance(gamma := getattr(module, _GAMMAS[sublayer], None), Tensor):
        steps.append(lambda x: gamma * x)
    return steps


def _later_norm(model: Backbone, block: int, sublayer: Sublayer) -> nn.Module | None:
    """The norm that stands behind a sublayer, in blocks that have one there."""
    assert model.trunk is not None
    module = model.trunk.blocks[block]
    return module.get_submodule(_NORMS[sublayer]) if type(module).__name__ == "ResPostBlock" else None
