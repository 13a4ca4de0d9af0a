"""Whether a token names the object, or any object made of the features in the image.

The classes are kinds of objects, colour by shape. A scene shows two objects that share neither, of the kinds
A = (c1, s1) and B = (c2, s2). A' = (c1, s2) and B' = (c2, s1) are not there, though all their features are. Logits
that add up what is said of a colour and of a shape, z(c, s) = u(c) + v(s), cannot tell the two pairs apart at CLS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Integer
from torch import Tensor

from frozen.capture.conditions import Condition
from frozen.capture.reductions import Column, ForwardPass, Reducer, Values
from frozen.capture.sites import Site
from frozen.models import Description
from readouts.class_embedding.patches import class_shares

CODES = "object_codes"
PIXELS = "mask"
"""The label that says which kind of object a pixel shows: its number and one, 0 for none; uint8 [height width]."""
OWNED = 0.25
"""Least share of a patch that its owner covers."""
BOUND_TOKENS = ("object", "other", "background", "cls")
BOUND_MEASURES = ("bound_percent", "margin_nats", "illusory_percent", "own_percent")


class Pairs(NamedTuple):
    """The two kinds that an image shows, and the two that their features would make; -1 where an image is none."""

    there: Int[np.ndarray, "images two"]
    swapped: Int[np.ndarray, "images two"]

    @property
    def is_pair(self) -> Bool[np.ndarray, " images"]:
        """Which images show two objects that share no feature."""
        return self.there[:, 0] >= 0


def pairs_of(codes: Int[np.ndarray, "images kinds"], n_shapes: int) -> Pairs:
    """The pairs of some images, from which kinds are there; a kind is colour * n_shapes + shape."""
    there = np.full((len(codes), 2), -1)
    swapped = there.copy()
    for row in np.flatnonzero(codes.sum(1) == 2):
        (c1, s1), (c2, s2) = (divmod(int(kind), n_shapes) for kind in np.flatnonzero(codes[row]))
        if c1 != c2 and s1 != s2:
            there[row] = c1 * n_shapes + s1, c2 * n_shapes + s2
            swapped[row] = c1 * n_shapes + s2, c2 * n_shapes + s1
    return Pairs(there, swapped)


def owners(
    masks: Integer[np.ndarray, "images height width"], there: Int[np.ndarray, "images two"], grid: tuple[int, int]
) -> Int[np.ndarray, "images patches"]:
    """Which of its image's two objects each patch shows: 0, 1, or -1 for none, by the share that it covers."""
    shares = np.stack([class_shares(masks == there[:, i, None, None] + 1, grid) for i in (0, 1)])
    owner = shares.argmax(0)
    is_owned = (shares.max(0) >= OWNED) & (shares[0] != shares[1])
    return np.where(is_owned, owner, -1)


def at_tokens(
    logits: Float[Tensor, "images tokens classes"],
    own: Int[Tensor, "images tokens"],
    other: Int[Tensor, "images tokens"],
    swapped: Int[Tensor, "images two"],
) -> Float[Tensor, "measures images tokens"]:
    """Bound, margin, illusory and own of tokens that stand for one object; ties count half.

    Args:
        logits: class projections.
        own: the kind that a token stands for.
        other: the kind of the other object.
        swapped: the two kinds that are not there.
    """
    absent = swapped[:, None].expand(-1, logits.shape[1], -1)
    z, z_other = (logits.gather(-1, kind[..., None]) for kind in (own, other))
    z_absent = logits.gather(-1, absent)
    bound = _wins(z, z_absent).mean(-1)
    margin = (z - z_absent.mean(-1, keepdim=True))[..., 0]
    illusory = (logits.argmax(-1)[..., None] == absent).any(-1).to(logits.dtype)
    return torch.stack([100 * bound, margin, 100 * illusory, 100 * _wins(z, z_other)[..., 0]])


def of_both(
    logits: Float[Tensor, "images tokens classes"],
    there: Int[Tensor, "images two"],
    swapped: Int[Tensor, "images two"],
) -> Float[Tensor, "measures images tokens"]:
    """The same of tokens that stand for both objects: sums of the pairs are compared; own does not exist."""
    absent = swapped[:, None].expand(-1, logits.shape[1], -1)
    z, z_absent = (
        logits.gather(-1, kind[:, None].expand(-1, logits.shape[1], -1)).mean(-1) for kind in (there, swapped)
    )
    illusory = (logits.argmax(-1)[..., None] == absent).any(-1).to(logits.dtype)
    none = torch.full_like(z, torch.nan)
    return torch.stack([100 * _wins(z, z_absent), z - z_absent, 100 * illusory, none])


