from __future__ import annotations

import numpy as np
import pytest
import torch

from readouts.class_embedding import ranks
from readouts.class_embedding.probes import Statistics, ridge, twice_ranks


def direct(x: np.ndarray, targets: np.ndarray, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """Ridge with an intercept that is not penalised, by stacking it onto the data and solving at once."""
    wide = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    penalty = alpha * np.diag([1.0] * x.shape[1] + [0.0])
    solution = np.linalg.solve(wide.T @ wide + penalty, wide.T @ targets)
    return solution[:-1].T, solution[-1]


@pytest.mark.parametrize("alpha", [1.0, 10.0])
def test_ridge_from_streamed_sums_is_the_direct_solution(alpha: float) -> None:
    rng = np.random.default_rng(0)
    x, classes = rng.normal(size=(300, 48)) + 3.0, rng.integers(0, 11, 300)
    parts = [Statistics.of(x[at : at + 64], classes[at : at + 64], 11) for at in range(0, 300, 64)]
    total = parts[0]
    for part in parts[1:]:
        total = total.plus(part)
    found = ridge(total, alpha)
    targets = np.where(np.arange(11) == classes[:, None], 1.0, -1.0)
    weight, bias = direct(x, targets, alpha)
    assert np.abs(found.weight - weight).max() < 1e-9
    assert np.abs(found.bias - bias).max() < 1e-9
    assert np.abs(found.scores(x) - (x @ weight.T + bias)).max() < 1e-9


def test_it_is_the_ridge_of_scikit_learn() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(0)
    x, classes = rng.normal(size=(300, 48)), rng.integers(0, 11, 300)
    targets = np.where(np.arange(11) == classes[:, None], 1.0, -1.0)
    theirs = linear_model.Ridge(alpha=1.0).fit(x, targets)
    found = ridge(Statistics.of(x, classes, 11), 1.0)
    assert np.abs(found.weight - theirs.coef_).max() < 1e-6
    assert np.abs(found.bias - theirs.intercept_).max() < 1e-6


def test_ranks_of_scores_are_those_of_logits() -> None:
    scores = np.random.default_rng(0).integers(0, 9, (50, 12)).astype(float)
    classes = np.arange(50) % 12
    assert np.array_equal(
        twice_ranks(scores, classes), ranks.twice_ranks(torch.tensor(scores), torch.tensor(classes))
    )
