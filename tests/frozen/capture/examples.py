"""Reductions as a read-out would write them: several typed columns, strings and lists, a gradient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from frozen.capture.conditions import Condition
from frozen.capture.reductions import TEXT, Column, ForwardPass, Reducer, Values
from frozen.capture.sites import Site
from frozen.models import Description


@dataclass(frozen=True)
class ClassRanks:
    """Rank and logit of each token's true class, and its best classes, in the class projection of some sites."""

    sites: tuple[Site, ...]
    label: str
    n_best: int = 5

    needs_head = True
    needs_gradient = False

    @property
    def labels(self) -> tuple[str, ...]:
        return (self.label,)

    def key(self) -> dict[str, Any]:
        sites = [str(site) for site in self.sites]
        return {"reduction": "class_ranks", "sites": sites, "label": self.label, "n_best": self.n_best}

    def columns(self, description: Description, condition: Condition) -> tuple[Column, ...]:
        if condition.n_spatial(description.layout) is None:
            raise ValueError("class ranks need the same number of tokens in every sample")
        tokens = description.layout.n_prefix + (condition.n_spatial(description.layout) or 0)
        found: list[Column] = []
        for site in self.sites:
            found += [
                Column(f"{site}.rank", (tokens,), "uint16"),
                Column(f"{site}.logit", (tokens,), "float32"),
                Column(f"{site}.best", (tokens, self.n_best), "uint16"),
            ]
        return tuple(found)

    def begin(self, forward: ForwardPass) -> Reducer:
        return _ClassRanksReducer(self, forward)


class _ClassRanksReducer:
    def __init__(self, reduction: ClassRanks, forward: ForwardPass) -> None:
        assert forward.model.head is not None
        self._project = forward.model.head.project
        self._classes = torch.from_numpy(forward.batch.labels[reduction.label])
        self._n_best = reduction.n_best
        self._columns: dict[str, Values] = {}

    def take(self, site: Site, value: Tensor) -> None:
        logits = self._project(value)
        true = logits.gather(-1, self._classes[:, None, None].expand(-1, logits.shape[1], 1))
        self._columns[f"{site}.rank"] = (logits > true).sum(-1)
        self._columns[f"{site}.logit"] = true[..., 0]
        self._columns[f"{site}.best"] = logits.topk(self._n_best, dim=-1).indices

    def finish(self) -> Mapping[str, Values]:
        return self._columns


@dataclass(frozen=True)
class Names:
    """The image's class in words, and which of its tokens agree, with their logits."""

    site: Site
    words: tuple[str, ...] = field(repr=False)

    labels = ()
    needs_head = False
    needs_gradient = False

    @property
    def sites(self) -> tuple[Site, ...]:
        return (self.site, Site("final", "logits"))

    def key(self) -> dict[str, Any]:
        return {"reduction": "names", "site": str(self.site), "words": list(self.words)}

    def columns(self, description: Description, condition: Condition) -> tuple[Column, ...]:
        return (
            Column("word", dtype=TEXT),
            Column("tokens", None, "int32"),
            Column("token_logits", None, "float32"),
            Column("token_words", None, TEXT),
        )

    def begin(self, forward: ForwardPass) -> Reducer:
        return _NamesReducer(self)


class _NamesReducer:
    def __init__(self, reduction: Names) -> None:
        self._reduction = reduction
        self._of_tokens: Tensor | None = None
        self._of_image: Tensor | None = None

    def take(self, site: Site, value: Tensor) -> None:
        if site == self._reduction.site:
            self._of_tokens = value
        else:
            self._of_image = value.argmax(-1)

    def finish(self) -> Mapping[str, Values]:
        assert self._of_tokens is not None
        assert self._of_image is not None
        words, classes = self._reduction.words, self._of_image
        best, ids = self._of_tokens.max(-1)
        agrees = [(ids[i] == classes[i]).nonzero().flatten() for i in range(len(ids))]
        return {
            "word": [words[int(c)] for c in classes],
            "tokens": agrees,
            "token_logits": [best[i][where] for i, where in enumerate(agrees)],
            "token_words": [[words[int(c)] for c in row[:3]] for row in ids],
        }


@dataclass(frozen=True)
class Relevancy:
    """Relevancy of every image token for the true class in one block, by head (class_embedding, closed form).

    l = cross-entropy of softmax(P(a_b)) at CLS, softmax applied twice as in the original; with g = dl/dK at CLS, the
    derivative by the attention weight of head h at token j is <g[h], V[h, j]>.
    """

    block: str
    label: str
    double_softmax: bool = True

    needs_head = True
    needs_gradient = True

    @property
    def sites(self) -> tuple[Site, ...]:
        return tuple(Site(self.block, part) for part in ("values", "heads", "attention"))  # pyright: ignore

    @property
    def labels(self) -> tuple[str, ...]:
        return (self.label,)

    def key(self) -> dict[str, Any]:
        return {"reduction": "relevancy", "block": self.block, "label": self.label, "double": self.double_softmax}

    def columns(self, description: Description, condition: Condition) -> tuple[Column, ...]:
        heads = Site(self.block, "heads").shape(description)[1]
        return (Column("relevancy", (heads, description.layout.n_spatial), "float64"),)

    def begin(self, forward: ForwardPass) -> Reducer:
        return _RelevancyReducer(self, forward)


class _RelevancyReducer:
    def __init__(self, reduction: Relevancy, forward: ForwardPass) -> None:
        self._reduction, self._forward = reduction, forward
        self._taken: dict[str, Tensor] = {}

    def take(self, site: Site, value: Tensor) -> None:
        self._taken[site.part] = value

    def finish(self) -> Mapping[str, Values]:
        head = self._forward.model.head
        assert head is not None
        classes = torch.from_numpy(self._forward.batch.labels[self._reduction.label])
        logits = head.project(self._taken["attention"])[:, 0]
        scores = logits.softmax(-1) if self._reduction.double_softmax else logits
        loss = torch.nn.functional.cross_entropy(scores, classes, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, self._taken["heads"])
        values = self._taken["values"][:, self._forward.layout.n_prefix :]
        return {"relevancy": -torch.einsum("bhd,bnhd->bhn", gradient[:, 0], values)}


@dataclass(frozen=True)
class LogitGradient:
    """Gradient of the image's own logit of the true class by a site, as its length at every token."""

    site: Site
    label: str

    needs_head = False
    needs_gradient = True

    @property
    def sites(self) -> tuple[Site, ...]:
        return (self.site, Site("final", "logits"))

    @property
    def labels(self) -> tuple[str, ...]:
        return (self.label,)

    def key(self) -> dict[str, Any]:
        return {"reduction": "logit_gradient", "site": str(self.site), "label": self.label}

    def columns(self, description: Description, condition: Condition) -> tuple[Column, ...]:
        return (Column("gradient", self.site.shape(description), "float64"),)

    def begin(self, forward: ForwardPass) -> Reducer:
        return _LogitGradientReducer(self, forward)


class _LogitGradientReducer:
    def __init__(self, reduction: LogitGradient, forward: ForwardPass) -> None:
        self._classes = torch.from_numpy(forward.batch.labels[reduction.label])
        self._site = reduction.site
        self._taken: dict[Site, Tensor] = {}

    def take(self, site: Site, value: Tensor) -> None:
        self._taken[site] = value

    def finish(self) -> Mapping[str, Values]:
        logits = self._taken[Site("final", "logits")].gather(1, self._classes[:, None])
        (gradient,) = torch.autograd.grad(logits.sum(), self._taken[self._site])
        return {"gradient": gradient}