def _wins(one: Tensor, other: Tensor) -> Tensor:
    """1 where one is larger, one half where both are equal up to rounding, 0 elsewhere."""
    gap = one - other
    tied = gap.abs() <= 1e-5 * torch.maximum(one.abs(), other.abs())
    return torch.where(tied, 0.5, (gap > 0).to(one.dtype))


@dataclass(frozen=True)
class BoundClass:
    """Of images of two objects that share no feature: whether tokens name the objects that are there.

    Columns, samples first: `values` float32 [token measure], means over an image's tokens of each kind in the order
    of `BOUND_TOKENS` and `BOUND_MEASURES`; NaN where an image has no such token, or does not show such a pair.
    `object` tokens are asked for the kind of the object they show, `other` tokens are the same ones asked for the
    other object; `background` and `cls` stand for both.

    Attributes:
        site: with tokens.
        n_shapes: the last of the two features of a kind.
    """

    site: Site
    n_shapes: int

    needs_head = True
    needs_gradient = False
    labels: tuple[str, ...] = (CODES, PIXELS)

    @property
    def sites(self) -> tuple[Site, ...]:
        """The one."""
        return (self.site,)

    def key(self) -> dict[str, Any]:
        """Its name and settings."""
        return {"reduction": "bound_class", "site": str(self.site), "shapes": self.n_shapes}

    def columns(self, description: Description, condition: Condition) -> tuple[Column, ...]:
        """One number a kind of token and measure."""
        del condition, description
        return (Column("values", (len(BOUND_TOKENS), len(BOUND_MEASURES)), "float32", may_be_missing=True),)

    def begin(self, forward: ForwardPass) -> Reducer:
        """A reducer for one batch."""
        return _BoundClassReducer(self, forward)


class _BoundClassReducer:
    def __init__(self, reduction: BoundClass, forward: ForwardPass) -> None:
        self._forward = forward
        layout = forward.model.description.layout
        self._pairs, self._owners = forward.shared(
            ("pairs", reduction.n_shapes), lambda: _pairs_and_owners(forward, reduction.n_shapes, layout.grid)
        )
        self._values = torch.empty(0)

    def take(self, site: Site, value: Tensor) -> None:
        del site
        head, layout = self._forward.model.head, self._forward.layout
        assert head is not None
        logits, device = head.project(value), value.device
        there, swapped = (torch.from_numpy(kinds).clamp(min=0).to(device) for kinds in self._pairs)
        owner = torch.from_numpy(self._owners).to(device)
        spatial, at = logits[:, layout.n_prefix :], owner.clamp(min=0)
        kinds = there.gather(1, at), there.gather(1, 1 - at)
        both = of_both(logits, there, swapped)
        parts = [
            _mean(at_tokens(spatial, kinds[0], kinds[1], swapped), owner >= 0),
            _mean(at_tokens(spatial, kinds[1], kinds[0], swapped), owner >= 0),
            _mean(both[:, :, layout.n_prefix :], owner < 0),
            both[:, :, 0] if layout.has_cls else torch.full_like(both[:, :, 0], torch.nan),
        ]
        values = torch.stack(parts).permute(2, 0, 1)
        is_pair = torch.from_numpy(self._pairs.is_pair).to(device)[:, None, None]
        self._values = torch.where(is_pair, values, torch.nan).float()

    def finish(self) -> Mapping[str, Values]:
        return {"values": self._values}


def _pairs_and_owners(forward: ForwardPass, n_shapes: int, grid: tuple[int, int]) -> tuple[Pairs, np.ndarray]:
    labels = forward.batch.labels
    pairs = pairs_of(np.asarray(labels[CODES], dtype=np.int64), n_shapes)
    return pairs, owners(np.asarray(labels[PIXELS]), pairs.there, grid)


def _mean(
    values: Float[Tensor, "measures images tokens"], tokens: Bool[Tensor, "images tokens"]
) -> Float[Tensor, "measures images"]:
    """Mean over some tokens of every image; NaN where there are none."""
    return torch.where(tokens, values, 0.0).sum(-1) / tokens.sum(-1)
