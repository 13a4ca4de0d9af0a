"""Class projection: the rank of the true class among the logits of every token (section 3.2 of the paper).

P(x) = head(fc_norm(norm(x))) for every token x. The rank of the true class c is the number of classes with a larger
logit, plus half of those with an equal one (mid-rank). It is kept twice, as a whole number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from frozen.capture.conditions import Condition
from frozen.capture.reductions import Column, ForwardPass, Reducer, Values
from frozen.capture.sites import Site
from frozen.models import Description

ABSENT = 65_535
"""Stands where a condition left no token, and where there are fewer classes than asked for."""
MOST_CLASSES = 32_767
"""Twice a rank fits in 16 bits."""
LABEL = "class"
"""The label that says the true class of an image."""


def twice_ranks(logits: Float[Tensor, "*tokens classes"], true: Int[Tensor, "*tokens"]) -> Int[Tensor, "*tokens"]:
    """Twice the mid-rank of one class a token: 0 where its logit is the only largest one."""
    own = logits.gather(-1, true[..., None])
    return 2 * (logits > own).sum(-1) + (logits == own).sum(-1) - 1


@dataclass(frozen=True)
class ClassRanks:
    """Of every token at one site: twice the rank of its image's class, that class's logit, and the best classes.

    Columns, samples first: `ranks` uint16 [token], `logits` float32 [token], `best` uint16 [token n_best]. Tokens
    that a condition takes away hold ABSENT, their logits NaN.

    Attributes:
        site: with tokens of the width of the residual stream; or `logits`, the model's own output, as one token.
        n_best: how many of the best classes are kept, the best first.
        label: name of the label that says the class, int64 [samples].
    """

    site: Site
    n_best: int = 5
    label: str = LABEL

    needs_head = True
    needs_gradient = False

    @property
    def sites(self) -> tuple[Site, ...]:
        """The one."""
        return (self.site,)

    @property
    def labels(self) -> tuple[str, ...]:
        """The class."""
        return (self.label,)

    def key(self) -> dict[str, Any]:
        """Its name and settings."""
        return {"reduction": "class_ranks", "site": str(self.site), "label": self.label, "n_best": self.n_best}

    def columns(self, description: Description, condition: Condition) -> tuple[Column, ...]:
        """Twice the ranks, the logits and the best classes.

        Raises:
            ValueError: more classes than a rank can count.
        """
        del condition
        if description.n_classes > MOST_CLASSES:
            raise ValueError(f"ranks are counted among at most {MOST_CLASSES} classes, got {description.n_classes}")
        n_tokens = description.layout.n_tokens if self.site.has_tokens else 1
        return (
            Column("ranks", (n_tokens,), "uint16"),
            Column("logits", (n_tokens,), "float32", may_be_missing=True),
            Column("best", (n_tokens, self.n_best), "uint16"),
        )

    def begin(self, forward: ForwardPass) -> Reducer:
        """A reducer for one batch."""
        return _ClassRanksReducer(self, forward)


class _ClassRanksReducer:
    def __init__(self, reduction: ClassRanks, forward: ForwardPass) -> None:
        self._reduction, self._forward = reduction, forward
        self._columns: dict[str, Values] = {}

    def take(self, site: Site, value: Tensor) -> None:
        head = self._forward.model.head
        assert head is not None
        logits = head.project(value) if site.has_tokens else value[:, None]
        classes = true_classes(self._forward, self._reduction.label, logits.shape[-1])
        true = classes[:, None].expand(logits.shape[:2])
        n_best = min(self._reduction.n_best, logits.shape[-1])
        best = logits.topk(n_best, dim=-1).indices if n_best > 1 else logits.argmax(-1, keepdim=True)
        missing = self._reduction.n_best - n_best
        best = torch.nn.functional.pad(best, (0, missing), value=ABSENT)
        self._columns = {
            "ranks": self._placed(site, twice_ranks(logits, true), ABSENT),
            "logits": self._placed(site, logits.gather(-1, true[..., None])[..., 0].float(), float("nan")),
            "best": self._placed(site, best, ABSENT),
        }

    def _placed(self, site: Site, values: Tensor, absent: float) -> Tensor:
        return in_all_places(values, self._forward, absent) if site.has_tokens else values

    def finish(self) -> Mapping[str, Values]:
        return self._columns


def true_classes(forward: ForwardPass, label: str, n_classes: int) -> Int[Tensor, " batch"]:
    """The classes of a batch.

    Raises:
        ValueError: a class that the classifier does not have.
    """
    classes = forward.shared(("classes", label), lambda: _classes(forward, label))
    if int(classes.max()) >= n_classes or int(classes.min()) < 0:
        raise ValueError(
            f"the data set has a class {int(classes.max())}, the classifier of {forward.model.identity} has classes "
            f"0 to {n_classes - 1}; choose the model that was trained on these classes"
        )
    return classes


def _classes(forward: ForwardPass, label: str) -> Tensor:
    device = forward.model.trunk.device if forward.model.trunk else torch.device("cpu")
    return torch.as_tensor(forward.batch.labels[label], dtype=torch.int64, device=device)


def in_all_places(values: Tensor, forward: ForwardPass, absent: float) -> Tensor:
    """Values of tokens [batch token ...] in the places that they have when no token is taken away."""
    if forward.positions is None:
        return values
    layout = forward.model.description.layout
    whole = values.new_full((len(values), layout.n_tokens, *values.shape[2:]), absent)
    whole[:, : layout.n_prefix] = values[:, : layout.n_prefix]
    places = forward.positions + layout.n_prefix
    index = places.reshape(*places.shape, *(1 for _ in values.shape[2:])).expand_as(values[:, layout.n_prefix :])
    return whole.scatter(1, index, values[:, layout.n_prefix :])
