"""Linear classifiers without bias on codes: a path of exact-zero solutions, and the paper's Adam."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64
from scipy.sparse import issparse
from scipy.special import log_softmax, softmax

_MOST_STEPS = 3000
_CHECK_EVERY = 20
_TOLERANCE = 1e-3
_PLAIN_TOLERANCE = 1e-5
"""Of the gradient itself where λ is 0; a λ of a hundredth is met as closely."""
_ADAM_BATCH = 512
_PAIRS_OF_CLASSES = 64
_CPU = torch.device("cpu")
_BLOCK_NUMBERS = 2**23
_RESIDENT_NUMBERS = 2**27
"""Activations up to 1 GB of float64 are read once."""
BUDGETS = (5, 10, 15, 20, 25, 30)
"""Atoms a class at which accuracy is told (number of effective concepts, NEC)."""

Codes: TypeAlias = Any
"""[samples latents]: sparse codes (scipy's csr_array, whose types do not help), or rows of activations, which may be
more than memory holds."""


class Solution(NamedTuple):
    """A classifier.

    Attributes:
        weights: W of the codes as they are [classes latents].
        penalty: λ.
        kkt: largest violation of the optimality conditions, in units of λ; NaN where none was sought.
    """

    weights: Float64[np.ndarray, "classes latents"]
    penalty: float
    kkt: float

    @property
    def weights_per_class(self) -> float:
        """Weights that are not zero, mean over classes."""
        return float((self.weights != 0).sum(1).mean())


def targets(labels: Bool[np.ndarray, "samples classes"]) -> Float64[np.ndarray, "samples classes"]:
    """Equal shares for the classes that are present; one class gives the usual one-hot target."""
    return labels / labels.sum(1, keepdims=True).clip(1)


def parts(codes: Codes, width: int | None = None) -> Iterator[tuple[slice, Any]]:
    """Codes in blocks of rows: sparse ones stay so, others are read block by block, as float64.

    Args:
        codes: [samples latents].
        width: numbers that a row needs; null for as many as there are latents.
    """
    rows = max(1, _BLOCK_NUMBERS // max(width or codes.shape[1], 1))
    for start in range(0, codes.shape[0], rows):
        chosen = slice(start, start + rows)
        yield chosen, codes[chosen] if issparse(codes) else np.asarray(codes[chosen], dtype=np.float64)


def _width(codes: Codes, n: int) -> int:
    """Numbers that a row needs where n are made of it."""
    return n if issparse(codes) else max(n, codes.shape[1])


def deviations(codes: Codes) -> Float64[np.ndarray, " latents"]:
    """Root mean square of each column, 1 where it is zero: a penalty should not favour atoms for their units."""
    squares = np.zeros(codes.shape[1])
    for _, x in parts(codes):
        squares += np.asarray((x.astype(np.float64) ** 2).sum(0)).ravel()
    squares /= max(codes.shape[0], 1)
    return np.where(squares > 0, np.sqrt(squares), 1.0)


class _Problem:
    """Softmax cross-entropy over scaled columns, in blocks; those that fit are kept in memory.

    Args:
        codes: of images with at least one class.
        labels: what is present [samples classes].
        scale: of the columns.
    """

    def __init__(self, codes: Codes, labels: np.ndarray, scale: np.ndarray) -> None:
        self._codes, self._labels, self._scale = codes, labels, scale
        fits = issparse(codes) or codes.shape[0] * codes.shape[1] <= _RESIDENT_NUMBERS
        self._kept = list(self._read()) if fits else None

    def _read(self) -> Iterator[tuple[Any, np.ndarray]]:
        for rows, x in parts(self._codes, _width(self._codes, self._labels.shape[1])):
            scaled = x.multiply(1 / self._scale).tocsr() if issparse(x) else x / self._scale
            yield scaled, self._labels[rows]

    def blocks(self) -> Iterator[tuple[Any, np.ndarray]]:
        """Scaled rows and their labels."""
        return iter(self._kept) if self._kept is not None else self._read()

    def gradient(self, weights: np.ndarray) -> np.ndarray:
        """Of the mean loss [classes latents]."""
        total = np.zeros_like(weights)
        for x, labels in self.blocks():
            total += np.asarray((x.T @ (softmax(x @ weights.T, axis=1) - targets(labels))).T)
        return total / len(self._labels)

    def largest_eigenvalue(self) -> float:
        """Of XᵀX, or a little more."""
        vector = np.ones(len(self._scale)) / np.sqrt(len(self._scale))
        value = 1.0
        for _ in range(50):
            vector = sum((x.T @ (x @ vector) for x, _ in self.blocks()), np.zeros(len(vector)))
            value = float(np.linalg.norm(vector))
            vector = vector / max(value, 1e-30)
        return 1.02 * max(value, 1e-12)


def path(codes: Codes, labels: Bool[np.ndarray, "samples classes"], penalties: Sequence[float]) -> Iterator[Solution]:
    """Minima of softmax cross-entropy + λ‖W‖₁ over scaled columns, the largest λ first, each begun at the last.

    FISTA with restarts (Beck and Teboulle 2009; O'Donoghue and Candès 2015): its zeros are exact.

    Args:
        codes: of images with at least one class.
        labels: what is present.
        penalties: λ.
    """
    scale = deviations(codes)
    problem = _Problem(codes, labels, scale)
    bound = 0.5 * problem.largest_eigenvalue() / len(labels)  # the Hessian of softmax cross-entropy is at most I/2
    weights = np.zeros((labels.shape[1], codes.shape[1]))
    for penalty in sorted(penalties, reverse=True):
        weights, kkt = _fista(problem, weights, penalty, bound)
        yield Solution(weights / scale, penalty, kkt)


def _fista(problem: _Problem, begin: np.ndarray, penalty: float, bound: float) -> tuple[np.ndarray, float]:
    weights, ahead, momentum = begin, begin, 1.0
    residual, enough = np.inf, _TOLERANCE if penalty else _PLAIN_TOLERANCE
    for step in range(_MOST_STEPS):
        found = _shrunk(ahead - problem.gradient(ahead) / bound, penalty / bound)
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        if ((ahead - found) * (found - weights)).sum() > 0:
            following, ahead = 1.0, found
        else:
            ahead = found + (momentum - 1) / following * (found - weights)
        weights, momentum = found, following
        if step % _CHECK_EVERY == _CHECK_EVERY - 1:
            residual = kkt_residual(problem.gradient(weights), weights, penalty)
            if residual < enough:
                break
    return weights, residual


def _shrunk(values: np.ndarray, by: float) -> np.ndarray:
    return np.sign(values) * np.maximum(np.abs(values) - by, 0.0)


def kkt_residual(gradient: np.ndarray, weights: np.ndarray, penalty: float) -> float:
    """Largest violation of the conditions of a minimum, in units of λ (of the gradient itself where λ is 0)."""
    of_zeros = np.maximum(np.abs(gradient) - penalty, 0.0)
    violation = np.where(weights == 0, of_zeros, np.abs(gradient + penalty * np.sign(weights)))
    return float(violation.max()) / (penalty or 1.0)


def objective(
    codes: Codes, labels: Bool[np.ndarray, "samples classes"], weights: np.ndarray, penalty: float
) -> float:
    """What `path` minimises."""
    scale = deviations(codes)
    loss = -(targets(labels) * log_softmax(codes @ weights.T, axis=1)).sum(1).mean()
    return float(loss + penalty * np.abs(weights * scale).sum())


def adam(
    codes: Codes,
    labels: Bool[np.ndarray, "samples classes"],
    *,
    penalty: float,
    learning_rate: float,
    epochs: int,
    seed: int,
    device: torch.device = _CPU,
) -> Solution:
    """The paper's: Adam at a constant rate on cross-entropy + λ·mean|W|; none of its weights becomes zero."""
    generator = torch.Generator().manual_seed(seed)
    n_classes, n_atoms = labels.shape[1], codes.shape[1]
    weights = ((2 * torch.rand(n_classes, n_atoms, generator=generator) - 1) / n_atoms**0.5).to(device)
    weights.requires_grad_()
    optimiser = torch.optim.Adam([weights], lr=learning_rate)
    for _ in range(epochs):
        for rows in torch.randperm(len(labels), generator=generator).split(_ADAM_BATCH):
            chosen: Any = codes[rows.numpy()]
            dense = np.asarray(chosen.toarray() if issparse(chosen) else chosen, dtype=np.float32)
            goal = torch.from_numpy(targets(labels[rows.numpy()])).float().to(device)
            log = torch.log_softmax(torch.from_numpy(dense).to(device) @ weights.T, dim=1)
            loss = -(goal * log).sum(1).mean() + penalty * weights.abs().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return Solution(weights.detach().double().cpu().numpy(), penalty, float("nan"))


def found_right(
    logits: np.ndarray, labels: Bool[np.ndarray, "samples classes"]
) -> tuple[Bool[np.ndarray, "samples classes"], Float64[np.ndarray, " samples"]]:
    """Which present classes are among an image's best, as many as it has; and their share. Equal logits: none wins.

    Of one class an image, the usual accuracy.
    """
    n_present = labels.sum(1)
    # a class is among the best n if fewer than n others are at least as good
    rivals = (
        (logits[:, None, :] >= logits[:, :, None]).sum(2) - 1
        if logits.shape[1] <= _PAIRS_OF_CLASSES
        else _rivals(logits)
    )
    right = labels & (rivals < n_present[:, None])
    return right, right.sum(1) / n_present.clip(1)


def _rivals(logits: np.ndarray) -> np.ndarray:
    ordered = np.sort(logits, axis=1)
    return np.stack(
        [len(row) - np.searchsorted(line, row, side="left") - 1 for row, line in zip(logits, ordered, strict=True)]
    )


class Decisions(NamedTuple):
    """What a classifier says of every image.

    Attributes:
        best: class of the largest logit.
        right: present classes that are among the best, as many as there are.
        accuracy: their share.
    """

    best: Int64[np.ndarray, " samples"]
    right: Bool[np.ndarray, "samples classes"]
    accuracy: Float64[np.ndarray, " samples"]


def decide(codes: Codes, weights: np.ndarray, labels: Bool[np.ndarray, "samples classes"]) -> Decisions:
    """Logits of all images, block by block, and what follows."""
    found: tuple[list[np.ndarray], ...] = ([], [], [])
    n_classes = labels.shape[1]
    for rows, x in parts(codes, _width(codes, n_classes * min(n_classes, _PAIRS_OF_CLASSES))):
        logits = np.asarray(x @ weights.T)
        for part, values in zip(found, (logits.argmax(1), *found_right(logits, labels[rows])), strict=True):
            part.append(values)
    return Decisions(*(np.concatenate(part) for part in found))


class Coverage(NamedTuple):
    """Concepts behind the decision for each image's best class.

    Attributes:
        positive: fewest concepts that make up the share of the positive contributions; counted from 1.
        absolute: the same of absolute contributions.
    """

    positive: Int64[np.ndarray, " samples"]
    absolute: Int64[np.ndarray, " samples"]


def coverage(codes: Codes, weights: np.ndarray, best: Int64[np.ndarray, " samples"], share: float = 0.95) -> Coverage:
    """How many concepts a decision has (number of contributing concepts, NCC); 0 for an image without a code.

    The published count begins at 0: it is one less.

    Args:
        codes: [samples latents].
        weights: [classes latents].
        best: the class that each image is given.
        share: of the contributions.
    """
    found: list[list[np.ndarray]] = [[], []]
    for rows, x in parts(codes):
        u = weights[best[rows]] * (x.toarray() if issparse(x) else x)
        for part, values in zip(found, (np.maximum(u, 0), np.abs(u)), strict=True):
            part.append(_fewest(values, share))
    return Coverage(*(np.concatenate(part) for part in found))


def _fewest(values: np.ndarray, share: float) -> np.ndarray:
    ordered = -np.sort(-values, axis=1)
    total = ordered.sum(1, keepdims=True)
    reached = np.cumsum(ordered, axis=1) >= share * total * (1 - 1e-12)
    return np.where(total[:, 0] > 0, reached.argmax(1) + 1, 0)


def with_budget(weights: np.ndarray, scale: Float64[np.ndarray, " latents"], n: int) -> np.ndarray:
    """Weights with only the n strongest atoms of each class, by |weight| times the atom's root mean square."""
    strength = np.abs(weights) * scale
    if n >= strength.shape[1]:
        return weights
    cut = -np.partition(-strength, n - 1, axis=1)[:, n - 1 : n]
    return np.where((strength >= cut) & (strength > 0), weights, 0.0)
