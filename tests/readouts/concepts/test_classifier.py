"""Classifiers reach their optimum with exact zeros; decisions are sums of contributions."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.sparse import csr_array
from scipy.special import log_softmax

from readouts.concepts import classifier
from readouts.concepts.classifier import (
    adam,
    coverage,
    decide,
    deviations,
    found_right,
    objective,
    path,
    targets,
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


def test_without_a_penalty_the_path_ends_at_the_dense_probe(planted) -> None:
    """λ = 0 against a plain minimiser of the same loss, whose zeros are not exact and which knows no penalty."""
    codes, labels = planted[0][:, :40], planted[1]
    noisy = np.eye(K, dtype=bool)[np.random.default_rng(3).permutation(labels.argmax(1))]
    labels = np.where(np.random.default_rng(4).random((len(labels), 1)) < 0.3, noisy, labels)  # not separable
    train, test = (codes[:N], labels[:N]), (codes[N:], labels[N:])
    *_, found = path(csr_array(train[0]), train[1], [1e-2, 0.0])
    assert found.penalty == 0
    assert (found.weights != 0).all(), "nothing holds a weight at zero"
    share = targets(train[1])

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = flat.reshape(K, 40)
        logs = log_softmax(train[0] @ weights.T, axis=1)
        gradient = (np.exp(logs) - share).T @ train[0] / N
        return -(share * logs).sum(1).mean(), gradient.ravel()

    dense = minimize(loss, np.zeros(K * 40), jac=True, method="L-BFGS-B", options={"maxiter": 500}).x.reshape(K, 40)
    assert objective(*train, found.weights, 0.0) == pytest.approx(loss(dense.ravel())[0], abs=1e-6)
    accuracy = [decide(test[0], one, test[1]).accuracy.mean() for one in (found.weights, dense)]
    assert accuracy[0] == pytest.approx(accuracy[1], abs=0.01)
    assert found.kkt < 1e-5


def test_coverage_is_that_of_a_loop_and_keeps_its_share(planted) -> None:
    codes = planted[0][:200]
    codes[0] = 0
    weights = np.random.default_rng(1).standard_normal((K, M))
    logits = codes @ weights.T
    before = np.zeros(200, dtype=int)
    for share in (0.5, 0.9, 0.99):
        found = coverage(csr_array(codes), weights, logits.argmax(1), share)
        assert (found.positive >= before).all(), "a larger share needs no fewer"
        before = found.positive
        assert found.positive[0] == found.absolute[0] == 0
        for i in range(1, 200):
            u = weights[logits[i].argmax()] * codes[i]
            for values, count in ((np.maximum(u, 0), found.positive[i]), (np.abs(u), found.absolute[i])):
                ordered = np.sort(values)[::-1]
                assert ordered[:count].sum() >= share * values.sum() * (1 - 1e-9)
                assert ordered[: count - 1].sum() < share * values.sum()
    one = np.zeros((1, M))
    one[0, 3] = 2.0
    assert coverage(one, np.ones((K, M)), np.zeros(1, dtype=int)).positive.tolist() == [1]


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
    without = codes @ silenced(weights, np.array([5]), "remove").T
    np.testing.assert_allclose(logits - without, codes.toarray()[:, 5:6] * weights[:, 5], atol=1e-9)
    assert np.array_equal(codes @ silenced(weights, np.array([], dtype=int), "remove").T, logits)
    both = without + codes @ silenced(weights, np.array([5]), "keep").T
    np.testing.assert_allclose(both, logits, atol=1e-9)
    np.testing.assert_allclose((codes.toarray()[:, None] * weights).sum(2), logits, atol=1e-5)


def test_a_budget_keeps_the_strongest_of_each_class(planted) -> None:
    codes, labels = planted
    [solution] = path(csr_array(codes[:N]), labels[:N], [1e-2])
    scale = deviations(codes)
    assert ((with_budget(solution.weights, scale, 3) != 0).sum(1) <= 3).all()
    assert np.array_equal(with_budget(solution.weights, scale, M), solution.weights)
    kept = [with_budget(solution.weights, scale, n) for n in (1, 3, 6, 20, M)]
    accuracy = [decide(codes, one, labels).accuracy.mean() for one in kept]
    assert all(after >= before - 0.01 for before, after in pairwise(accuracy))


class Guarded:
    """Activations that may be read some rows at a time only."""

    itemsize = 4

    def __init__(self, values: np.ndarray, most: int) -> None:
        self._values, self._most, self.largest = values, most, 0

    @property
    def shape(self) -> tuple[int, ...]:
        return self._values.shape

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        found = self._values[rows]
        self.largest = max(self.largest, len(found))
        assert len(found) <= self._most, f"{len(found)} rows at once"
        return found


def test_activations_that_memory_does_not_hold_give_the_same(planted, monkeypatch: pytest.MonkeyPatch) -> None:
    codes, labels = planted[0][:600], planted[1][:600]
    [whole] = path(codes, labels, [1e-2])
    expected = decide(codes, whole.weights, labels)
    monkeypatch.setattr(classifier, "_BLOCK_NUMBERS", 100 * M)
    monkeypatch.setattr(classifier, "_RESIDENT_NUMBERS", 0)
    stream = Guarded(codes, 100)
    [found] = path(stream, labels, [1e-2])
    np.testing.assert_allclose(found.weights, whole.weights, atol=1e-6)
    decided = decide(stream, whole.weights, labels)
    assert np.array_equal(decided.best, expected.best)
    assert np.array_equal(decided.right, expected.right)
    both = (coverage(one, whole.weights, expected.best).positive for one in (stream, codes))
    assert np.array_equal(*both)
    assert stream.largest == 100
    small = Guarded(codes[:90], 90)
    one, other = (
        adam(x, labels[:90], penalty=1.0, learning_rate=1e-2, epochs=2, seed=0) for x in (small, codes[:90])
    )
    assert np.array_equal(one.weights, other.weights)
