"""Zero-shot classifiers, ties, and neighbours."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from frozen.models.joint import JointSpace
from readouts.text_decomposition.neighbours import alike, nearest
from readouts.text_decomposition.settings import NeighboursConfig
from readouts.text_decomposition.texts import best_guess, caption, classifier, credit, scene_classes, unit
from tests.readouts.text_decomposition.known import SPACE


def encode(texts) -> np.ndarray:
    """A vector of each text that depends on nothing else."""
    seeds = [sum(ord(letter) * (place + 1) for place, letter in enumerate(text)) for text in texts]
    return np.stack([np.random.default_rng(seed).standard_normal(8) for seed in seeds]).astype(np.float32)


JOINT = JointSpace(np.zeros((8, 4), np.float32), np.zeros(8, np.float32), encode, 1.0)
NAMES, TEMPLATES = ("cat", "dog", "bird"), ("a {}", "one {}", "the {}")


def test_classifiers_are_unit_means_of_unit_vectors() -> None:
    found = classifier(NAMES, TEMPLATES, JOINT)
    assert np.allclose(np.linalg.norm(found, axis=1), 1)
    assert np.allclose(found, classifier(NAMES, TEMPLATES[::-1], JOINT), atol=1e-6)
    assert np.allclose(found[[2, 0, 1]], classifier(("bird", "cat", "dog"), TEMPLATES, JOINT))
    assert np.allclose(classifier(NAMES, ("a {}",), JOINT), unit(encode(["a cat", "a dog", "a bird"])))
    by_hand = unit(sum(unit(encode([template.format(name) for name in NAMES])) for template in TEMPLATES))
    assert np.allclose(found, by_hand, atol=1e-6)


def test_ties_share_the_credit() -> None:
    scores = np.array([[1.0, 2.0], [3.0, 2.0]])
    # texts of classes 0 and 1 are the same
    text_of_class = np.array([0, 0, 1])
    assert credit(scores, text_of_class, np.array([2, 0])).tolist() == [1, 0.5]
    assert credit(scores, text_of_class, np.array([0, 1])).tolist() == [0, 0.5]
    assert credit(np.ones((1, 2)), text_of_class, np.array([2])).tolist() == pytest.approx([1 / 3])


def test_the_best_guess_is_one_text_for_all_images() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2])
    assert best_guess(np.arange(3), labels).tolist() == [1, 1, 1, 0, 0, 0]
    # classes 0 and 1 have one text, which is right of five images, and half of the time
    shared = np.array([0, 0, 1])
    assert best_guess(shared, labels).tolist() == [0.5] * 5 + [0]
    assert best_guess(shared, np.array([0, 2, 2])).tolist() == [0, 1, 1]
    constant = np.tile([0.0, 1.0], (6, 1))
    assert credit(constant, np.array([1, 0, 0]), labels).tolist() == [1, 1, 1, 0, 0, 0]


def test_classes_are_all_scenes_of_as_many_objects() -> None:
    codes = np.zeros((2, 16), np.uint8)
    codes[0, [0, 5]] = codes[1, [3, 7]] = 1
    found = scene_classes(codes, SPACE, "plain")
    assert len(found.texts) == 120
    assert [found.texts[label] for label in found.labels] == [
        "a red circle and a blue square",
        "a red diamond and a blue diamond",
    ]
    assert len(set(scene_classes(codes, SPACE, "features").texts)) == 84
    assert caption([], SPACE, "plain") == "nothing"


def test_dot_and_cosine_differ_for_a_long_vector() -> None:
    """Image 2 is long and beside the query; image 1 is short and along it."""
    terms = torch.tensor([[1.0, 0.0], [0.5, 0.0], [5.0, 5.0], [-1.0, 0.1]])
    assert nearest(terms, NeighboursConfig(count=1, metric="dot"))[0].tolist() == [2]
    assert nearest(terms, NeighboursConfig(count=1, metric="cosine"))[0].tolist() == [1]
    itself = nearest(terms, NeighboursConfig(count=4, metric="cosine"), itself=True)
    assert itself[3, 0] == 3
    assert itself[2, 0] == 2


def test_centring_changes_who_is_near() -> None:
    """Far from the origin everything is alike; what differs shows when the mean is taken away."""
    terms = torch.tensor([[10.0, 1.0], [10.0, 0.9], [12.0, 1.21], [10.0, -3.0]])
    assert nearest(terms, NeighboursConfig(count=1, metric="cosine"))[0].tolist() == [2]
    assert nearest(terms, NeighboursConfig(count=1, metric="centred_cosine"))[0].tolist() == [1]


def test_neighbours_alike_by_hand() -> None:
    known = {"color": np.array([0, 0, 1])}
    assert alike(np.array([[1, 2], [0, 2], [0, 1]]), known)["color"].tolist() == [0.5, 0.5, 0]
