"""Translators: affine maps from a layer's tokens to those that the decoder knows, fitted by ridge regression.

The pooler and decoder of a captioning model read the last layer's tokens. What an earlier layer cannot say may be
absent, or present in another format; a map fitted on other images takes the format away (tuned lens). From the tokens
of another ViT with as many of them, the same map makes that one verbalisable.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from safetensors.numpy import load, save
from torch import Tensor

from frozen.rows import ArrayRows

_IMAGES_AT_ONCE = 64
HELD_OUT = 0.2
"""Share of the images of a fit on which it is judged; the map is fitted on the others."""


class Translator(NamedTuple):
    """An affine map of tokens.

    Attributes:
        weight: [width target_width].
        bias: [target_width].
    """

    weight: Float[np.ndarray, "width target"]
    bias: Float[np.ndarray, " target"]

    def apply(self, tokens: Float[Tensor, "images tokens width"]) -> Float[Tensor, "images tokens target"]:
        """The mapped tokens, in the type and on the device of the given ones."""
        weight, bias = (torch.from_numpy(part).to(tokens) for part in self)
        return tokens @ weight + bias

    def to_bytes(self) -> bytes:
        """As a product: safetensors, float32."""
        return save({"weight": self.weight.astype(np.float32), "bias": self.bias.astype(np.float32)})

    @classmethod
    def from_bytes(cls, data: bytes) -> Translator:
        """What `to_bytes` made."""
        found = load(data)
        return cls(found["weight"], found["bias"])


class TokenSums(NamedTuple):
    """Sums over tokens, from which every affine map and its error follow."""

    n: int
    x: Float[np.ndarray, " width"]
    y: Float[np.ndarray, " target"]
    xx: Float[np.ndarray, "width width"]
    xy: Float[np.ndarray, "width target"]
    yy: float

    @classmethod
    def of(cls, tokens: ArrayRows, targets: ArrayRows, images: slice) -> TokenSums:
        """Of some images, a few at a time.

        Args:
            tokens: [images tokens width].
            targets: [images tokens target].
            images: which.
        """
        width, target = tokens.shape[-1], targets.shape[-1]
        found = cls(0, np.zeros(width), np.zeros(target), np.zeros((width, width)), np.zeros((width, target)), 0.0)
        for part in _slices(images):
            x, y = (array[part].astype(np.float64).reshape(-1, array.shape[-1]) for array in (tokens, targets))
            found = cls(
                found.n + len(x),
                found.x + x.sum(0),
                found.y + y.sum(0),
                found.xx + x.T @ x,
                found.xy + x.T @ y,
                found.yy + float((y**2).sum()),
            )
        return found


def _slices(images: slice) -> Iterator[slice]:
    for start in range(images.start, images.stop, _IMAGES_AT_ONCE):
        yield slice(start, min(start + _IMAGES_AT_ONCE, images.stop))


def fit(tokens: ArrayRows, targets: ArrayRows, *, ridge: float) -> tuple[Translator, float]:
    """Fit a map on the first images, and judge it on the last ones.

    Args:
        tokens: of a layer [images tokens width].
        targets: of the layer that the decoder reads, of the same images [images tokens target].
        ridge: penalty, in units of the mean variance of a channel of the tokens.

    Returns:
        The map, and the share of the targets' variance that it explains on the held-out images.

    Raises:
        ValueError: other images or tokens, or fewer than ten images.
    """
    if tokens.shape[:2] != targets.shape[:2]:
        raise ValueError(f"tokens {tokens.shape[:2]} and targets {targets.shape[:2]} are of other images or places")
    n_images = len(tokens)
    if n_images < 10:
        raise ValueError(f"a translator needs at least 10 training images, got {n_images}; enlarge split.train")
    kept = round(n_images * (1 - HELD_OUT))
    found = _solved(TokenSums.of(tokens, targets, slice(0, kept)), ridge)
    return found, r2(found, TokenSums.of(tokens, targets, slice(kept, n_images)))


def _solved(m: TokenSums, ridge: float) -> Translator:
    mean_x, mean_y = m.x / m.n, m.y / m.n
    covariance = m.xx / m.n - np.outer(mean_x, mean_x)
    penalty = ridge * float(np.trace(covariance)) / len(covariance)
    cross = m.xy / m.n - np.outer(mean_x, mean_y)
    # a channel that never varies has neither covariance nor cross-covariance: least squares gives it weight 0
    weight = np.linalg.lstsq(covariance + penalty * np.eye(len(covariance)), cross, rcond=None)[0]
    return Translator(weight, mean_y - mean_x @ weight)


def r2(translator: Translator, m: TokenSums) -> float:
    """Share of the variance of the targets that a map explains; 0 where they do not vary."""
    w, b = translator.weight, translator.bias
    total = m.yy - float((m.y**2).sum()) / m.n
    squared = m.yy - 2 * float((w * m.xy).sum()) - 2 * float(b @ m.y)
    squared += float((w * (m.xx @ w)).sum()) + 2 * float((m.x @ w) @ b) + m.n * float(b @ b)
    return 1 - squared / total if total > 0 else 0.0
