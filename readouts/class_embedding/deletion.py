"""Deletion: accuracy while image tokens are removed, the least or the most relevant first (section 6 of the paper).

Orders are made and used in one pass over the images, where the activations are: a map for every order, then the model
again on the tokens that are left, a whole batch at once, its cost falling with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from frozen.capture.changes import gathered
from frozen.capture.conditions import Condition, KeepMost
from frozen.capture.reductions import Column, ForwardPass, Reducer, Values
from frozen.capture.sites import Site
from frozen.models import Description
from readouts.class_embedding.memories import other_classes
from readouts.class_embedding.patches import MASK, class_shares
from readouts.class_embedding.ranks import LABEL, true_classes
from readouts.class_embedding.relevancy import Loss, Read, Reads, Softmax, chefer_relevancy

Order = Literal["relevancy", "chefer", "mask", "random", "logit", "other_class", "probe"]
ORDERS: tuple[Order, ...] = get_args(Order)
OF_GRADIENTS: tuple[Order, ...] = ("relevancy", "logit", "other_class")
"""Orders that need a small backward pass a block."""
PROBE_RANKS = "probe_ranks"
"""The label that the order `probe` needs: minus the sum of the ranks by every block's probe [samples spatial]."""
ENDS = ("most", "least")
"""Which tokens are kept: the most relevant ones (the paper's negative perturbation) or the least (its positive)."""


def kept_counts(n_tokens: int, steps: int | None) -> tuple[int, ...]:
    """Numbers of tokens at which accuracy is taken, from none to all; None for every number."""
    every = np.arange(n_tokens + 1) if steps is None else np.linspace(0, n_tokens, min(steps, n_tokens) + 1).round()
    return tuple(int(n) for n in np.unique(every))


@dataclass(frozen=True)
class Deletion:
    """Whether each image is still classified rightly with n of its tokens left, for several orders.

    Columns, samples first: `correct` float32 [order end count], means over the random orders for those; `maps`
    float32 [order spatial], what tokens are ordered by (of random, the first order).

    Attributes:
        n_blocks: of the model.
        counts: numbers of tokens that are kept; none for maps alone.
        orders: relevancy; logit, by the gradient of the class's logit in place of the loss; other_class, the
            relevancy for another class, a control; chefer; mask (the share of the class, an oracle); probe, whose
            maps are a label; and random.
        softmax: of relevancy.
        n_random: random orders, each shared by all images.
        seed: of the random orders and of the other classes.
        ends: which tokens are kept, most and least.
        label: name of the label that says the class.
    """

    n_blocks: int
    counts: tuple[int, ...]
    orders: tuple[Order, ...]
    softmax: Softmax = "single"
    n_random: int = 1
    seed: int = 0
    ends: tuple[str, ...] = ENDS
    label: str = LABEL

    needs_head = True
    needs_gradient = False

    @property
    def sites(self) -> tuple[Site, ...]:
        """Values, heads and attention of every block; of orders that read none, the embedding."""
        if not {*OF_GRADIENTS} & {*self.orders}:
            return (Site("embed"),)
        parts: tuple[Any, ...] = ("values", "heads", "attention")
        return tuple(Site(str(block), part) for block in range(self.n_blocks) for part in parts)

    @property
    def labels(self) -> tuple[str, ...]:
        """The class, and for the oracle its mask, for probes their ranks."""
        own = {"mask": MASK, "probe": PROBE_RANKS}
        return (self.label, *(name for order, name in own.items() if order in self.orders))

    def key(self) -> dict[str, Any]:
        """Its name and settings."""
        return {
            "reduction": "deletion",
            "blocks": self.n_blocks,
            "counts": list(self.counts),
            "orders": list(self.orders),
            "softmax": self.softmax,
            "n_random": self.n_random,
            "seed": self.seed,
            "label": self.label,
            **({} if self.ends == ENDS else {"ends": list(self.ends)}),
        }

    def columns(self, description: Description, condition: Condition) -> tuple[Column, ...]:
        """Correctness of every order, end and count, and the maps."""
        del condition
        n_orders = len(self.orders)
        return (
            Column("correct", (n_orders, len(self.ends), len(self.counts)), "float32"),
            Column("maps", (n_orders, description.layout.n_spatial), "float32"),
        )

    def begin(self, forward: ForwardPass) -> Reducer:
        """A reducer for one batch."""
        return _DeletionReducer(self, forward)


def refusal(description: Description) -> str | None:
    """Why a model has no such curves, or None."""
    if not description.layout.has_cls:
        return "relevancy is of what CLS reads, and it has no CLS token"
    if reason := KeepMost(0, "").refusal(description):
        return reason
    sites = (Site("0", "values"), Site("0", "heads"), Site("0", "attention"))
    return next((reason for site in sites if (reason := site.refusal(description))), None)


