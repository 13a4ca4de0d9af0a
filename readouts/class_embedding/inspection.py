"""Single memories: which classes they favour and in which images they fire (section 5.2 of the paper)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from frozen.capture.conditions import Condition
from frozen.capture.reductions import Column, ForwardPass, Reducer, Values
from frozen.capture.sites import Site
from frozen.models import Description
from readouts.class_embedding.memories import TOP, favours
from readouts.class_embedding.ranks import LABEL, true_classes
from readouts.class_embedding.sublayers import COEFFICIENTS, Sublayer, VectorRule, value_vectors


@dataclass(frozen=True)
class MemoryPeaks:
    """Of some memories of a sublayer: how strongly each image drives them, where, and what they say of its class.

    Columns, samples first, all [memory]: `peak` float32, the largest coefficient among the tokens, CLS included;
    `place` uint16, the token; `fires` uint8, whether any token has the memory among its `top` most active;
    `favour` float32, how much the value vector favours the image's class (an entry of E W).

    Attributes:
        block: number of the block.
        sublayer: attention or mlp.
        memories: their numbers.
        vectors: raw or folded value vectors.
        top: how many memories of a token count as active.
        label: name of the label that says the class.
    """

    block: int
    sublayer: Sublayer
    memories: tuple[int, ...]
    vectors: VectorRule = "folded"
    top: int = TOP
    label: str = LABEL

    needs_head = True
    needs_gradient = False

    @property
    def sites(self) -> tuple[Site, ...]:
        """The coefficients."""
        return (Site(str(self.block), COEFFICIENTS[self.sublayer]),)

    @property
    def labels(self) -> tuple[str, ...]:
        """The class."""
        return (self.label,)

    def key(self) -> dict[str, Any]:
        """Its name and settings."""
        return {
            "reduction": "memory_peaks",
            "block": self.block,
            "sublayer": self.sublayer,
            "memories": list(self.memories),
            "vectors": self.vectors,
            "top": self.top,
            "label": self.label,
        }

    def columns(self, description: Description, condition: Condition) -> tuple[Column, ...]:
        """Peak, place, whether it fires, and favour.

        Raises:
            ValueError: a condition that takes tokens away.
        """
        if condition.n_spatial(description.layout) != description.layout.n_spatial:
            raise ValueError("memories are read of all tokens")
        shape = (len(self.memories),)
        types = {"peak": "float32", "place": "uint16", "fires": "uint8", "favour": "float32"}
        return tuple(Column(name, shape, dtype) for name, dtype in types.items())

    def begin(self, forward: ForwardPass) -> Reducer:
        """A reducer for one batch."""
        return _MemoryPeaksReducer(self, forward)


class _MemoryPeaksReducer:
    def __init__(self, reduction: MemoryPeaks, forward: ForwardPass) -> None:
        head = forward.model.head
        assert head is not None
        values = value_vectors(forward.model, reduction.block, reduction.sublayer, reduction.vectors)
        self._chosen = torch.tensor(reduction.memories, device=values.device)
        favour = favours(head.linear.weight.detach().float(), values[:, self._chosen])
        self._top = reduction.top
        self._columns: dict[str, Values] = {"favour": favour[true_classes(forward, reduction.label, head.n_classes)]}

    def take(self, site: Site, value: Tensor) -> None:
        del site
        coefficients = value.flatten(2)
        active = coefficients.topk(min(self._top, coefficients.shape[-1]), dim=-1).indices
        peak, place = coefficients[:, :, self._chosen].max(dim=1)
        fires = (active[..., None] == self._chosen).flatten(1, 2).any(1)
        self._columns |= {"peak": peak.float(), "place": place, "fires": fires}

    def finish(self) -> Mapping[str, Values]:
        return self._columns
