"""How a running trunk is changed: who attends to whom, and which tokens there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from inspect import signature
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from frozen.models import BackboneError, BlockParts, TokenLayout, Trunk


@contextmanager
def attending(trunk: Trunk, allowed: Bool[Tensor, "token token"]) -> Iterator[None]:
    """Every block attends where it is allowed to alone; what is left sums to one."""
    with ExitStack() as stack:
        for block, parts in zip(trunk.blocks, trunk.parts, strict=True):
            if parts.mask_argument:
                stack.enter_context(_with_argument(block, parts.mask_argument, _mask_maker(parts, allowed)))
            else:
                stack.enter_context(overwritten_weights(trunk, parts, allowed, renormalise=True))
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
def overwritten_weights(
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
def gathered(
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
