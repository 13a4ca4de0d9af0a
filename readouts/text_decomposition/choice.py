"""Forced choice between a scene's caption and that of its twin, split exactly among the terms of the embedding.

The margin M = <y, T+ - T-> is the sum of the terms' margins M_t = <c_t, T+ - T->. Twins have the same features, so
that a margin above zero is binding, and 1 - mean log2(1 + exp(-τ M)) bits are a lower bound of I(O; Z | F).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Float64

from readouts.text_decomposition.given import Given
from readouts.text_decomposition.texts import captions, exchanged

_STEPS = 60
_LARGEST = 1e6


class Margins(NamedTuple):
    """Margins of some terms together.

    Attributes:
        fitted: float32 [validation scenes].
        test: float32 [scenes].
    """

    fitted: Float32[np.ndarray, " fitted"]
    test: Float32[np.ndarray, " scenes"]

    def __sub__(self, other: Margins) -> Margins:
        return Margins(self.fitted - other.fitted, self.test - other.test)


class Choice(NamedTuple):
    """Margins of n scenes with a twin, by T terms and in all (T + 1 columns, the last one for all).

    Attributes:
        is_used: bool [images], test images that have a twin.
        fitted: float32 [validation scenes T+1].
        test: float32 [n T+1].
        pair: of the scenes used, or None.
    """

    is_used: Bool[np.ndarray, " images"]
    fitted: Float32[np.ndarray, "fitted terms"]
    test: Float32[np.ndarray, "scenes terms"]
    pair: np.ndarray | None

    @property
    def of_all(self) -> Margins:
        """Of the embedding."""
        return Margins(self.fitted[:, -1], self.test[:, -1])

    def of(self, terms: Sequence[int]) -> Margins:
        """Of some terms together."""
        return Margins(self.fitted[:, terms].sum(axis=1), self.test[:, terms].sum(axis=1))

    def bits(self, margins: Margins) -> Float32[np.ndarray, " scenes"]:
        """1 - log2(1 + exp(-τ M)) of each scene, at the best τ of the validation scenes."""
        tau = sharpness(margins.fitted[:, None])
        return (1 - np.logaddexp(0, -tau * margins.test) / np.log(2)).astype(np.float32)


def choices(given: Given) -> Choice:
    """Margins of test scenes, and of validation scenes, from which τ comes.

    Raises:
        ValueError: no scene has a twin.
    """
    is_used, margins = _margins(given, "test")
    _, fitted = _margins(given, "validation")
    if not len(margins) or not len(fitted):
        raise ValueError(
            "a forced choice needs scenes of two objects that differ in every feature, in validation and in test; "
            "`scene: twinshapes` has them"
        )
    pair = given.pair("test")
    return Choice(is_used, fitted, margins, None if pair is None else pair[is_used])


def _margins(given: Given, split: str) -> tuple[np.ndarray, np.ndarray]:
    codes = given.codes(split)
    other = exchanged(codes, given.scene_space)
    is_used = (codes != other).any(axis=1)
    true, false = (
        given.table.rows(captions(some[is_used], given.scene_space, given.grammar)) if is_used.any() else None
        for some in (codes, other)
    )
    if true is None or false is None:
        return is_used, np.zeros((0, len(given.lens.terms) + 1), np.float32)
    difference = np.zeros((len(codes), true.shape[1]), np.float32)
    difference[is_used] = true - false
    found = []
    for rows, stored in given.chunks(split):
        terms = given.lens.all_terms(stored, given.asked.shared.norm_split).numpy()
        own = np.einsum("ntj,nj->nt", terms, difference[rows])[is_used[rows]]
        found.append(np.concatenate([own, own.sum(axis=1, keepdims=True)], axis=1))
    return is_used, np.concatenate(found)


def sharpness(margins: Float32[np.ndarray, "scenes terms"]) -> Float64[np.ndarray, " terms"]:
    """The τ ≥ 0 at which the mean of log(1 + exp(-τ M)) is least; it is convex in τ."""
    wide = margins.astype(np.float64)
    scale = np.abs(wide).mean(axis=0)
    unit = wide / np.where(scale > 0, scale, 1)
    low, high = np.zeros(unit.shape[1]), np.full(unit.shape[1], _LARGEST)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        slope = -(unit / (1 + np.exp(np.clip(middle * unit, -500, 500)))).mean(axis=0)
        high, low = np.where(slope >= 0, middle, high), np.where(slope >= 0, low, middle)
    found = np.where(unit.mean(axis=0) > 0, (low + high) / 2, 0.0)
    return found / np.where(scale > 0, scale, 1)


def preferred(margins: np.ndarray) -> Float32[np.ndarray, "..."]:
    """1 where the own caption is preferred, 1/2 where neither is."""
    return ((margins > 0) + 0.5 * (margins == 0)).astype(np.float32)
