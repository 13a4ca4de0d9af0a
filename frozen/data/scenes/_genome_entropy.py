"""The two conditional entropies of an image whose objects are weighted by co-occurrence (paper, section 3.2).

Assignments, as in the paper: the image's instances keep their classes, the observed attributes are dealt out to
them, each instance i taking attribute a with weight p(c_i, a). The entropy is that of the deal.

Codes, what B* asks for: H(O | F = f) where objects occur independently, object k in Poisson numbers of mean mu_k.
Given F, a code O has the probability Π_{k in O} w_k / Z with w_k = exp(mu_k) - 1, over all codes with these features.

Both are sums over all completions of a state, filled in from the last step backwards, in log space and for all
images of one shape at once. Nothing is subtracted, so nothing cancels.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int, UInt8

_BATCH_STATES = 2**20


class _Level(NamedTuple):
    """States with as many attributes left, and where each can go."""

    states: np.ndarray
    """[states]"""
    following: np.ndarray
    """[states attributes]: the state after giving one away; itself where none is left."""
    is_possible: np.ndarray
    """[states attributes]"""


@lru_cache(maxsize=256)
def _levels(counts: tuple[int, ...]) -> tuple[_Level, ...]:
    """States of a multiset with these counts, from one attribute left to all."""
    shape = tuple(count + 1 for count in counts)
    left = np.stack(np.unravel_index(np.arange(n_assignment_states(counts)), shape), axis=1)
    strides = np.array([int(np.prod(shape[place + 1 :])) for place in range(len(shape))])
    following = np.arange(len(left))[:, None] - strides * (left > 0)
    n_left = left.sum(axis=1)
    by_level = np.split(np.argsort(n_left, kind="stable"), np.cumsum(np.bincount(n_left))[:-1])
    return tuple(_Level(states, following[states], left[states] > 0) for states in by_level[1:])


def n_assignment_states(counts: Sequence[int]) -> int:
    """States that the entropy of assignments needs: what can be left of a multiset with these counts."""
    return int(np.prod([count + 1 for count in counts], dtype=object))


def assignment_entropy_bits(
    log_weights: Float64[np.ndarray, "images instances attributes"], counts: tuple[int, ...]
) -> Float64[np.ndarray, " images"]:
    """Entropy of the ways to deal out attributes to instances, of images with equal counts.

    Args:
        log_weights: log p(c_i, a) of every instance and observed attribute.
        counts: how often each attribute was observed; they sum to the number of instances.
    """
    n_images, n_instances, _ = log_weights.shape
    n_states = n_assignment_states(counts)
    weight, entropy = np.zeros((n_images, n_states)), np.zeros((n_images, n_states))
    for left, level in enumerate(_levels(counts), start=1):
        terms = log_weights[:, n_instances - left, None, :] + weight[:, level.following]
        terms += np.where(level.is_possible, 0.0, -np.inf)
        largest = terms.max(axis=-1, keepdims=True)
        chance = np.exp(terms - largest)
        scale = chance.sum(axis=-1, keepdims=True)
        chance /= scale
        total = largest + np.log(scale)
        gain = np.where(level.is_possible, entropy[:, level.following] - terms + total, 0.0)
        weight[:, level.states] = total[..., 0]
        entropy[:, level.states] = (chance * gain).sum(axis=-1)
    return entropy[:, n_states - 1] / np.log(2)


class Completions(NamedTuple):
    """For every cell and state: the log weight and the entropy (nats) of what comes after the cell.

    A state is the set of attributes that are covered, and whether the cell's class is.
    """

    log_weight: Float64[np.ndarray, "cells_and_end images masks 2"]
    entropy: Float64[np.ndarray, "cells_and_end images masks 2"]


def n_code_states(n_attributes: int) -> int:
    """States that the entropy of codes and the prior odds need."""
    return 2 ** (n_attributes + 1)


def completions(log_weights: Float64[np.ndarray, "images classes attributes"]) -> Completions:
    """Total weight and entropy of all completions that cover every class and every attribute.

    Args:
        log_weights: log w_k of the objects that the present features allow.
    """
    n_images, n_classes, n_attributes = log_weights.shape
    masks = np.arange(2**n_attributes)
    n_cells = n_classes * n_attributes
    weight = np.full((n_cells + 1, n_images, len(masks), 2), -np.inf)
    entropy = np.zeros_like(weight)
    weight[n_cells, :, -1, 1] = 0.0
    for cell in range(n_cells - 1, -1, -1):
        row, column = divmod(cell, n_attributes)
        after, after_entropy = weight[cell + 1], entropy[cell + 1]
        if column == n_attributes - 1 and row < n_classes - 1:
            after, after_entropy = _next_row(after), _next_row(after_entropy, 0.0)
        covered = masks | (1 << column)
        taken = log_weights[:, row, column, None, None] + after[:, covered, 1:]
        total = np.logaddexp(taken, after)
        with np.errstate(invalid="ignore"):
            log_taken, log_left = taken - total, after - total
        chance = np.nan_to_num(np.exp(log_taken))
        surprise = -(_times(chance, log_taken) + _times(1 - chance, log_left))
        rest = chance * after_entropy[:, covered, 1:] + (1 - chance) * after_entropy
        weight[cell], entropy[cell] = total, np.where(np.isfinite(total), surprise + rest, 0.0)
    return Completions(weight, entropy)


def _next_row(after: np.ndarray, otherwise: float = -np.inf) -> np.ndarray:
    """From the states before a row's first cell to those after the row before: only a covered class may end."""
    start = after[..., 0]
    return np.stack([np.full_like(start, otherwise), start], axis=-1)


