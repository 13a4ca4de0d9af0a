"""Conditions: how a forward pass is changed. Equal conditions of equal labels give equal activations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from frozen.capture.changes import attending, gathered, overwritten_weights
from frozen.models import Batch, Description, TokenLayout, Trunk


@runtime_checkable
class Condition(Protocol):
    """A change of a forward pass: a frozen, hashable value."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of what it has to know of every sample."""
        ...

    def key(self) -> dict[str, Any]:
        """Plain values that say all of it, for the keys of what is captured; empty for the unchanged pass."""
        ...

    def refusal(self, description: Description) -> str | None:
        """Why a model cannot run under it, or None if it can."""
        ...

    def counts(self, labels: Mapping[str, np.ndarray], layout: TokenLayout) -> Int[np.ndarray, " samples"] | None:
        """Spatial tokens that each sample keeps; None where all samples keep all."""
        ...

    def n_spatial(self, layout: TokenLayout) -> int | None:
        """The number of spatial tokens, if it is the same for every sample."""
        ...

    def applied(self, trunk: Trunk, batch: Batch, layout: TokenLayout) -> AbstractContextManager[Tensor | None]:
        """A context in which the trunk runs so; it gives the positions [batch kept] of spatial tokens, or None."""
        ...


class _KeepsTokens:
    """What conditions that leave all tokens in their places have in common."""

    labels: tuple[str, ...] = ()

    def counts(self, labels: Mapping[str, np.ndarray], layout: TokenLayout) -> Int[np.ndarray, " samples"] | None:
        """None: every sample keeps all."""
        del labels, layout
        return None

    def n_spatial(self, layout: TokenLayout) -> int | None:
        """All of them."""
        return layout.n_spatial


@dataclass(frozen=True)
class Plain(_KeepsTokens):
    """The forward pass as it is."""

    def key(self) -> dict[str, Any]:
        """Nothing: what is captured of the plain pass is known by what it always was."""
        return {}

    def refusal(self, description: Description) -> str | None:
        """None: every model runs."""
        del description
        return None

    @contextmanager
    def applied(self, trunk: Trunk, batch: Batch, layout: TokenLayout) -> Iterator[None]:
        """Changes nothing."""
        del trunk, batch, layout
        yield None


PLAIN = Plain()


@dataclass(frozen=True)
class SelfOnly(_KeepsTokens):
    """In every block, spatial tokens attend to themselves alone; CLS and registers attend to all, as ever."""

    def key(self) -> dict[str, Any]:
        """Its name."""
        return {"condition": "self_only"}

    def refusal(self, description: Description) -> str | None:
        """A model whose attention can be neither masked nor seen."""
        return _attention_refusal(description, maskable=True)

    @contextmanager
    def applied(self, trunk: Trunk, batch: Batch, layout: TokenLayout) -> Iterator[None]:
        """Rows of spatial tokens become one at themselves: by a mask, or by overwriting the weights."""
        del batch
        allowed = torch.ones(layout.n_tokens, layout.n_tokens, dtype=torch.bool, device=trunk.device)
        allowed[layout.n_prefix :] = torch.eye(layout.n_tokens, dtype=torch.bool, device=trunk.device)[
            layout.n_prefix :
        ]
        with attending(trunk, allowed):
            yield None


@dataclass(frozen=True)
class NoCls(_KeepsTokens):
    """In every block, spatial tokens do not attend to CLS.

    Attributes:
        renormalise: whether their other weights grow to sum to one; else what went to CLS is lost, so that
            the tokens still depend on CLS through how much of them is left.
    """

    renormalise: bool = False

    def key(self) -> dict[str, Any]:
        """Its name and setting."""
        return {"condition": "no_cls", "renormalise": self.renormalise}

    def refusal(self, description: Description) -> str | None:
        """A model without CLS, or one whose attention cannot be changed so."""
        if not description.layout.has_cls:
            return "no_cls needs a CLS token"
        return _attention_refusal(description, maskable=self.renormalise)

    @contextmanager
    def applied(self, trunk: Trunk, batch: Batch, layout: TokenLayout) -> Iterator[None]:
        """The weights of spatial tokens at CLS become zero, after the softmax or within it."""
        del batch
        allowed = torch.ones(layout.n_tokens, layout.n_tokens, dtype=torch.bool, device=trunk.device)
        allowed[layout.n_prefix :, 0] = False
        with ExitStack() as stack:
            if self.renormalise:
                stack.enter_context(attending(trunk, allowed))
            else:
                for parts in trunk.parts:
                    stack.enter_context(overwritten_weights(trunk, parts, allowed, renormalise=False))
            yield None


