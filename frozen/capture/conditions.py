"""Conditions: how a forward pass is changed. Equal conditions of equal labels give equal activations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from inspect import signature
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from frozen.models import BackboneError, Batch, BlockParts, Description, TokenLayout, Trunk


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

    def applied(self, trunk: Trunk, batch: Batch, layout: TokenLayout) -> Any:
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
        with _attending(trunk, allowed):
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
                stack.enter_context(_attending(trunk, allowed))
            else:
                for parts in trunk.parts:
                    stack.enter_context(_weights(trunk, parts, allowed, renormalise=False))
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

    def applied(self, trunk: Trunk, batch: Batch, layout: TokenLayout) -> Any:
        """Gathers the tokens before the first block.

        Raises:
            ValueError: samples of one batch that keep different numbers of tokens.
        """
        chosen = self._chosen(batch.labels, layout)
        if len(set(chosen.sum(axis=1))) > 1:
            raise ValueError("samples of one batch must keep the same number of tokens; batch them by `counts`")
        positions = np.nonzero(chosen)[1].reshape(len(chosen), -1)
        return _gathered(trunk, torch.from_numpy(positions).to(trunk.device), layout)

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

    def applied(self, trunk: Trunk, batch: Batch, layout: TokenLayout) -> Any:
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
        return _gathered(trunk, positions, layout)


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


@contextmanager
def _attending(trunk: Trunk, allowed: Bool[Tensor, "token token"]) -> Iterator[None]:
    """Every block attends where it is allowed to alone; what is left sums to one."""
    with ExitStack() as stack:
        for block, parts in zip(trunk.blocks, trunk.parts, strict=True):
            if parts.mask_argument:
                stack.enter_context(_with_argument(block, parts.mask_argument, _mask_maker(parts, allowed)))
            else:
                stack.enter_context(_weights(trunk, parts, allowed, renormalise=True))
        yield


def _mask_maker(parts: BlockParts, allowed: Bool[Tensor, "token token"]) -> Callable[[Any, Tensor], Tensor]:
    def make(given: Any, tokens: Tensor) -> Tensor:
        if parts.mask_argument == "attn_mask" and given is None:
            return allowed
        mask = torch.zeros(allowed.shape, dtype=tokens.dtype, device=tokens.device)
        mask.masked_fill_(~allowed, -torch.inf)
        return mask if given is None else given + mask

    return make


@contextmanager
def _weights(
    trunk: Trunk, parts: BlockParts, allowed: Bool[Tensor, "token token"], *, renormalise: bool
) -> Iterator[None]:
    """Overwrites weights after the softmax, which is then computed apart and not within the fused product."""
    if trunk.is_compiled:
        raise BackboneError("attention weights cannot be changed in compiled blocks; set `compile: false`")
    attention: Any = parts.attention

    def after(_module: nn.Module, _inputs: Any, weights: Tensor) -> Tensor:
        kept = weights * allowed
        return kept / kept.sum(-1, keepdim=True) if renormalise else kept

    was_fused = attention.fused_attn
    attention.fused_attn = False
    handle = attention.attn_drop.register_forward_hook(after)
    try:
        yield
    finally:
        handle.remove()
        attention.fused_attn = was_fused


@contextmanager
def _gathered(
    trunk: Trunk, positions: Int[Tensor, "batch kept"], layout: TokenLayout
) -> Iterator[Int[Tensor, "batch kept"]]:
    """Of the tokens that enter the first block, the prefix and those at the given positions."""
    prefix = torch.arange(layout.n_prefix, device=positions.device).expand(len(positions), -1)
    index = torch.cat([prefix, positions + layout.n_prefix], dim=1)

    def gather(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (args[0].gather(1, index[:, :, None].expand(-1, -1, args[0].shape[-1])), *args[1:])

    with ExitStack() as stack:
        handle = trunk.blocks[0].register_forward_pre_hook(gather)
        stack.callback(handle.remove)
        for block, parts in zip(trunk.blocks, trunk.parts, strict=True):
            if parts.rotary_argument:
                stack.enter_context(
                    _with_argument(block, parts.rotary_argument, lambda rope, _tokens: _rotations(rope, positions))
                )
        yield positions


def _rotations(rope: Any, positions: Int[Tensor, "batch kept"]) -> Any:
    """Rotations [position dim] or [head position dim] at each sample's positions [batch head kept dim]."""
    if rope is None:
        return None
    if isinstance(rope, tuple):
        return tuple(_rotations(part, positions) for part in rope)
    if rope.ndim == 2:
        return rope[positions][:, None]
    return rope[:, positions].transpose(0, 1)


@contextmanager
def _with_argument(block: nn.Module, name: str, make: Callable[[Any, Tensor], Any]) -> Iterator[None]:
    """Calls of a block get what `make` makes of one of its arguments and the tokens."""
    known = signature(block.forward)

    def before(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        bound = known.bind_partial(*args, **kwargs)
        bound.arguments[name] = make(bound.arguments.get(name), args[0])
        return bound.args, bound.kwargs

    handle = block.register_forward_pre_hook(before, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()
