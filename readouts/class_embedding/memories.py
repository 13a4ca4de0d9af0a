"""Sublayers as key-value memories: which rows of the output matrices stand for which class (section 5 of the paper).

Memory j of a sublayer is column j of its output matrix W (attn.proj or mlp.fc2), and its coefficient K_j what that
matrix reads. U = E W, with the class embeddings E, says how much each value vector favours each class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import comb
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from frozen.capture.conditions import Condition
from frozen.capture.reductions import Column, ForwardPass, Reducer, Values
from frozen.capture.sites import Site
from frozen.models import Backbone, Description
from readouts.class_embedding.ranks import LABEL, true_classes

Sublayer = Literal["attention", "mlp"]
_COEFFICIENTS: dict[str, Any] = {"attention": "heads", "mlp": "mlp_hidden"}
TOP = 5


def favours(classes: Float[Tensor, "classes width"], values: Float[Tensor, "width memories"]) -> Tensor:
    """How much every value vector favours every class: U = E W, [classes memories]."""
    return classes @ values


def best_memories(favour: Float[Tensor, "classes memories"], top: int = TOP) -> Bool[Tensor, "classes memories"]:
    """The memories that favour each class most; by class, not by memory."""
    best = favour.topk(min(top, favour.shape[1]), dim=1).indices
    return torch.zeros(favour.shape, dtype=torch.bool, device=favour.device).scatter_(1, best, value=True)


def class_value_cosines(
    classes: Float[Tensor, "classes width"], values: Float[Tensor, "width memories"]
) -> Float[Tensor, " classes"]:
    """Largest cosine of each class embedding with a value vector; nothing is normalised in place."""
    unit = nn.functional.normalize(classes, dim=1), nn.functional.normalize(values, dim=0)
    return (unit[0] @ unit[1]).amax(dim=1)


def chance_percent(n_memories: int, top: int = TOP) -> float:
    """Agreement of `top` memories drawn at random with `top` given ones: 1 - C(M - top, top) / C(M, top)."""
    return 100.0 * (1.0 - comb(n_memories - top, top) / comb(n_memories, top)) if n_memories >= top else 100.0


def value_vectors(model: Backbone, block: int, sublayer: Sublayer) -> Float[Tensor, "width memories"]:
    """The output matrix of a sublayer, float32."""
    assert model.trunk is not None
    output = model.trunk.parts[block].points[_COEFFICIENTS[sublayer]].module
    assert isinstance(output, nn.Linear)
    return output.weight.detach().float()


@dataclass(frozen=True)
class Memories:
    """Of every token: whether its most active memories are its class's, and whether they favour what comes out.

    Columns, samples first: `agrees` uint8 [token], `matches` uint8 [token], and `value_cosine` float32, the
    class-value agreement of the sample's class, which is of weights alone.

    Attributes:
        block: number of the block.
        sublayer: attention or mlp.
        top: how many memories count, of a class and of a token.
        label: name of the label that says the class.
    """

    block: int
    sublayer: Sublayer
    top: int = TOP
    label: str = LABEL

    needs_head = True
    needs_gradient = False

    @property
    def sites(self) -> tuple[Site, ...]:
        """The coefficients, and what the sublayer adds."""
        return (Site(str(self.block), _COEFFICIENTS[self.sublayer]), Site(str(self.block), self.sublayer))

    @property
    def labels(self) -> tuple[str, ...]:
        """The class."""
        return (self.label,)

    def key(self) -> dict[str, Any]:
        """Its name and settings."""
        own = {"block": self.block, "sublayer": self.sublayer, "top": self.top, "label": self.label}
        return {"reduction": "memories", **own}

    def columns(self, description: Description, condition: Condition) -> tuple[Column, ...]:
        """Agreement, match and cosine.

        Raises:
            ValueError: a condition that takes tokens away.
        """
        if condition.n_spatial(description.layout) != description.layout.n_spatial:
            raise ValueError("memories are read of all tokens")
        shape = (description.layout.n_tokens,)
        return (
            Column("agrees", shape, "uint8"),
            Column("matches", shape, "uint8"),
            Column("value_cosine", (), "float32"),
        )

    def n_memories(self, description: Description) -> int:
        """Memories of the sublayer."""
        shape = self.sites[0].shape(description)
        return int(torch.Size(shape[1:]).numel())

    def begin(self, forward: ForwardPass) -> Reducer:
        """A reducer for one batch."""
        return _MemoriesReducer(self, forward)


class _MemoriesReducer:
    def __init__(self, reduction: Memories, forward: ForwardPass) -> None:
        head = forward.model.head
        assert head is not None
        self._reduction, self._project = reduction, head.project
        self._classes = true_classes(forward, reduction.label, head.n_classes)
        embeddings = head.linear.weight.detach().float()
        values = value_vectors(forward.model, reduction.block, reduction.sublayer)
        self._favour = favours(embeddings, values)
        self._cosines = class_value_cosines(embeddings, values)
        self._columns: dict[str, Values] = {"value_cosine": self._cosines[self._classes]}
        self._active = torch.empty(0)

    def take(self, site: Site, value: Tensor) -> None:
        if site == self._reduction.sites[0]:
            coefficients = value.flatten(2)
            self._active = coefficients.topk(min(self._reduction.top, coefficients.shape[-1]), dim=-1).indices
            self._columns["agrees"] = agrees(
                self._active, best_memories(self._favour, self._reduction.top)[self._classes]
            )
            return
        favoured = self._favour.argmax(dim=0)[self._active]
        self._columns["matches"] = (favoured == self._project(value).argmax(-1)[..., None]).any(-1)

    def finish(self) -> Mapping[str, Values]:
        return self._columns


def agrees(active: Tensor, best: Bool[Tensor, "batch memories"]) -> Bool[Tensor, "batch tokens"]:
    """Whether any of every token's most active memories [batch token top] is among its image's best ones."""
    index = active.flatten(1)
    return best.gather(1, index).reshape(active.shape).any(-1)
