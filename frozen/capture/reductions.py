"""Reductions: what is kept of the sites of a forward pass, as typed columns of a table.

A reduction is a frozen value; for every batch it begins a reducer, which is fed tensor by tensor on the device, so
that tokens and logits never leave it unless they are what is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor

from frozen.capture.conditions import Condition
from frozen.capture.sites import Site
from frozen.capture.views import Mode, read, refuses
from frozen.models import Backbone, Batch, Description, TokenLayout

T = TypeVar("T")
TEXT = "string"
"""The type of a column of strings."""


class Column(NamedTuple):
    """One column of a table.

    Attributes:
        name: of the column.
        shape: of one sample's numbers, () for one; None for lists whose lengths differ.
        dtype: numpy's name of the type, or `string`; None for the type that the study stores activations in.
        may_be_missing: whether numbers that are not finite are answers, and not a sign that something went wrong.
    """

    name: str
    shape: tuple[int, ...] | None = ()
    dtype: str | None = None
    may_be_missing: bool = False


Values = Tensor | Sequence[Any]
"""A batch of a column, samples first: a tensor of fixed shape, or strings, or lists (or arrays) of any length."""


@dataclass(frozen=True)
class ForwardPass:
    """One batch on its way through a model.

    Attributes:
        model: with its trunk, and with head and decoder where they are asked for.
        batch: the samples, with the labels that were asked for.
        condition: under which the model runs.
        positions: of the spatial tokens that each sample keeps [batch kept]; None where all are kept.
    """

    model: Backbone
    batch: Batch
    condition: Condition
    positions: Int[Tensor, "batch kept"] | None = None
    _shared: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def layout(self) -> TokenLayout:
        """Of the last layer's tokens that are there; those that a condition keeps stand in one row."""
        return self.layout_of("final")

    def layout_of(self, layer: str) -> TokenLayout:
        """Of a layer's tokens, likewise."""
        layout = self.model.description.layout_of(layer)
        return layout if self.positions is None else layout._replace(grid=(1, self.positions.shape[1]))

    def shared(self, key: Any, make: Callable[[], T]) -> T:
        """What `make` gives, made once for all reducers of the pass."""
        if key not in self._shared:
            self._shared[key] = make()
        return self._shared[key]


@runtime_checkable
class Reducer(Protocol):
    """Works on one batch."""

    def take(self, site: Site, value: Tensor) -> None:
        """See one site [batch ...], in the order of the forward pass: float32, on the device.

        It must not be written to. With a gradient it is part of the graph, else it has none.
        """
        ...

    def finish(self) -> Mapping[str, Values]:
        """The batch's part of every column."""
        ...


@runtime_checkable
class Reduction(Protocol):
    """What is kept: a frozen, hashable value."""

    @property
    def sites(self) -> tuple[Site, ...]:
        """What it reads, blocks counted from the first."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of what it has to know of every sample."""
        ...

    @property
    def needs_head(self) -> bool:
        """Whether it uses the classifier beyond sites of logits."""
        ...

    @property
    def needs_gradient(self) -> bool:
        """Whether the tensors it takes must be part of a graph, so that it can differentiate one by another.

        The graph begins at the block of the first site. Values of EVA and BEiT are computed apart: nothing depends
        on them, and torch says so.
        """
        ...

    def key(self) -> dict[str, Any]:
        """Plain values that say all of it; a part of the key of what is captured."""
        ...

    def columns(self, description: Description, condition: Condition) -> tuple[Column, ...]:
        """Its columns for a model, known without the model's weights.

        Raises:
            ValueError: a model or a condition of which it makes no sense; the message says why.
        """
        ...

    def begin(self, forward: ForwardPass) -> Reducer:
        """A reducer for one batch."""
        ...


@runtime_checkable
class ReadsCaptions(Reduction, Protocol):
    """A reduction that may use the model's caption decoder."""

    @property
    def needs_decoder(self) -> bool:
        """Whether it does."""
        ...


