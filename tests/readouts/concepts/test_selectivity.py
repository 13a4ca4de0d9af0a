"""Conjunctions are told from features, and from products of features."""

from __future__ import annotations

import numpy as np
import pytest

from frozen.data.scenes.codes import FeatureSpace
from readouts.concepts.bound import COVERED, resampled_aucs, samples_of
from readouts.concepts.conjunctions import kind_of_atom
from readouts.concepts.selectivity import aucs, bound, choose

SPACE = FeatureSpace.of(color=4, shape=4)
N = 2000


@pytest.fixture(scope="module")
def objects() -> np.ndarray:
    rng = np.random.default_rng(0)
    codes = np.zeros((N, 16), dtype=np.uint8)
    for row, n in zip(codes, rng.integers(1, 4, N), strict=True):
        row[rng.choice(16, n, replace=False)] = 1
    return codes


@pytest.fixture(scope="module")
def weights() -> np.ndarray:
    return np.random.default_rng(1).multinomial(N, np.full(N, 1 / N), size=200)


def test_areas_are_those_of_pairs(objects) -> None:
    values = np.round(np.random.default_rng(0).random((N, 3)) + objects[:, :1], 1)
    found = aucs(values, objects[:, :2] > 0)
    for atom in range(3):
        for label in range(2):
            one, other = values[objects[:, label] > 0, atom], values[objects[:, label] == 0, atom]
            pairs = (one[:, None] > other).mean() + 0.5 * (one[:, None] == other).mean()
            assert found[atom, label] == pytest.approx(pairs)


def test_object_codes_are_conjunctions_and_feature_codes_are_not(objects, weights) -> None:
    features = SPACE.feature_codes(objects)
    membership = SPACE.membership > 0
    product = np.stack([features[:, membership[kind]].prod(1) for kind in range(16)], axis=1)
    noise = np.random.default_rng(3).random((N, 16))
    for codes, expected, what in (
        (objects.astype(float), 1.0, "conjunction"),
        (product.astype(float), 0.5, None),
        (noise, None, "other"),
    ):
        chosen = choose(codes, objects, SPACE)
        for atom in range(16):
            found = bound(codes[:, atom], atom, objects, SPACE, weights)
            assert found is not None
            low, high = np.quantile(found.resampled, (0.025, 0.975))
            if expected is not None:
                assert found.auc == expected
                assert chosen.kind[atom] == atom
            else:
                assert abs(found.auc - 0.5) < 0.2
            if what is not None and expected is not None:
                assert kind_of_atom(found, low, high, chosen.feature_auc[atom]) == what
        if expected == 0.5:  # the trap: over all images it looks as if the object were detected
            assert chosen.kind_auc.min() > 0.9
    chosen = choose(features.astype(float), objects, SPACE)
    for atom in range(8):
        found = bound(features[:, atom].astype(float), int(chosen.kind[atom]), objects, SPACE, weights)
        assert found is not None
        assert found.auc == 0.5
        assert kind_of_atom(found, 0.5, 0.5, chosen.feature_auc[atom]) == "feature"


def test_stored_samples_give_the_same_areas(objects, weights) -> None:
    values = objects + 0.7 * np.random.default_rng(0).random((N, 16))
    found = resampled_aucs(samples_of(values, objects, SPACE), 200, 1)
    assert found.kinds == list(range(16))
    assert (found.auc > COVERED).all()
    for kind in (0, 7):
        direct = bound(values[:, kind].astype(np.float32), kind, objects, SPACE, weights)
        assert direct is not None
        assert found.auc[kind] == pytest.approx(direct.auc)
        np.testing.assert_allclose(found.resampled[kind], direct.resampled, rtol=1e-6)


def test_few_images_tell_nothing(objects, weights) -> None:
    assert bound(np.zeros(50), 0, objects[:50], SPACE, weights[:, :50]) is None
    assert resampled_aucs(samples_of(np.zeros((50, 16)), objects[:50], SPACE), 100, 0).kinds == []


def test_atoms_that_count_objects_do_not_seem_to_bind(objects, weights) -> None:
    """Features on different objects need two of them: an atom that dims with their number tells that, and no more."""
    features = SPACE.feature_codes(objects)
    dimmed = features[:, 0] / objects.sum(1)
    kinds = [kind for kind in range(16) if SPACE.membership[kind, 0]]
    for kind in kinds:
        found = bound(dimmed, kind, objects, SPACE, weights)
        assert found is not None
        assert found.auc == pytest.approx(0.5)
    together = (objects[:, kinds[0]] > 0) & (features[:, SPACE.membership[kinds[0]] > 0] > 0).all(1)
    apart = (objects[:, kinds[0]] == 0) & (features[:, SPACE.membership[kinds[0]] > 0] > 0).all(1)
    one, other = dimmed[together][:, None], dimmed[apart][None]
    assert ((one > other) + 0.5 * (one == other)).mean() > 0.6  # what is not compared within equal numbers
