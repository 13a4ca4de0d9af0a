"""Classifiers reach their optimum with exact zeros; decisions are sums of contributions."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.sparse import csr_array

from readouts.concepts.classifier import (
    adam,
    coverage,
    found_right,
    objective,
    path,
    with_budget,
)
from readouts.concepts.using import silenced

K, M, N = 10, 200, 1500


@pytest.fixture(scope="module")
def planted() -> tuple[np.ndarray, np.ndarray]:
    """Codes, and classes that depend on six atoms each."""
    rng = np.random.default_rng(0)
    codes = np.where(rng.random((2 * N, M)) < 0.1, rng.uniform(0.5, 2, (2 * N, M)), 0)
    weights = np.zeros((K, M))
    for row in weights:
        row[rng.choice(M, 6, replace=False)] = rng.uniform(1, 3, 6)
    logits = codes @ weights.T + rng.gumbel(0, 0.3, (2 * N, K))
    return codes, np.eye(K, dtype=bool)[logits.argmax(1)]


def test_a_path_has_exact_zeros_is_optimal_and_better_than_adam(planted) -> None:
    codes, labels = planted
    train, test = (csr_array(codes[:N]), labels[:N]), (csr_array(codes[N:]), labels[N:])
    steps = list(path(*train, [3e-3, 1e-2]))
    assert [one.penalty for one in steps] == [1e-2, 3e-3]
    sparse, chosen = steps
    assert max(one.kkt for one in steps) < 1e-3
    assert (sparse.weights == 0).mean() > 0.9
    assert sparse.weights_per_class < chosen.weights_per_class
    dense = next(iter(path(codes[:N], labels[:N], [1e-2])))
    np.testing.assert_allclose(dense.weights, sparse.weights, atol=1e-3)
    other = adam(*train, penalty=1.0, learning_rate=1e-2, epochs=30, seed=0)
    assert (other.weights == 0).mean() == 0
    assert objective(*train, chosen.weights, chosen.penalty) <= objective(*train, other.weights, chosen.penalty)
    accuracy = [found_right(test[0] @ one.weights.T, test[1])[1].mean() for one in (chosen, other)]
    assert accuracy[0] >= accuracy[1]


def test_coverage_is_that_of_a_loop_and_keeps_its_share(planted) -> None:
    codes = planted[0][:200]
    codes[0] = 0
    weights = np.random.default_rng(1).standard_normal((K, M))
    logits = codes @ weights.T
    for share in (0.5, 0.9, 0.99):
        found = coverage(csr_array(codes), weights, logits, share)
        assert found.positive[0] == found.absolute[0] == 0
        for i in range(1, 200):
            u = weights[logits[i].argmax()] * codes[i]
            for values, count in ((np.maximum(u, 0), found.positive[i]), (np.abs(u), found.absolute[i])):
                ordered = np.sort(values)[::-1]
                assert ordered[:count].sum() >= share * values.sum() * (1 - 1e-9)
                assert ordered[: count - 1].sum() < share * values.sum()
    one = np.zeros((1, M))
    one[0, 3] = 2.0
    assert coverage(one, np.ones((K, M)), np.ones((1, K))).positive.tolist() == [1]


def test_right_classes_are_among_as_many_as_there_are() -> None:
    logits = np.array([[3.0, 2.0, 1.0], [1.0, 1.0, 1.0], [0.0, 5.0, 4.0]])
    labels = np.array([[True, False, True], [True, False, False], [False, True, True]])
    right, share = found_right(logits, labels)
    assert right.tolist() == [[True, False, False], [False, False, False], [False, True, True]]
    assert share.tolist() == [0.5, 0.0, 1.0]
    wide = np.random.default_rng(0).standard_normal((50, 80))
    single = np.eye(80, dtype=bool)[np.arange(50)]
    assert found_right(wide, single)[1].tolist() == (wide.argmax(1) == np.arange(50)).astype(float).tolist()


def test_interventions_change_logits_by_the_contributions(planted) -> None:
    codes = csr_array(planted[0][:100].astype(np.float32))
    weights = np.random.default_rng(2).standard_normal((K, M))
    logits = codes @ weights.T
    without = silenced(codes, weights, np.array([5]), "remove")
    np.testing.assert_allclose(logits - without, codes.toarray()[:, 5:6] * weights[:, 5], atol=1e-9)
    assert np.array_equal(silenced(codes, weights, np.array([], dtype=int), "remove"), logits)
    both = without + silenced(codes, weights, np.array([5]), "keep")
    np.testing.assert_allclose(both, logits, atol=1e-9)
    np.testing.assert_allclose((codes.toarray()[:, None] * weights).sum(2), logits, atol=1e-5)


def test_a_budget_keeps_the_strongest_of_each_class(planted) -> None:
    codes, labels = planted
    [solution] = path(csr_array(codes[:N]), labels[:N], [1e-2])
    assert ((with_budget(solution, codes, 3) != 0).sum(1) <= 3).all()
    assert np.array_equal(with_budget(solution, codes, M), solution.weights)
    accuracy = [found_right(codes @ with_budget(solution, codes, n).T, labels)[1].mean() for n in (1, 3, 6, 20, M)]
    assert all(after >= before - 0.01 for before, after in pairwise(accuracy))
