"""Relevancy of image tokens apart for every block and head (section 6 of the paper: maps of single heads)."""

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
from readouts.class_embedding.ranks import LABEL, true_classes
from readouts.class_embedding.relevancy import Reads, Softmax


@dataclass(frozen=True)
class HeadRelevancy:
    """What every head of every block finds relevant for the image's class.

    Columns, samples first: `relevancy` float32 [block head spatial]; their sum over blocks and heads is the map of
    the order `relevancy` of `Deletion`. It takes 0.11 MB an image of a B/16.

    Attributes:
        n_blocks: of the model.
        softmax: single or double.
        label: name of the label that says the class.
    """

    n_blocks: int
    softmax: Softmax = "single"
    label: str = LABEL

    needs_head = True
    needs_gradient = False

    @property
    def sites(self) -> tuple[Site, ...]:
        """Values, heads and attention of every block."""
        parts: tuple[Any, ...] = ("values", "heads", "attention")
        return tuple(Site(str(block), part) for block in range(self.n_blocks) for part in parts)

    @property
    def labels(self) -> tuple[str, ...]:
        """The class."""
        return (self.label,)

    def key(self) -> dict[str, Any]:
        """Its name and settings."""
        return {
            "reduction": "head_relevancy",
            "blocks": self.n_blocks,
            "softmax": self.softmax,
            "label": self.label,
        }

    def columns(self, description: Description, condition: Condition) -> tuple[Column, ...]:
        """One map a block and head."""
        del condition
        n_heads = n_heads_of(description)
        return (Column("relevancy", (self.n_blocks, n_heads, description.layout.n_spatial), "float32"),)

    def begin(self, forward: ForwardPass) -> Reducer:
        """A reducer for one batch."""
        return _HeadRelevancyReducer(self, forward)


def n_heads_of(description: Description) -> int:
    """Heads of a block."""
    return Site("0", "heads").shape(description)[1]


class _HeadRelevancyReducer:
    def __init__(self, reduction: HeadRelevancy, forward: ForwardPass) -> None:
        head = forward.model.head
        assert head is not None
        self._reduction, self._forward, self._head = reduction, forward, head
        self._classes = true_classes(forward, reduction.label, head.n_classes)
        self._reads = Reads(forward.model)
        self._maps: list[Tensor] = []

    def take(self, site: Site, value: Tensor) -> None:
        if read := self._reads.take(site, value):
            found = read.relevancy(self._head, self._classes, self._reduction.softmax)
            self._maps.append(found[:, :, self._forward.layout.n_prefix :])

    def finish(self) -> Mapping[str, Values]:
        return {"relevancy": torch.stack(self._maps, dim=1)}
