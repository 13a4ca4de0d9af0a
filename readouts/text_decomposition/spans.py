"""Texts of heads: chosen on one split, held against the images of another one."""

from __future__ import annotations

import json
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from frozen.paths import written
from readouts.text_decomposition.given import Given
from readouts.text_decomposition.settings import TextSpanConfig
from readouts.text_decomposition.sums import Sums
from readouts.text_decomposition.texts import credit
from readouts.text_decomposition.textspan import Moments, Span, text_span, turned

_CHUNK = 512
"""Images that are classified at once."""


class Described(NamedTuple):
    """Texts of G heads of the last layers, and what they explain of n test images.

    Attributes:
        texts: of each head, JSON of [text, share, share with those before it], on the images that chose them.
        distinct: number of distinct texts.
        explained: float32 [n G], squared deviation along the directions.
        total: float32 [n G], squared deviation from the mean.
        chance: [rotations G], the share that the rotated pool explains on the test images.
        permuted: [G], the share where each coordinate of a head is permuted among the images by itself.
        right: float32 [n], credit with the heads rebuilt from their texts and earlier ones replaced by their means.
        right_permuted: float32 [n], the same with the rebuilt heads of other images.
        baseline: float32 [n], credit with all terms.
    """

    texts: list[str]
    distinct: int
    explained: Float32[np.ndarray, "images heads"]
    total: Float32[np.ndarray, "images heads"]
    chance: np.ndarray
    permuted: np.ndarray
    right: Float32[np.ndarray, " images"]
    right_permuted: Float32[np.ndarray, " images"]
    baseline: Float32[np.ndarray, " images"]


def described(given: Given, config: TextSpanConfig) -> Described:
    """Choose the texts, and hold them against the test images.

    Raises:
        ValueError: more texts than a head, or the pool, has directions.
    """
    pool = given.pools[written(config.pool)]
    vectors = torch.from_numpy(given.table.rows(pool))
    basis = given.lens.head_basis(config.norm_split)[-config.last_layers :].flatten(0, 1)
    fit = _moments(given, given.fit_split, config)
    span = text_span(fit, basis, vectors, config.texts, config.rank)
    test = fit if given.fit_split == "test" else _moments(given, "test", config)
    chance = []
    generator = torch.Generator().manual_seed(given.asked.shared.seed)
    for _ in range(config.rotations):
        random = text_span(fit, basis, turned(vectors, generator), config.texts, config.rank)
        chance.append(_explained(test, basis, random))
    apart = text_span(fit.unmixed(), basis, vectors, config.texts, config.rank)
    permuted = _explained(test.unmixed(), basis, apart)
    tested = _tested(given, config, basis, span, fit)
    names = [[pool[number] for number in row] for row in span.texts.tolist()]
    texts = [_listed(row, share) for row, share in zip(names, span.explained.tolist(), strict=True)]
    distinct = len({text for row in names for text in row})
    return Described(
        texts,
        distinct,
        tested.explained,
        tested.total,
        np.array(chance),
        permuted,
        tested.right,
        tested.right_permuted,
        tested.baseline,
    )


def _listed(texts: list[str], shares: list[float]) -> str:
    together = np.cumsum(shares).tolist()
    listed = zip(texts, shares, together, strict=True)
    return json.dumps([[text, round(share, 5), round(total, 5)] for text, share, total in listed])


def _moments(given: Given, split: str, config: TextSpanConfig) -> Moments:
    """Of the coordinates of the heads of the last layers."""
    found: Moments | None = None
    for _, stored in given.chunks(split):
        coordinates = given.lens.coordinates(stored, stored.heads)[:, -config.last_layers :].flatten(1, 2)
        part = Moments.of(coordinates)
        found = part if found is None else found + part
    assert found is not None
    return found


def _explained(moments: Moments, basis: Tensor, span: Span) -> np.ndarray:
    """Share of each head's variance along the directions."""
    along = torch.einsum("gmj,gjd->gmd", span.directions, basis.double())
    part = torch.einsum("gmd,gde,gme->g", along, moments.covariance, along)
    whole = torch.einsum("gjd,gde,gje->g", basis.double(), moments.covariance, basis.double())
    return (part / whole.clamp_min(1e-300)).numpy()


class _Tested(NamedTuple):
    """Of test images, as `Described` has it."""

    explained: np.ndarray
    total: np.ndarray
    right: np.ndarray
    right_permuted: np.ndarray
    baseline: np.ndarray


def _tested(given: Given, config: TextSpanConfig, basis: Tensor, span: Span, fit: Moments) -> _Tested:
    """Images, one by one: what is explained of each head, and the accuracy of what is rebuilt (paper, section 4)."""
    lens = given.lens
    mean = torch.einsum("gjd,gd->gj", basis, fit.mean.float())
    earlier = (lens.n_blocks - config.last_layers) * lens.n_heads
    earlier = max(earlier, 0)
    early = Sums(lens, [range(earlier)], config.norm_split)
    early_mean = early.of(early.mean(stored for _, stored in given.chunks(given.fit_split, early.unread)))[0, 0]
    directions = span.directions.float()
    explained, total, whole, of_heads, rest = [], [], [], [], []
    n_heads = lens.n_blocks * lens.n_heads
    for _, stored in given.chunks("test"):
        terms = lens.all_terms(stored, config.norm_split)
        centred = terms[:, earlier:n_heads] - mean
        along = torch.einsum("ngj,gmj->ngm", centred, directions)
        rebuilt = mean + torch.einsum("ngm,gmj->ngj", along, directions)
        of_heads.append(rebuilt.sum(1))
        rest.append(early_mean + terms[:, n_heads:].sum(1))
        whole.append(terms.sum(1))
        explained.append((along**2).sum(2).numpy())
        total.append((centred**2).sum(2).numpy())
    others, own = torch.cat(rest), torch.cat(of_heads)
    order = torch.randperm(len(own), generator=torch.Generator().manual_seed(given.asked.shared.seed))
    rights = [_credits(given, vectors) for vectors in (others + own, others + own[order], torch.cat(whole))]
    return _Tested(np.concatenate(explained), np.concatenate(total), *rights)


def _credits(given: Given, vectors: Tensor) -> np.ndarray:
    """Credit of the test images for some vectors in place of their embeddings."""
    parts = zip(vectors.split(_CHUNK), torch.from_numpy(given.classes.labels).split(_CHUNK), strict=True)
    return np.concatenate([credit(given.scores(one.numpy()), given.text_of_class, own.numpy()) for one, own in parts])
