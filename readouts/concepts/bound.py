"""Conjunction selectivity from stored samples: of each object kind, its best atom's values on all images."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from frozen.data.scenes.codes import FeatureSpace
from readouts.concepts.selectivity import LEAST, area

COVERED = 0.9
"""Bound AUC above which an object kind counts as covered."""
_APART, _TOGETHER = 1, 2


class Areas(NamedTuple):
    """Bound AUCs of the object kinds that have enough images.

    Attributes:
        kinds: their numbers.
        auc: [kinds].
        resampled: [kinds resamples].
    """

    kinds: list[int]
    auc: np.ndarray
    resampled: np.ndarray


def samples_of(values: np.ndarray, object_codes: np.ndarray, space: FeatureSpace) -> pa.Table:
    """A row an image: for each kind, the value of its detector, and where the image shows the kind's features.

    Args:
        values: of each kind's atom [samples kinds].
        object_codes: which kinds are present.
        space: of the scene.
    """
    features = space.feature_codes(object_codes) > 0
    membership = space.membership > 0
    has_all = ~((~features)[:, None] & membership[None]).any(2)
    states = np.where(has_all, np.where(object_codes > 0, _TOGETHER, _APART), 0)
    columns: dict[str, pa.Array] = {"n_objects": pa.array(object_codes.sum(1, dtype=np.int64))}
    for kind in range(space.n_objects):
        columns[f"value_{kind}"] = pa.array(values[:, kind].astype(np.float32))
        columns[f"state_{kind}"] = pa.array(states[:, kind].astype(np.int8))
    return pa.table(columns)


def resampled_aucs(samples: pa.Table, resamples: int, seed: int) -> Areas:
    """AUCs of all kinds over one set of resamples of the images."""
    n = len(samples)
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.float32)
    counts = samples.column("n_objects").to_numpy()
    kinds, aucs, drawn = [], [], []
    for kind in range(sum(name.startswith("value_") for name in samples.column_names)):
        values, states = (samples.column(f"{name}_{kind}").to_numpy() for name in ("value", "state"))
        together, apart = np.flatnonzero(states == _TOGETHER), np.flatnonzero(states == _APART)
        if min(len(together), len(apart)) < LEAST:
            continue
        value, over_resamples = area(values, together, apart, counts, weights)
        if np.isnan(value):
            continue
        kinds.append(kind)
        aucs.append(value)
        drawn.append(over_resamples)
    resampled = np.stack(drawn) if drawn else np.zeros((0, resamples))
    return Areas(kinds, np.array(aucs), resampled)


def mass_shares(samples: pa.Table, resamples: int, seed: int) -> dict[str, tuple[float, np.ndarray]]:
    """Share of all strength that conjunction, and feature, atoms have, and over the same resamples of images."""
    n, total = len(samples), samples.column("mass").to_numpy()
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.float64)
    found = {}
    for kind in ("conjunction", "feature"):
        own = samples.column(f"mass_{kind}").to_numpy()
        share = float(own.sum() / total.sum()) if total.any() else float("nan")
        drawn = np.divide(weights @ own, weights @ total, out=np.full(resamples, np.nan), where=weights @ total > 0)
        found[kind] = (share, drawn)
    return found
