"""Clusters that are there are found; a class is explained by what its classifier uses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.sparse import csr_array

from readouts.concepts.exhibits._base import StudyResults, bars
from readouts.concepts.pictures import global_explanations, local_explanations, meta_clusters


def test_planted_clusters_are_found_with_their_own_atoms() -> None:
    rng = np.random.default_rng(0)
    cluster = rng.integers(8, size=800)
    dense = 10.0 * np.eye(8)[cluster] + rng.normal(0, 1, (800, 8)).clip(0)
    found = meta_clusters(csr_array(dense), 8, seed=0).to_pylist()
    assert sum(one["size"] for one in found) == 800
    assert sorted(one["size"] for one in found) == sorted(np.bincount(cluster).tolist())
    for one in found:
        assert {int(cluster[i]) for i in one["images"]} == {one["atoms"][0]}
    assert {one["atoms"][0] for one in found} == set(range(8))


def test_contributions_sum_to_the_logit() -> None:
    rng = np.random.default_rng(0)
    codes = csr_array(np.where(rng.random((20, 6)) < 0.5, rng.random((20, 6)), 0))
    weights = rng.standard_normal((3, 6))
    labels = np.eye(3, dtype=bool)[rng.integers(3, size=20)]
    for one in local_explanations(codes, weights, labels).to_pylist():
        assert one["logit"] == np.float64((codes @ weights.T)[one["image"]].max())
        np.testing.assert_allclose(sum(one["contributions"]), one["logit"], atol=1e-9)


def test_a_brighter_atom_without_weight_explains_no_class() -> None:
    rng = np.random.default_rng(0)
    classes = rng.integers(3, size=300)
    codes = np.zeros((300, 4))
    codes[np.arange(300), classes] = 1.0
    codes[:, 3] = 5.0 * (classes == 1)  # bright on images of class 1, of no use to the classifier
    weights = np.eye(4)[:3]
    found = global_explanations(csr_array(codes), weights, np.eye(3, dtype=bool)[classes], classes).to_pylist()
    top = {(one["class"], one["by"]): one["atoms"][0] for one in found}
    assert [top[number, "classifier"] for number in range(3)] == [0, 1, 2]
    assert top[1, "images"] == 3


def test_atoms_of_one_name_stay_two_bars() -> None:
    source = StudyResults(Path(), [], {})
    names = [{"name": "red", "text": "red"}] * 2
    words = [source.word(names, atom) for atom in (0, 1)]
    assert words == ["red (0)", "red (1)"]
    axes = Figure().add_subplot()
    bars(axes, [*words, "blue (2)"], [1.0, 0.5, 0.001])
    assert [label.get_text() for label in axes.get_yticklabels()] == words
    assert len(axes.patches) == 2
