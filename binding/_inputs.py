"""Arrays of a user's own as samples: checked, cut into splits, with what a prior says of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

import numpy as np
from jaxtyping import Float, Int, Integer

from binding.samples import Samples, SplitSamples
from frozen.data.scenes import SPLITS
from frozen.data.scenes.codes import FeatureSpace
from frozen.data.scenes.priors import CountsPrior, PriorSource, SizePrior, UniformPrior, possible_log_odds

_BLOCK_ROWS = 4096
_SHARES = (0.64, 0.8)

PriorChoice = SizePrior | Literal["uniform", "estimated", "none"]


def split_samples(
    activations: Float[np.ndarray, "samples *tokens dim"],
    object_codes: Integer[np.ndarray, "samples objects"],
    space: FeatureSpace,
    prior: PriorChoice,
    splits: Sequence[Int[np.ndarray, " split"]] | None,
) -> SplitSamples:
    """The three splits of a user's arrays (see `binding.measure`).

    Raises:
        ValueError: an array or a split that cannot be used; the message names it and the row.
    """
    activations, object_codes = np.asarray(activations), np.asarray(object_codes)
    _check_activations(activations)
    _check_codes(object_codes, len(activations), space)
    codes = object_codes.astype(np.uint8)
    parts = _checked_splits(splits, len(codes))
    known = _known_prior(prior, codes, space, parts)
    if known is None:
        entropy, log_odds = np.full(len(codes), np.nan), partial(possible_log_odds, space)
    else:
        _check_sizes(codes, known)
        entropy, log_odds = known.conditional_entropy_bits(space.feature_codes(codes)), known.log_odds
    train, validation, test = (
        Samples(activations[part], codes[part], entropy[part], log_odds(codes[part])) for part in parts
    )
    source: PriorSource = "declared" if isinstance(prior, SizePrior) or prior == "uniform" else prior
    return SplitSamples(space, train, validation, test, prior=source)


def _check_activations(activations: np.ndarray) -> None:
    if activations.ndim not in (2, 3):
        raise ValueError(f"activations must be [samples dim] or [samples token dim], got shape {activations.shape}")
    if activations.dtype.kind not in "fiub":
        raise ValueError(f"activations must be numbers, got {activations.dtype}")
    for start in range(0, len(activations), _BLOCK_ROWS):
        finite = np.isfinite(activations[start : start + _BLOCK_ROWS]).reshape(-1, activations[0].size).all(axis=1)
        if not finite.all():
            row = start + int(np.argmin(finite))
            values = activations[row]
            found = values[~np.isfinite(values)][0]
            raise ValueError(
                f"activations must be finite, got {found} in row {row}; leave out such samples, or mend them"
            )


def _check_codes(object_codes: np.ndarray, n_samples: int, space: FeatureSpace) -> None:
    if object_codes.shape != (n_samples, space.n_objects):
        raise ValueError(
            f"object_codes must be [{n_samples} samples, {space.n_objects} objects], got {object_codes.shape}"
        )
    wrong = (object_codes != 0) & (object_codes != 1)
    if wrong.any():
        row, column = (int(index[0]) for index in np.nonzero(wrong))
        raise ValueError(
            f"object_codes must be 0 or 1, got {object_codes[row, column]} in row {row} for "
            f"{space.object_names[column]!r}; an object that occurs twice counts once"
        )


def _checked_splits(
    splits: Sequence[Int[np.ndarray, " split"]] | None, n_samples: int
) -> list[Int[np.ndarray, " split"]]:
    if splits is None:
        parts = np.split(np.arange(n_samples), [int(share * n_samples) for share in _SHARES])
    else:
        parts = [np.asarray(part) for part in splits]
    if len(parts) != len(SPLITS):
        raise ValueError(f"splits must be three arrays of indices, {', '.join(SPLITS)}, got {len(parts)}")
    split_of = np.full(n_samples, -1)
    for number, (name, part) in enumerate(zip(SPLITS, parts, strict=True)):
        if part.ndim != 1 or not len(part) or not np.issubdtype(part.dtype, np.integer):
            raise ValueError(
                f"the {name} split must be a list of at least one index, got {part.dtype} of shape {part.shape}"
            )
        if outside := part[(part < 0) | (part >= n_samples)].tolist():
            raise ValueError(f"the {name} split has the index {outside[0]}; there are samples 0 to {n_samples - 1}")
        if len(twice := part[split_of[part] >= 0]):
            other = SPLITS[split_of[twice[0]]]
            raise ValueError(f"splits must not overlap, got sample {twice[0]} in {other} and {name}")
        split_of[part] = number
        if len(np.unique(part)) < len(part):
            values, counts = np.unique(part, return_counts=True)
            raise ValueError(f"the {name} split has sample {values[counts > 1][0]} twice")
    return parts


def _known_prior(
    prior: PriorChoice, codes: np.ndarray, space: FeatureSpace, parts: Sequence[np.ndarray]
) -> SizePrior | None:
    if isinstance(prior, SizePrior):
        if prior.space != space:
            raise ValueError(f"the prior is of other features than the codes: {prior.space.sizes} and {space.sizes}")
        return prior
    most = int(codes.sum(axis=1, dtype=np.int64).max())
    known = {
        "uniform": lambda: UniformPrior(space, 0, most),
        "estimated": lambda: CountsPrior.estimated(space, codes[parts[0]], most),
        "none": lambda: None,
    }
    if prior not in known:
        raise ValueError(
            f"prior must be one of {', '.join(known)}, or a prior of frozen.data.scenes.priors, got {prior!r}"
        )
    return known[prior]()


def _check_sizes(codes: np.ndarray, prior: SizePrior) -> None:
    sizes = codes.sum(axis=1, dtype=np.int64)
    outside = np.flatnonzero(~np.isin(sizes, np.flatnonzero(prior.size_weights)))
    if len(outside):
        row = int(outside[0])
        raise ValueError(f"object_codes has {sizes[row]} objects in row {row}, which the prior excludes")
