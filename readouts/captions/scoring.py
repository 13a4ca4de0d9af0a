"""Per-image results of a cell: its captions, what they get right, and what given captions are worth to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Float64, Int64, UInt8

from readouts.captions.parsing import Parser, words_of
from readouts.captions.truth import truth_columns

_LARGEST_FACTOR = 100.0


@dataclass(frozen=True)
class WrittenCaptions:
    """What a decoder wrote for each image, and the log-likelihoods of the choices.

    Attributes:
        captions: texts.
        step_bits: entropies of the steps of each.
        ended: whether each ended by itself.
        nats: log-likelihoods [samples choices], in the order of `decode.CaptionChoices.labels`; None without choices.
    """

    captions: Sequence[str]
    step_bits: Sequence[np.ndarray]
    ended: np.ndarray
    nats: Float64[np.ndarray, "samples choices"] | None


def sample_table(
    written: WrittenCaptions,
    units: Int64[np.ndarray, " samples"],
    object_codes: UInt8[np.ndarray, "samples objects"],
    parser: Parser,
    true_captions: Sequence[str] | None,
    *,
    is_shuffled: bool,
) -> pa.Table:
    """A row an image, from which every measure follows.

    Args:
        written: captions and likelihoods.
        units: which images are resampled together.
        object_codes: of the scenes.
        parser: of the scenes' words.
        true_captions: in the grammar of the study; None where there are none.
        is_shuffled: whether captions are those of other images: then the likelihoods asked for are of captions of
            other scenes too.
    """
    step_bits = [np.asarray(one, dtype=np.float64) for one in written.step_bits]
    columns: dict[str, object] = {
        "caption": pa.array(list(written.captions), pa.string()),
        "unit": units.astype(np.int64),
        "entropy_bits": np.array([one.mean() if len(one) else 0.0 for one in step_bits]),
        "entropy_sum": np.array([one.sum() for one in step_bits]),
        "n_steps": np.array([len(one) for one in step_bits], dtype=np.float64),
        "n_words": np.array([len(words_of(text)) for text in written.captions], dtype=np.float64),
        "ended": np.asarray(written.ended, dtype=np.float64),
    }
    truth = truth_columns(written.captions, object_codes, parser)
    columns |= truth | {"chance_swaps": truth["possible"] - truth["chance_hits"]}
    if true_captions is not None:
        columns["true_caption"] = pa.array(list(true_captions), pa.string())
        exact = [one == other for one, other in zip(written.captions, true_captions, strict=True)]
        columns["exact"] = np.array(exact, dtype=np.float64)
    if written.nats is not None:
        columns |= choice_columns(written.nats, units, is_shuffled=is_shuffled)
    return pa.table(columns)


def choice_columns(
    nats: Float64[np.ndarray, "samples choices"], units: Int64[np.ndarray, " samples"], *, is_shuffled: bool
) -> Mapping[str, Float64[np.ndarray, " samples"]]:
    """Forced choice and retrieval of every image; NaN where a scene has no swapped caption.

    Args:
        nats: log-likelihoods of the true caption, the swapped one, those of n other scenes, and the first of these
            swapped.
        units: which images are resampled together; the calibration is fitted on half of them for the other half.
        is_shuffled: whether the first other scene takes the place of the true one, so that the memory is not its own.
    """
    nats = np.asarray(nats, dtype=np.float64)
    n_others = nats.shape[1] - 3
    own, swapped = (nats[:, 2], nats[:, -1]) if is_shuffled else (nats[:, 0], nats[:, 1])
    delta = own - swapped
    columns = {
        "delta_nats": delta,
        "preferred": np.where(np.isnan(delta), np.nan, (delta > 0) + 0.5 * (delta == 0)),
        "choice_bits": bits_of(delta),
        "fitted_bits": calibrated_bits(delta, units),
    }
    if n_others < 2:
        return columns
    others = nats[:, 3 : 2 + n_others] if is_shuffled else nats[:, 2 : 1 + n_others]
    candidates = np.concatenate([own[:, None], others], axis=1)
    best = candidates.max(axis=1, keepdims=True)
    is_best = candidates >= best - 1e-5  # equal captions have equal likelihoods up to rounding
    shares = candidates - best - np.log(np.exp(candidates - best).sum(axis=1, keepdims=True))
    return columns | {
        "retrieved": is_best[:, 0] / is_best.sum(axis=1),
        "contrast_bits": np.log2(candidates.shape[1]) + shares[:, 0] / np.log(2),
    }


def bits_of(delta: Float64[np.ndarray, " samples"]) -> Float64[np.ndarray, " samples"]:
    """1 - log2(1 + exp(-Δ)) of every image, Δ in nats; NaN where there is no Δ."""
    is_there = ~np.isnan(delta)
    bits = 1 - np.logaddexp(0, -np.where(is_there, delta, 0.0)) / np.log(2)
    return np.where(is_there, bits, np.nan)


def calibrated_bits(
    delta: Float64[np.ndarray, " samples"], units: Int64[np.ndarray, " samples"]
) -> Float64[np.ndarray, " samples"]:
    """The same with Δ times the factor that is best on the other half of the units; at least 0 in expectation."""
    found = np.full(len(delta), np.nan)
    is_there = ~np.isnan(delta)
    _, order = np.unique(units, return_inverse=True)
    for half in (0, 1):
        here, other = (is_there & (order % 2 == one) for one in (half, 1 - half))
        if here.any() and other.any():
            found[here] = bits_of(_factor(delta[other]) * delta[here])
    return found


def _factor(delta: Float64[np.ndarray, " samples"]) -> float:
    """The factor ≥ 0 that makes the mean of the bits largest."""
    from scipy.optimize import minimize_scalar  # a third of a second that a plan does without

    def loss(log_factor: float) -> float:
        return -float(bits_of(np.exp(log_factor) * delta).mean())

    best = minimize_scalar(loss, bounds=(-12.0, np.log(_LARGEST_FACTOR)), method="bounded")
    return float(np.exp(best.x)) if best.fun < 0 else 0.0