class _ReadsOnly:
    """What reductions without labels, classifier and gradient have in common."""

    labels: tuple[str, ...] = ()
    needs_head = False
    needs_gradient = False


@dataclass(frozen=True)
class View(_ReadsOnly):
    """What a probe sees of a site's tokens: CLS, the mean of the spatial tokens, both, or all but registers.

    Sites with heads are read with the heads one after the other.

    Attributes:
        site: with tokens.
        mode: cls, mean_spatial, cls_mean or all.
    """

    site: Site
    mode: Mode

    @property
    def sites(self) -> tuple[Site, ...]:
        """The one."""
        return (self.site,)

    def key(self) -> dict[str, Any]:
        """Site and mode, by the names under which activations have always been kept."""
        return {"layer": str(self.site), "mode": self.mode}

    def columns(self, description: Description, condition: Condition) -> tuple[Column, ...]:
        """One, `activations`: [dim], or [token dim] for all tokens."""
        layout = description.layout_of(self.site.layer)
        n_spatial = condition.n_spatial(layout)
        if n_spatial is not None:
            layout = layout._replace(grid=(1, n_spatial))
        if not self.site.has_tokens:
            raise ValueError(f"mode {self.mode}: {self.site} has no tokens; keep all of it")
        if reason := refuses(self.mode, layout):
            raise ValueError(reason)
        if self.mode == "all" and n_spatial is None:
            raise ValueError("mode all needs the same number of tokens in every sample")
        width = math.prod(self.site.shape(description)[1:])
        if self.mode == "all":
            return (Column("activations", (layout.has_cls + layout.n_spatial, width)),)
        return (Column("activations", (2 * width if self.mode == "cls_mean" else width,)),)

    def begin(self, forward: ForwardPass) -> Reducer:
        """A reducer; means of one site are computed once for all modes."""
        return _ViewReducer(self, forward)


class _ViewReducer:
    def __init__(self, view: View, forward: ForwardPass) -> None:
        self._view, self._forward = view, forward
        self._value: Tensor | None = None

    def take(self, site: Site, value: Tensor) -> None:
        tokens = value.flatten(2) if value.ndim > 3 else value
        mode, layout = self._view.mode, self._forward.layout_of(site.layer)
        if mode not in ("mean_spatial", "cls_mean") or refuses(mode, layout):
            self._value = read(tokens, mode, layout)
            return
        mean = self._forward.shared(("mean", site), lambda: read(tokens, "mean_spatial", layout))
        self._value = mean if mode == "mean_spatial" else torch.cat([tokens[:, 0], mean], dim=1)

    def finish(self) -> dict[str, Values]:
        assert self._value is not None
        return {"activations": self._value}


@dataclass(frozen=True)
class WholeSite(_ReadsOnly):
    """All of a site, registers too: [token ...], or the image's embedding or logits.

    Attributes:
        site: any.
    """

    site: Site

    @property
    def sites(self) -> tuple[Site, ...]:
        """The one."""
        return (self.site,)

    def key(self) -> dict[str, Any]:
        """The site."""
        return {"reduction": "whole", "site": str(self.site)}

    def columns(self, description: Description, condition: Condition) -> tuple[Column, ...]:
        """One, `activations`, of the site's shape."""
        layout = description.layout_of(self.site.layer)
        n_spatial = condition.n_spatial(layout)
        if n_spatial is None and self.site.has_tokens:
            raise ValueError(f"all of {self.site} needs the same number of tokens in every sample")
        n_tokens = layout.n_prefix + (n_spatial or 0)
        return (Column("activations", self.site.shape(description, n_tokens)),)

    def begin(self, forward: ForwardPass) -> Reducer:
        """A reducer that keeps the tensor."""
        del forward
        return _WholeReducer()


class _WholeReducer:
    def __init__(self) -> None:
        self._value: Tensor | None = None

    def take(self, site: Site, value: Tensor) -> None:
        del site
        self._value = value

    def finish(self) -> dict[str, Values]:
        assert self._value is not None
        return {"activations": self._value}
