"""Identifiability, rise, class over context and composition of one site (sections 3.2 and 4 of the paper)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, UInt16

from frozen.models import TokenLayout
from readouts.class_embedding.estimates import permutation_p
from readouts.class_embedding.ranks import ABSENT

Tokens = Bool[np.ndarray, "_rows tokens"]
"""Which tokens count: a row an image, or one row for all of them."""


class Ranks(NamedTuple):
    """What `ClassRanks` kept of a site."""

    ranks: UInt16[np.ndarray, "images tokens"]
    logits: Float64[np.ndarray, "images tokens"]
    best: UInt16[np.ndarray, "images tokens"]
    """The best class of every token."""

    @staticmethod
    def of(columns: Mapping[str, Any]) -> Ranks:
        """From the columns of a capture."""
        return Ranks(columns["ranks"][:], columns["logits"][:], columns["best"][:][..., 0])

    @property
    def is_there(self) -> Tokens:
        """Tokens that the condition left."""
        return self.ranks != ABSENT

    def identifiability(self, n_classes: int) -> Float64[np.ndarray, "images tokens"]:
        """1 - rank / C, between 1 / C and 1."""
        return 1.0 - self.ranks / (2.0 * n_classes)


def select(
    kind: str, n_tokens: int, layout: TokenLayout, shows: Bool[np.ndarray, "_images spatial"] | None
) -> Tokens:
    """Which tokens are of a kind: [1 tokens], or [images tokens] where they differ between images.

    Args:
        kind: cls, image, register, class, context or all.
        n_tokens: of the site; 1 for the model's output.
        layout: of the model.
        shows: which image tokens show the class [images spatial]; for class and context.
    """
    place = np.arange(n_tokens)[None]
    if kind == "all":
        return np.ones((1, n_tokens), dtype=bool)
    if kind == "cls":
        return (place == 0) & layout.has_cls
    if kind == "register":
        return (place >= layout.has_cls) & (place < layout.n_prefix)
    if kind == "image":
        return place >= layout.n_prefix
    assert shows is not None
    chosen = shows if kind == "class" else ~shows
    return np.pad(chosen, ((0, 0), (layout.n_prefix, 0)))


def per_image(values: np.ndarray, tokens: Tokens) -> Float64[np.ndarray, " images"]:
    """Mean over some tokens of every image; NaN where there are none."""
    tokens = np.broadcast_to(tokens, values.shape)
    counts = tokens.sum(axis=1)
    sums = np.where(tokens, values, 0.0).sum(axis=1, dtype=np.float64)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def identified(here: Ranks, tokens: Tokens, n_classes: int) -> dict[str, np.ndarray]:
    """Identifiability, rate, and whether any token has its class first (equations 1 and 2)."""
    tokens = tokens & here.is_there
    found = np.where(tokens, here.ranks == 0, False).any(axis=1)
    return {
        "identifiability": per_image(here.identifiability(n_classes), tokens),
        "rate_percent": 100.0 * per_image(here.ranks == 0, tokens),
        "images_percent": np.where(tokens.any(axis=1), 100.0 * found, np.nan),
    }


def rise(here: Ranks, before: Ranks, tokens: Tokens) -> np.ndarray:
    """Share of tokens whose class logit is larger than before, in percent (section 4.1)."""
    return 100.0 * per_image(here.logits > before.logits, tokens & here.is_there)


def composition(
    here: Ranks, before: Ranks, attention: Ranks, mlp: Ranks, tokens: Tokens, *, test_mlp: bool
) -> dict[str, np.ndarray]:
    """Whose best class a block's best class is; the first three may overlap.

    Args:
        here: what leaves the block.
        before: what enters it.
        attention: what attention adds.
        mlp: what the MLP adds.
        tokens: which tokens count.
        test_mlp: whether what is the MLP's alone is not `composed`; the paper's program forgets it.
    """
    same = [here.best == other.best for other in (before, attention, mlp)]
    tested = same if test_mlp else same[:2]
    none = ~np.logical_or.reduce(tested)
    names = ("kept_percent", "attention_percent", "mlp_percent", "composed_percent")
    tokens = tokens & here.is_there
    return {name: 100.0 * per_image(which, tokens) for name, which in zip(names, (*same, none), strict=True)}


def class_gain(
    values: Float64[np.ndarray, "images spatial"], shows: Bool[np.ndarray, "images spatial"]
) -> Float64[np.ndarray, " images"]:
    """Mean over tokens that show the class minus mean over the others, image by image."""
    return per_image(values, shows) - per_image(values, ~shows)


def class_gain_p(
    values: Float64[np.ndarray, "images spatial"],
    shows: Bool[np.ndarray, "images spatial"],
    n_permutations: int,
    seed: int,
) -> float:
    """One-sided p-value of the mean gain, with masks exchanged between images.

    Tokens of one image are not independent, so that whole masks are exchanged and no single label. Images without
    tokens of both kinds say nothing; where there are no others, the p-value is 1.
    """
    rng = np.random.default_rng([seed, 2])
    chosen, counts, n_tokens = shows.astype(np.float64), shows.sum(axis=1), shows.shape[1]
    has_both = (counts > 0) & (counts < n_tokens)
    if not has_both.any():
        return 1.0
    chosen, counts, totals = chosen[has_both], counts[has_both], values.sum(axis=1)

    def gain(images: np.ndarray, masks: np.ndarray) -> float:
        sums = np.einsum("it,it->i", values[images], chosen[masks])
        return float(np.mean(sums / counts[masks] - (totals[images] - sums) / (n_tokens - counts[masks])))

    images = np.flatnonzero(has_both)
    value = gain(images, np.arange(len(images)))
    drawn = [gain(images, rng.permutation(len(images))) for _ in range(n_permutations)]
    return permutation_p(value, np.array(drawn))
