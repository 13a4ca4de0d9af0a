"""What an atom is selective for: features, or conjunctions of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64, UInt8
from scipy.sparse import issparse

from frozen.data.scenes.codes import FeatureSpace

LEAST = 30
"""Positive, and negative, images without which no selectivity is told."""
_ATOMS_AT_ONCE = 256


def aucs(codes: Any, labels: Bool[np.ndarray, "samples labels"]) -> Float64[np.ndarray, "latents labels"]:
    """Area under the ROC curve of every atom for every label, ties counted half; missing without both kinds.

    Args:
        codes: [samples latents], dense, or sparse, of which some atoms at a time become dense.
        labels: what is present.
    """
    from scipy.stats import rankdata  # four tenths of a second that a plan does without

    codes = codes.tocsc() if issparse(codes) else codes
    positives = labels.sum(0).astype(np.float64)
    negatives = len(labels) - positives
    found = np.empty((codes.shape[1], labels.shape[1]))
    for start in range(0, codes.shape[1], _ATOMS_AT_ONCE):
        some = codes[:, start : start + _ATOMS_AT_ONCE]
        ranks = rankdata(some.toarray() if issparse(some) else some, axis=0)
        found[start : start + _ATOMS_AT_ONCE] = ranks.T @ labels.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (found - positives * (positives + 1) / 2) / (positives * negatives)


def auc(values: np.ndarray, positive: Bool[np.ndarray, " samples"]) -> float:
    """The same for one atom and one label."""
    return float(aucs(values[:, None], positive[:, None])[0, 0])


class Chosen(NamedTuple):
    """What each atom is most selective for.

    Attributes:
        kind: object kind of the largest AUC [latents].
        kind_auc: that AUC.
        feature: feature of the largest AUC [latents].
        feature_auc: that AUC.
    """

    kind: Int64[np.ndarray, " latents"]
    kind_auc: Float64[np.ndarray, " latents"]
    feature: Int64[np.ndarray, " latents"]
    feature_auc: Float64[np.ndarray, " latents"]

    def at(self, codes: Any, object_codes: np.ndarray, space: FeatureSpace) -> Chosen:
        """The same kinds and features, with the AUC they have on other samples."""
        kinds, features = aucs(codes, object_codes.astype(bool)), aucs(codes, space.feature_codes(object_codes) > 0)
        atoms = np.arange(len(self.kind))
        return self._replace(kind_auc=kinds[atoms, self.kind], feature_auc=features[atoms, self.feature])


def choose(codes: Any, object_codes: UInt8[np.ndarray, "samples kinds"], space: FeatureSpace) -> Chosen:
    """The object kind and the feature that each atom detects best."""
    kinds = np.nan_to_num(aucs(codes, object_codes.astype(bool)), nan=0.5)
    features = np.nan_to_num(aucs(codes, space.feature_codes(object_codes) > 0), nan=0.5)
    return Chosen(kinds.argmax(1), kinds.max(1), features.argmax(1), features.max(1))


class Bound(NamedTuple):
    """Conjunction selectivity of an atom for an object kind.

    Attributes:
        auc: among images in which all features of the kind are present: on one object, or on different ones; only
            images with equally many objects are held against each other.
        resampled: the same over resamples of the images; missing where one kind of image was not drawn.
        n_positive: images with an object of the kind.
        n_negative: images with its features on different objects only.
    """

    auc: float
    resampled: Float64[np.ndarray, " resamples"]
    n_positive: int
    n_negative: int


def bound(
    values: Float[np.ndarray, " samples"],
    kind: int,
    object_codes: UInt8[np.ndarray, "samples kinds"],
    space: FeatureSpace,
    weights: np.ndarray,
) -> Bound | None:
    """Whether an atom tells an object from its features on different objects; None with fewer than 30 of either.

    A product of two feature detectors has a large AUC for the object over all images, and one half here. Features on
    different objects need two of them, so images are compared with those of equally many objects: else an atom that
    dims with their number would seem to bind.

    Args:
        values: of the atom.
        kind: the object kind.
        object_codes: which kinds are present.
        space: of the scene.
        weights: how often each resample draws each image [resamples samples].
    """
    needed = space.membership[kind] > 0
    has_features = (space.feature_codes(object_codes)[:, needed] > 0).all(1)
    has_object = object_codes[:, kind] > 0
    positive, negative = np.flatnonzero(has_features & has_object), np.flatnonzero(has_features & ~has_object)
    if min(len(positive), len(negative)) < LEAST:
        return None
    value, drawn = area(values, positive, negative, object_codes.sum(1, dtype=np.int64), weights)
    if np.isnan(value):
        return None
    return Bound(value, drawn, len(positive), len(negative))


def area(
    values: np.ndarray, positive: np.ndarray, negative: np.ndarray, counts: np.ndarray, weights: np.ndarray
) -> tuple[float, np.ndarray]:
    """AUC of some samples against others of equal count, and over resamples; missing where no pair was drawn.

    Args:
        values: of all samples.
        positive: numbers of those that should be higher.
        negative: numbers of the others.
        counts: of all samples, such as their number of objects.
        weights: how often each resample draws each sample [resamples samples].
    """
    one, other = values[positive][:, None], values[negative][None]
    pairs = (counts[positive][:, None] == counts[negative][None]).astype(np.float32)
    wins = pairs * ((one > other) + 0.5 * (one == other)).astype(np.float32)
    w_one, w_other = weights[:, positive].astype(np.float32), weights[:, negative].astype(np.float32)
    drawn, total = (np.einsum("rp,rp->r", w_one, w_other @ each.T, dtype=np.float64) for each in (wins, pairs))
    over = np.divide(drawn, total, out=np.full(len(drawn), np.nan), where=total > 0)
    n_pairs = float(pairs.sum(dtype=np.float64))
    return float(wins.sum(dtype=np.float64)) / n_pairs if n_pairs else float("nan"), over
