"""How alike the outputs of heads are: the mean absolute cosine of what differs from their means."""

from __future__ import annotations

from collections.abc import Iterable
from math import pi, sqrt

import torch
from jaxtyping import Float
from torch import Tensor


def orthogonality(parts: Iterable[Tensor], mean: Float[Tensor, "term joint"]) -> Float[Tensor, "term term"]:
    """Mean over images of |cos(c_h - mean c_h, c_g - mean c_g)|, for every pair of terms.

    Args:
        parts: terms [image term joint], some images at a time.
        mean: of the terms over all images.
    """
    total, count = torch.zeros(len(mean), len(mean)), 0
    for terms in parts:
        centred = terms - mean
        unit = centred / centred.norm(dim=2, keepdim=True).clamp_min(1e-12)
        total += (unit @ unit.transpose(1, 2)).abs().sum(0)
        count += len(terms)
    return total / max(count, 1)


def by_chance(width: int) -> float:
    """The mean absolute cosine of two random directions in a space of so many dimensions, for many of them."""
    return sqrt(2 / (pi * width))
