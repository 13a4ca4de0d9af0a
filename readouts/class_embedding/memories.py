"""Sublayers as key-value memories: which rows of the output matrices stand for which class (section 5 of the paper).

Memory j of a sublayer is column j of its output matrix W (attn.proj or mlp.fc2), and its coefficient K_j what that
matrix reads. U = E W, with the class embeddings E, says how much each value vector favours each class. The paper
takes the columns as they stand; folded, they are what of a memory reaches the classifier behind scale and norms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import comb
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from frozen.capture.conditions import Condition
from frozen.capture.reductions import Column, ForwardPass, Reducer, Values
from frozen.capture.sites import Site
from frozen.models import Backbone, Description
from readouts.class_embedding.ranks import LABEL, true_classes
from readouts.class_embedding.sublayers import COEFFICIENTS, Sublayer, VectorRule, value_vectors

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


def other_classes(n_classes: int, seed: int) -> Int[np.ndarray, " classes"]:
    """Another class for every class, drawn at random: each is another's once, and none its own."""
    order = np.random.default_rng([seed, 5]).permutation(n_classes)
    others = np.empty(n_classes, dtype=np.int64)
    others[order] = np.roll(order, -1)
    return others


class OfWeights(NamedTuple):
    """What the weights of a sublayer and the classifier say."""

    best: Bool[Tensor, "classes memories"]
    """The memories that favour each class most."""
    favoured: Int[Tensor, " memories"]
    """The class that each memory favours most."""
    cosines: Float[Tensor, " classes"]
    """Class-value agreement."""


_KNOWN: WeakKeyDictionary[nn.Module, dict[tuple[Sublayer, int, VectorRule], OfWeights]] = WeakKeyDictionary()
"""By block: models are frozen, and E W costs more than a small batch's forward pass."""


def of_weights(model: Backbone, block: int, sublayer: Sublayer, top: int, vectors: VectorRule = "raw") -> OfWeights:
    """What follows from the weights of a loaded model, made once."""
    assert model.trunk is not None
    assert model.head is not None
    known = _KNOWN.setdefault(model.trunk.blocks[block], {})
    if (sublayer, top, vectors) not in known:
        embeddings = model.head.linear.weight.detach().float()
        values = value_vectors(model, block, sublayer, vectors)
        favour = favours(embeddings, values)
        cosines = class_value_cosines(embeddings, values)
        known[sublayer, top, vectors] = OfWeights(best_memories(favour, top), favour.argmax(dim=0), cosines)
    return known[sublayer, top, vectors]


@dataclass(frozen=True)
class Memories:
    """Of every token: whether its most active memories are its class's, and whether they favour what comes out.

    Columns, samples first: `agrees` uint8 [token], `matches` uint8 [token], and `value_cosine` float32, the
    class-value agreement of the sample's class, which is of weights alone. With `other_seed`, `agrees_other` uint8
    [token] too: whether the active memories are those of another class.

    Attributes:
        block: number of the block.
        sublayer: attention or mlp.
        top: how many memories count, of a class and of a token.
        vectors: raw or folded value vectors.
        other_seed: draws another class for every class, a control; None for none.
        label: name of the label that says the class.
    """

    block: int
    sublayer: Sublayer
    top: int = TOP
    vectors: VectorRule = "raw"
    other_seed: int | None = None
    label: str = LABEL

    needs_head = True
    needs_gradient = False

    @property
    def sites(self) -> tuple[Site, ...]:
        """The coefficients, and what the sublayer adds."""
        return (Site(str(self.block), COEFFICIENTS[self.sublayer]), Site(str(self.block), self.sublayer))

    @property
    def labels(self) -> tuple[str, ...]:
        """The class."""
        return (self.label,)

    def key(self) -> dict[str, Any]:
        """Its name and settings."""
        own = {"block": self.block, "sublayer": self.sublayer, "top": self.top, "label": self.label}
        added = {} if self.vectors == "raw" else {"vectors": self.vectors}
        if self.other_seed is not None:
            added["other_seed"] = str(self.other_seed)
        return {"reduction": "memories", **own, **added}

    def columns(self, description: Description, condition: Condition) -> tuple[Column, ...]:
        """Agreement, match and cosine.

        Raises:
            ValueError: a condition that takes tokens away.
        """
        if condition.n_spatial(description.layout) != description.layout.n_spatial:
            raise ValueError("memories are read of all tokens")
        shape = (description.layout.n_tokens,)
        names = ("agrees", "matches", "agrees_other") if self.other_seed is not None else ("agrees", "matches")
        return (*(Column(name, shape, "uint8") for name in names), Column("value_cosine", (), "float32"))

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
        self._known = of_weights(forward.model, reduction.block, reduction.sublayer, reduction.top, reduction.vectors)
        self._columns: dict[str, Values] = {"value_cosine": self._known.cosines[self._classes]}
        self._active = torch.empty(0)

    def take(self, site: Site, value: Tensor) -> None:
        if site == self._reduction.sites[0]:
            coefficients = value.flatten(2)
            self._active = coefficients.topk(min(self._reduction.top, coefficients.shape[-1]), dim=-1).indices
            self._columns["agrees"] = agrees(self._active, self._known.best[self._classes])
            if self._reduction.other_seed is not None:
                best = self._known.best
                others = torch.from_numpy(other_classes(len(best), self._reduction.other_seed)).to(best.device)
                self._columns["agrees_other"] = agrees(self._active, best[others[self._classes]])
            return
        favoured = self._known.favoured[self._active]
        self._columns["matches"] = (favoured == self._project(value).argmax(-1)[..., None]).any(-1)

    def finish(self) -> Mapping[str, Values]:
        return self._columns


def agrees(active: Tensor, best: Bool[Tensor, "batch memories"]) -> Bool[Tensor, "batch tokens"]:
    """Whether any of every token's most active memories [batch token top] is among its image's best ones."""
    index = active.flatten(1)
    return best.gather(1, index).reshape(active.shape).any(-1)
