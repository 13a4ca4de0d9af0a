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
_ADAM_BATCH = 512
_BLOCK_NUMBERS = 2**23

Codes: TypeAlias = Any
"""[samples latents]: sparse codes (scipy's csr_array, whose types do not help), or a dense array of activations."""


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


def deviations(codes: Codes) -> Float64[np.ndarray, " latents"]:
    """Root mean square of each column, 1 where it is zero: a penalty should not favour atoms for their units."""
    squares = np.asarray(codes.power(2).mean(0) if issparse(codes) else (codes**2).mean(0), dtype=np.float64).ravel()
    return np.where(squares > 0, np.sqrt(squares), 1.0)


def path(codes: Codes, labels: Bool[np.ndarray, "samples classes"], penalties: Sequence[float]) -> Iterator[Solution]:
    """Minima of softmax cross-entropy + λ‖W‖₁ over scaled columns, the largest λ first, each begun at the last.

    FISTA with restarts (Beck and Teboulle 2009; O'Donoghue and Candès 2015): its zeros are exact.

    Args:
        codes: of images with at least one class.
        labels: what is present.
        penalties: λ.
    """
    scale = deviations(codes)
    x: Any = codes.multiply(1 / scale).tocsr() if issparse(codes) else codes.astype(np.float64) / scale
    goal = targets(labels)
    bound = 0.5 * _largest_eigenvalue(x) / len(goal)  # the Hessian of softmax cross-entropy is at most I/2
    weights = np.zeros((labels.shape[1], codes.shape[1]))
    for penalty in sorted(penalties, reverse=True):
        weights, kkt = _fista(x, goal, weights, penalty, bound)
        yield Solution(weights / scale, penalty, kkt)


def _largest_eigenvalue(x: Any) -> float:
    vector = np.ones(x.shape[1]) / np.sqrt(x.shape[1])
    value = 1.0
    for _ in range(50):
        vector = x.T @ (x @ vector)
        value = float(np.linalg.norm(vector))
        vector = vector / max(value, 1e-30)
    return 1.02 * max(value, 1e-12)


def _fista(x: Any, goal: np.ndarray, begin: np.ndarray, penalty: float, bound: float) -> tuple[np.ndarray, float]:
    weights, ahead, momentum = begin, begin, 1.0
    residual = np.inf
    for step in range(_MOST_STEPS):
        found = _shrunk(ahead - _gradient(x, goal, ahead) / bound, penalty / bound)
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        if ((ahead - found) * (found - weights)).sum() > 0:
            following, ahead = 1.0, found
        else:
            ahead = found + (momentum - 1) / following * (found - weights)
        weights, momentum = found, following
        if step % _CHECK_EVERY == _CHECK_EVERY - 1:
            residual = kkt_residual(_gradient(x, goal, weights), weights, penalty)
            if residual < _TOLERANCE:
                break
    return weights, residual


def _gradient(x: Any, goal: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.asarray((x.T @ (softmax(x @ weights.T, axis=1) - goal)).T) / len(goal)


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
) -> Solution:
    """The paper's: Adam at a constant rate on cross-entropy + λ·mean|W|; none of its weights becomes zero."""
    generator = torch.Generator().manual_seed(seed)
    n_classes, n_atoms = labels.shape[1], codes.shape[1]
    weights = ((2 * torch.rand(n_classes, n_atoms, generator=generator) - 1) / n_atoms**0.5).requires_grad_()
    optimiser = torch.optim.Adam([weights], lr=learning_rate)
    goal = torch.from_numpy(targets(labels)).float()
    for _ in range(epochs):
        for rows in torch.randperm(len(goal), generator=generator).split(_ADAM_BATCH):
            chosen: Any = codes[rows.numpy()]
            x = torch.from_numpy(np.asarray(chosen.toarray() if issparse(chosen) else chosen, dtype=np.float32))
            log = torch.log_softmax(x @ weights.T, dim=1)
            loss = -(goal[rows] * log).sum(1).mean() + penalty * weights.abs().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return Solution(weights.detach().double().numpy(), penalty, float("nan"))


def found_right(
    logits: np.ndarray, labels: Bool[np.ndarray, "samples classes"]
) -> tuple[Bool[np.ndarray, "samples classes"], Float64[np.ndarray, " samples"]]:
    """Which present classes are among an image's best, as many as it has; and their share. Equal logits: none wins.

    Of one class an image, the usual accuracy.
    """
    n_present = labels.sum(1)
    # a class is among the best n if fewer than n others are at least as good
    rivals = (logits[:, None, :] >= logits[:, :, None]).sum(2) - 1 if logits.shape[1] <= 64 else _rivals(logits)
    right = labels & (rivals < n_present[:, None])
    return right, right.sum(1) / n_present.clip(1)


def _rivals(logits: np.ndarray) -> np.ndarray:
    ordered = np.sort(logits, axis=1)
    return np.stack(
        [len(row) - np.searchsorted(line, row, side="left") - 1 for row, line in zip(logits, ordered, strict=True)]
    )


class Coverage(NamedTuple):
    """Concepts behind the decision for each image's best class.

    Attributes:
        positive: fewest concepts that make up the share of the positive contributions; counted from 1.
        absolute: the same of absolute contributions.
    """

    positive: Int64[np.ndarray, " samples"]
    absolute: Int64[np.ndarray, " samples"]


def coverage(codes: Codes, weights: np.ndarray, logits: np.ndarray, share: float = 0.95) -> Coverage:
    """How many concepts a decision has (number of contributing concepts, NCC); 0 for an image without a code.

    The published count begins at 0: it is one less.
    """
    best = logits.argmax(1)
    rows = max(1, _BLOCK_NUMBERS // codes.shape[1])
    parts: list[list[np.ndarray]] = [[], []]
    for start in range(0, codes.shape[0], rows):
        chosen: Any = codes[start : start + rows]
        dense = chosen.toarray() if issparse(chosen) else chosen
        u = weights[best[start : start + rows]] * dense
        for part, values in zip(parts, (np.maximum(u, 0), np.abs(u)), strict=True):
            part.append(_fewest(values, share))
    return Coverage(*(np.concatenate(part) for part in parts))


def _fewest(values: np.ndarray, share: float) -> np.ndarray:
    ordered = -np.sort(-values, axis=1)
    total = ordered.sum(1, keepdims=True)
    reached = np.cumsum(ordered, axis=1) >= share * total * (1 - 1e-12)
    return np.where(total[:, 0] > 0, reached.argmax(1) + 1, 0)


def with_budget(solution: Solution, codes: Codes, n: int) -> np.ndarray:
    """Weights with only the n strongest atoms of each class, by |weight| times the atom's root mean square."""
    strength = np.abs(solution.weights) * deviations(codes)
    if n >= strength.shape[1]:
        return solution.weights
    cut = -np.partition(-strength, n - 1, axis=1)[:, n - 1 : n]
    return np.where((strength >= cut) & (strength > 0), solution.weights, 0.0)
