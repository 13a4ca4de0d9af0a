"""Nearest images by the term of one head, and whether they are alike in what the head is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from readouts.text_decomposition.given import Given
from readouts.text_decomposition.settings import NeighboursConfig

_QUERIES = 500
_QUERIES_SHOWN = 6
"""Neighbours of so many images are kept for the report."""


def head_terms(given: Given, split: str, layer: int) -> Float[Tensor, "head image joint"]:
    """Terms of the heads of one layer."""
    found = [
        given.lens.of_heads(stored, given.asked.shared.norm_split)[:, layer] for _, stored in given.chunks(split)
    ]
    return torch.cat(found).transpose(0, 1)


def nearest(
    terms: Float[Tensor, "image joint"], config: NeighboursConfig, *, itself: bool = False
) -> Int64[np.ndarray, "image neighbour"]:
    """Numbers of the nearest images of each image, the nearest first.

    Args:
        terms: of one head.
        config: metric and number of neighbours.
        itself: whether an image may be its own neighbour.
    """
    if config.metric == "centred_cosine":
        terms = terms - terms.mean(0)
    if config.metric != "dot":
        terms = terms / terms.norm(dim=1, keepdim=True).clamp_min(1e-12)
    count = min(config.count, len(terms) - (not itself))
    found = []
    for start in range(0, len(terms), _QUERIES):
        scores = terms[start : start + _QUERIES] @ terms.T
        if not itself:
            rows = torch.arange(len(scores))
            scores[rows, rows + start] = -torch.inf
        found.append(scores.topk(count, dim=1).indices)
    return torch.cat(found).numpy()


def alike(
    neighbours: Int64[np.ndarray, "image neighbour"], known: Mapping[str, Int64[np.ndarray, " image"]]
) -> dict[str, Float32[np.ndarray, " image"]]:
    """For each feature, the share of an image's neighbours that have the same values of it."""
    return {
        name: (numbers[neighbours] == numbers[:, None]).mean(axis=1, dtype=np.float32)
        for name, numbers in known.items()
    }


class Retrieved(NamedTuple):
    """Neighbours by one head.

    Attributes:
        factor: the feature in which most neighbours are alike on validation images, as a ratio to chance.
        shares: float32 [images], of test neighbours alike in it.
        chance: probability that two test images are.
        ratios: mean share of each feature.
        nearest: int64 [queries, neighbours], of the first test images.
    """

    factor: str
    shares: Float32[np.ndarray, " images"]
    chance: float
    ratios: dict[str, float]
    nearest: Int64[np.ndarray, "queries neighbours"]


def retrieved(given: Given, layer: int, heads: Sequence[int]) -> dict[int, Retrieved]:
    """Neighbours by some heads of a layer."""
    config = given.asked.config
    assert isinstance(config, NeighboursConfig)
    known = {split: given.features(split) for split in ("validation", "test")}
    terms = {split: head_terms(given, split, layer) for split in known}
    chance = {name: _chance(numbers) for name, numbers in known["test"].items()}
    found = {}
    for head in heads:
        numbers = {split: nearest(terms[split][head], config) for split in known}
        shares = {split: alike(numbers[split], known[split]) for split in known}
        ratio = {name: float(share.mean()) / max(chance[name], 1e-9) for name, share in shares["validation"].items()}
        factor = max(ratio, key=ratio.__getitem__)
        means = {name: round(float(share.mean()), 4) for name, share in shares["test"].items()}
        found[head] = Retrieved(
            factor, shares["test"][factor], chance[factor], means, numbers["test"][:_QUERIES_SHOWN]
        )
    return found


def _chance(numbers: np.ndarray) -> float:
    """Probability that two images have the same value."""
    counts = np.unique(numbers, return_counts=True)[1].astype(np.float64)
    return float((counts * (counts - 1)).sum() / max(len(numbers) * (len(numbers) - 1), 1))