class _DeletionReducer:
    def __init__(self, reduction: Deletion, forward: ForwardPass) -> None:
        head = forward.model.head
        assert head is not None
        self._reduction, self._forward, self._head = reduction, forward, head
        self._classes = true_classes(forward, reduction.label, head.n_classes)
        self._reads = Reads(forward.model)
        self._relevancy: dict[Order, Tensor] = {}

    def take(self, site: Site, value: Tensor) -> None:
        if read := self._reads.take(site, value):
            self._add(read)

    def _add(self, read: Read) -> None:
        for order in OF_GRADIENTS:
            if order in self._reduction.orders:
                loss: Loss = "logit" if order == "logit" else self._reduction.softmax
                classes = self._others() if order == "other_class" else self._classes
                found = read.relevancy(self._head, classes, loss)
                map_of_block = found.sum(1)[:, self._forward.layout.n_prefix :]
                before = self._relevancy.get(order)
                self._relevancy[order] = map_of_block if before is None else before + map_of_block

    def _others(self) -> Int[Tensor, " batch"]:
        others = torch.from_numpy(other_classes(self._head.n_classes, self._reduction.seed))
        return others.to(self._classes.device)[self._classes]

    def finish(self) -> Mapping[str, Values]:
        maps: list[Tensor] = []
        correct: list[Tensor] = []
        for order in self._reduction.orders:
            candidates = self._maps(order)
            maps.append(candidates[0])
            runs = [self._curves(one.argsort(dim=1, descending=True, stable=True)) for one in candidates]
            correct.append(torch.stack(runs).mean(0))
        return {"correct": torch.stack(correct, dim=1), "maps": torch.stack(maps, dim=1)}

    def _maps(self, order: Order) -> list[Float[Tensor, "batch spatial"]]:
        """What the tokens are ordered by; of random orders, several."""
        layout, device = self._forward.layout, self._classes.device
        if order in OF_GRADIENTS:
            return [self._relevancy[order]]
        if order == "chefer":
            return [chefer_relevancy(self._forward, self._classes)]
        if order == "probe":
            ranks = np.asarray(self._forward.batch.labels[PROBE_RANKS], dtype=np.float32)
            return [torch.from_numpy(ranks).to(device)]
        if order == "mask":
            masks = np.asarray(self._forward.batch.labels[MASK], dtype=bool)
            return [torch.from_numpy(class_shares(masks, layout.grid)).to(device)]
        n_images = len(self._classes)
        return [
            torch.from_numpy(random_map(layout.n_spatial, self._reduction.seed, number))
            .to(device)
            .expand(n_images, -1)
            for number in range(self._reduction.n_random)
        ]

    def _curves(self, order: Int[Tensor, "batch spatial"]) -> Float[Tensor, "batch end count"]:
        if not self._reduction.counts:
            return torch.zeros(len(order), len(self._reduction.ends), 0)
        ends = [
            torch.stack([self._right(order, n, end) for n in self._reduction.counts], dim=1)
            for end in self._reduction.ends
        ]
        return torch.stack(ends, dim=1)

    def _right(self, order: Tensor, n: int, end: str) -> Float[Tensor, " batch"]:
        chosen = order[:, :n] if end == "most" else order[:, order.shape[1] - n :]
        trunk = self._forward.model.trunk
        assert trunk is not None
        with torch.inference_mode(), gathered(trunk, chosen.sort(dim=1).values, self._forward.layout):
            logits = self._head.pooled(trunk.run(self._forward.batch.images))
        return (logits.argmax(-1) == self._classes).float()


def random_map(n_tokens: int, seed: int, number: int) -> Float[np.ndarray, " spatial"]:
    """What orders tokens at random, the same for every image."""
    return np.random.default_rng([seed, 3, number]).permutation(n_tokens).astype(np.float32)


def area(correct: Float[np.ndarray, "images count"], counts: tuple[int, ...]) -> Float[np.ndarray, " images"]:
    """Area below every image's curve over the share of tokens kept, by trapezoids; its mean is the curve's."""
    return np.asarray(np.trapezoid(correct.astype(np.float64), np.asarray(counts) / counts[-1], axis=1))


def paper_area(correct: Float[np.ndarray, "images count"], counts: tuple[int, ...]) -> Float[np.ndarray, " images"]:
    """The paper's: sum over n = 1 .. N - 1 of accuracy, divided by N and by the largest; its mean is the AUC."""
    inner = [place for place, n in enumerate(counts) if 0 < n < counts[-1]]
    largest = correct[:, inner].mean(0).max()
    return correct[:, inner].sum(1, dtype=np.float64) / (counts[-1] * max(float(largest), 1e-12))