@dataclass(frozen=True)
class Keep:
    """Only some spatial tokens exist; they keep their positions, and CLS and registers stay.

    Attributes:
        mask: name of the label that says which: bool [samples spatial], rows of the grid one after the other.
        invert: whether those are the ones that go.
    """

    mask: str
    invert: bool = False

    @property
    def labels(self) -> tuple[str, ...]:
        """The mask."""
        return (self.mask,)

    def key(self) -> dict[str, Any]:
        """Its name, the label's, and whether it is inverted."""
        return {"condition": "keep", "mask": self.mask, "invert": self.invert}

    def refusal(self, description: Description) -> str | None:
        """A model whose tokens cannot be chosen."""
        return _choice_refusal(description)

    def counts(self, labels: Mapping[str, np.ndarray], layout: TokenLayout) -> Int[np.ndarray, " samples"] | None:
        """How many tokens the mask leaves each sample."""
        return self._chosen(labels, layout).sum(axis=1)

    def n_spatial(self, layout: TokenLayout) -> int | None:
        """None: samples differ."""
        del layout

    def applied(self, trunk: Trunk, batch: Batch, layout: TokenLayout) -> AbstractContextManager[Tensor | None]:
        """Gathers the tokens before the first block.

        Raises:
            ValueError: samples of one batch that keep different numbers of tokens.
        """
        chosen = self._chosen(batch.labels, layout)
        if len(set(chosen.sum(axis=1))) > 1:
            raise ValueError("samples of one batch must keep the same number of tokens; batch them by `counts`")
        positions = np.nonzero(chosen)[1].reshape(len(chosen), -1)
        return gathered(trunk, torch.from_numpy(positions).to(trunk.device), layout)

    def _chosen(self, labels: Mapping[str, np.ndarray], layout: TokenLayout) -> Bool[np.ndarray, "samples spatial"]:
        mask = np.asarray(labels[self.mask])
        mask = mask.reshape(len(mask), -1)
        if mask.dtype != np.bool_ or mask.shape[1] != layout.n_spatial:
            raise ValueError(
                f"label {self.mask!r} must be bool [samples {layout.n_spatial}], one for each token of the "
                f"{layout.grid[0]} x {layout.grid[1]} grid, got {mask.dtype} {mask.shape}"
            )
        return ~mask if self.invert else mask


@dataclass(frozen=True)
class KeepMost:
    """Only the first n spatial tokens of an order exist, or the last; positions, CLS and registers stay.

    Attributes:
        n: how many, from 0 to all.
        order: name of the label that orders them: positions [samples spatial], the most relevant first.
        end: `first` keeps the most relevant (deletion from the least relevant, "negative"), `last` the least
            relevant ("positive").
    """

    n: int
    order: str
    end: Literal["first", "last"] = "first"

    @property
    def labels(self) -> tuple[str, ...]:
        """The order."""
        return (self.order,)

    def key(self) -> dict[str, Any]:
        """Its name and settings."""
        return {"condition": "keep_most", "n": self.n, "order": self.order, "end": self.end}

    def refusal(self, description: Description) -> str | None:
        """A model whose tokens cannot be chosen, or that has fewer."""
        if not 0 <= self.n <= description.layout.n_spatial:
            return f"it has {description.layout.n_spatial} spatial tokens, so that n must be 0 to that, got {self.n}"
        return _choice_refusal(description)

    def counts(self, labels: Mapping[str, np.ndarray], layout: TokenLayout) -> Int[np.ndarray, " samples"] | None:
        """None: all samples keep n."""
        del labels, layout

    def n_spatial(self, layout: TokenLayout) -> int | None:
        """Always n."""
        del layout
        return self.n

    def applied(self, trunk: Trunk, batch: Batch, layout: TokenLayout) -> AbstractContextManager[Tensor | None]:
        """Gathers the tokens before the first block.

        Raises:
            ValueError: orders that do not name every position once.
        """
        orders = np.asarray(batch.labels[self.order])
        every = np.arange(layout.n_spatial)
        if orders.shape != (len(batch.images), len(every)) or (np.sort(orders, axis=1) != every).any():
            raise ValueError(
                f"label {self.order!r} must hold each of the positions 0 to {len(every) - 1} once a sample, the most "
                f"relevant first, got shape {orders.shape}"
            )
        chosen = orders[:, : self.n] if self.end == "first" else orders[:, len(every) - self.n :]
        positions = torch.from_numpy(np.sort(chosen, axis=1).astype(np.int64)).to(trunk.device)
        return gathered(trunk, positions, layout)


def _attention_refusal(description: Description, *, maskable: bool) -> str | None:
    """The reason of the last way that remains; None if there is one."""
    reasons = [description.part("attention_weights")]
    if maskable:
        reasons.insert(0, description.part("attention_mask"))
    texts = [reason for reason in reasons if isinstance(reason, str)]
    return texts[-1] if len(texts) == len(reasons) else None


def _choice_refusal(description: Description) -> str | None:
    reason = description.part("token_choice")
    return reason if isinstance(reason, str) else None
