"""Activation modes: what of a layer's tokens a probe sees (paper, section 3.3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from frozen.models import TokenLayout

Mode = Literal["cls", "mean_spatial", "cls_mean", "all"]
MODES: tuple[Mode, ...] = get_args(Mode)


def refuses(mode: Mode, layout: TokenLayout) -> str | None:
    """Why a mode cannot be read from tokens of this layout, or None if it can."""
    if mode in ("cls", "cls_mean") and not layout.has_cls:
        return f"mode {mode} needs a CLS token"
    if mode != "cls" and not layout.n_spatial:
        return f"mode {mode} needs spatial tokens"
    return None


def shape(mode: Mode, layout: TokenLayout) -> tuple[int, ...]:
    """Shape of one sample: [dim], or [token dim] for all."""
    if mode == "all":
        return (layout.has_cls + layout.n_spatial, layout.width)
    return (2 * layout.width if mode == "cls_mean" else layout.width,)


def read_all(
    tokens: Float[Tensor, "batch token dim"], modes: Iterable[Mode], layout: TokenLayout
) -> Iterator[tuple[Mode, Float[Tensor, "batch ..."]]]:
    """What several modes show of a layer's tokens; the spatial mean is computed once.

    Raises:
        ValueError: tokens without the parts a mode needs.
    """
    mean: Tensor | None = None
    for mode in modes:
        if mode in ("mean_spatial", "cls_mean") and refuses(mode, layout) is None:
            mean = read(tokens, "mean_spatial", layout) if mean is None else mean
            yield mode, mean if mode == "mean_spatial" else torch.cat([tokens[:, 0], mean], dim=1)
        else:
            yield mode, read(tokens, mode, layout)


def read(tokens: Float[Tensor, "batch token dim"], mode: Mode, layout: TokenLayout) -> Float[Tensor, "batch ..."]:
    """What a mode shows of a layer's tokens; registers are never part of it.

    Args:
        tokens: prefix tokens (CLS, registers), then the spatial ones.
        mode: cls, mean_spatial, cls_mean (both, 2D wide) or all (CLS first, then the spatial tokens).
        layout: where in the tokens things are.

    Raises:
        ValueError: tokens without the parts the mode needs.
    """
    if reason := refuses(mode, layout):
        modes = ", ".join(other for other in MODES if not refuses(other, layout))
        raise ValueError(f"{reason}; this backbone offers {modes}")
    cls, spatial = tokens[:, :1], tokens[:, layout.n_prefix :]
    if mode == "all":
        return torch.cat([cls, spatial], dim=1) if layout.has_cls else spatial
    if mode == "cls":
        return cls[:, 0]
    mean = spatial.float().mean(dim=1).to(tokens.dtype)
    return mean if mode == "mean_spatial" else torch.cat([cls[:, 0], mean], dim=1)
