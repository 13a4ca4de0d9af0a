"""Sparse codes are the dense ones, and what is read from them is what the dense ones give."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from readouts.concepts.codes import CodesError, encode, from_bytes, monosemanticity, strongest, to_bytes
from readouts.concepts.settings import DictionaryConfig, TrainingConfig
from tests.readouts.concepts.planted import CPU, planted, trained


def sparse(rng: np.random.Generator, n: int, m: int, share: float = 0.1) -> np.ndarray:
    return np.where(rng.random((n, m)) < share, rng.uniform(0.1, 2, (n, m)), 0).astype(np.float16).astype(np.float32)


def test_codes_are_the_dense_ones_in_half_precision() -> None:
    _, rows = planted(0, n=600)
    one = trained(rows, DictionaryConfig(kind="topk", k=3), TrainingConfig(steps=20, batch_size=64))
    codes = encode(one, rows, CPU)
    dense = one.encode(torch.from_numpy(rows)).half().float().numpy()
    np.testing.assert_array_equal(codes.toarray(), dense)
    np.testing.assert_array_equal(from_bytes(to_bytes(codes), 600).toarray(), dense)
    assert to_bytes(codes) == to_bytes(encode(one, rows, CPU))
    tokens = encode(one, rows.reshape(200, 3, 32), CPU)
    np.testing.assert_array_equal(tokens.toarray(), dense.reshape(200, 3, -1).max(1))


def test_codes_of_other_samples_and_other_bytes_are_refused() -> None:
    content = to_bytes(csr_array(sparse(np.random.default_rng(0), 10, 4)))
    with pytest.raises(CodesError, match="codes of 10 samples beside labels of 11"):
        from_bytes(content, 11)
    with pytest.raises(CodesError, match="not codes"):
        from_bytes(b"nothing of that kind")


def test_the_strongest_are_those_of_the_dense_codes() -> None:
    dense = np.round(sparse(np.random.default_rng(0), 500, 16), 1)  # rounded: there are ties
    dense[:, 3] = 0
    dense[:2, 4], dense[2:, 4] = 1, 0
    found = strongest(csr_array(dense), 20)
    for atom in range(16):
        order = sorted(range(500), key=lambda i, atom=atom: (-dense[i, atom], i))
        expected = [i for i in order[:20] if dense[i, atom] > 0]
        assert found.samples[atom].tolist() == expected + [-1] * (20 - len(expected))
        np.testing.assert_array_equal(found.strengths[atom, : len(expected)], dense[expected, atom])


def test_monosemanticity_is_the_weighted_mean_of_pairs() -> None:
    rng = np.random.default_rng(0)
    dense, embeddings = sparse(rng, 40, 5, 0.4), rng.standard_normal((40, 6)).astype(np.float32)
    dense[:, 2] = 0
    dense[0, 2] = 1
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    found = monosemanticity(csr_array(dense), embeddings)
    for atom in range(5):
        pairs = [(i, j) for i in range(40) for j in range(40) if i != j]
        weights = np.array([dense[i, atom] * dense[j, atom] for i, j in pairs])
        cosines = np.array([unit[i] @ unit[j] for i, j in pairs])
        if atom == 2:
            assert np.isnan(found[atom])
        else:
            assert found[atom] == pytest.approx((weights * cosines).sum() / weights.sum(), abs=1e-5)
