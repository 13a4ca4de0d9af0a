"""Per-image results of a cell: its captions, what they get right, and what given captions are worth to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Float64, Int64

from readouts.captions.decode import CaptionChoices, ScoredChoices
from readouts.captions.parsing import words_of

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
    truth: Mapping[str, Float64[np.ndarray, " samples"]],
    true_captions: Sequence[str] | None,
    *,
    choices: CaptionChoices | None,
    is_shuffled: bool,
) -> pa.Table:
    """A row an image, from which every measure follows.

    Args:
        written: captions and likelihoods.
        units: which images are resampled together.
        truth: counts of what captions get right, of `truth.truth_columns` or `object_words.object_word_columns`.
        true_captions: in the grammar of the study; None where there are none, or more than one would be right.
        choices: the captions that have likelihoods.
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
    columns |= truth
    if true_captions is not None:
        columns["true_caption"] = pa.array(list(true_captions), pa.string())
        exact = [one == other for one, other in zip(written.captions, true_captions, strict=True)]
        columns["exact"] = np.array(exact, dtype=np.float64)
    if written.nats is not None and choices is not None:
        scored = choices.read(np.asarray(written.nats, dtype=np.float64), is_shuffled=is_shuffled)
        columns |= choice_columns(scored, units)
    return pa.table(columns)


def choice_columns(
    scored: ScoredChoices, units: Int64[np.ndarray, " samples"]
) -> dict[str, Float64[np.ndarray, " samples"]]:
    """Forced choice and retrieval of every image; NaN where a scene has no swapped caption.

    Args:
        scored: log-likelihoods in nats.
        units: which images are resampled together; the calibration is fitted on half of them for the other half.
    """
    columns: dict[str, np.ndarray] = {}
    if scored.swapped is not None:
        delta = scored.own - scored.swapped
        columns |= {
            "delta_nats": delta,
            "preferred": np.where(np.isnan(delta), np.nan, (delta > 0) + 0.5 * (delta == 0)),
            "choice_bits": bits_of(delta),
            "fitted_bits": calibrated_bits(delta, units),
        }
    if not scored.others.shape[1]:
        return columns
    candidates = np.concatenate([scored.own[:, None], scored.others], axis=1)
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