def _times(chance: np.ndarray, log: np.ndarray) -> np.ndarray:
    return np.where((chance > 0) & np.isfinite(log), chance * np.nan_to_num(log, neginf=0.0), 0.0)


def code_entropy_bits(
    log_weights: Float64[np.ndarray, "images classes attributes"],
) -> Float64[np.ndarray, " images"]:
    """H(O | F = f) in bits of images with as many present classes and attributes."""
    narrow = log_weights if log_weights.shape[1] >= log_weights.shape[2] else log_weights.transpose(0, 2, 1)
    return completions(narrow).entropy[0, :, 0, 0] / np.log(2)


def code_log_odds(
    log_weights: Float64[np.ndarray, "images classes attributes"],
    codes: UInt8[np.ndarray, "images classes attributes"],
) -> Float64[np.ndarray, "images classes attributes"]:
    """Log-odds (nats) of every object given those before it and the features; infinite where it is certain.

    Args:
        log_weights: log w_k of the objects that the present features allow.
        codes: which of them are there; every class and attribute is.
    """
    n_images, n_classes, n_attributes = codes.shape
    after = completions(log_weights).log_weight
    images = np.arange(n_images)
    mask, covered = np.zeros(n_images, dtype=np.int64), np.zeros(n_images, dtype=np.int64)
    odds = np.empty(codes.shape)
    for cell in range(n_classes * n_attributes):
        row, column = divmod(cell, n_attributes)
        here = after[cell + 1]
        if column == n_attributes - 1 and row < n_classes - 1:
            here = _next_row(here)
        taken = log_weights[:, row, column] + here[images, mask | (1 << column), 1]
        with np.errstate(invalid="ignore"):
            odds[:, row, column] = taken - here[images, mask, covered]
        present = codes[:, row, column].astype(np.int64)
        mask, covered = mask | (present << column), covered | present
        if column == n_attributes - 1:
            covered = np.zeros_like(covered)
    return odds


def batches(shape: Sequence[int], members: Int[np.ndarray, " members"]) -> list[np.ndarray]:
    """Images of one shape in parts whose tables fit in little memory."""
    cells = int(np.prod(shape))
    size = max(1, _BATCH_STATES // cells)
    return [members[i : i + size] for i in range(0, len(members), size)]
