"""Texts of a study: what classes are called, descriptions of heads, and their vectors in the joint space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int64, UInt8

from frozen.data.scenes import phrase
from frozen.data.scenes.codes import FeatureSpace
from frozen.models.joint import JointSpace

NOTHING = "nothing"
_MOST_CLASSES = 3000
_JOINT = " and "


@dataclass(frozen=True, eq=False)
class Classes:
    """Classes of a zero-shot classifier.

    Attributes:
        texts: what each is called.
        labels: class of each sample.
    """

    texts: tuple[str, ...]
    labels: Int64[np.ndarray, " samples"]


def caption(kinds: Sequence[int], space: FeatureSpace, grammar: str) -> str:
    """A set of objects in words: `a red square and a blue circle`, or attributes only in the grammar `features`."""
    if not kinds:
        return NOTHING
    if grammar != "features":
        return _JOINT.join(phrase(kind, space) for kind in sorted(kinds))
    names = [value for group in space.groups for value in group.values]
    present = space.membership[list(kinds)].any(axis=0)
    return _JOINT.join(names[feature] for feature in np.flatnonzero(present))


def captions(codes: UInt8[np.ndarray, "samples objects"], space: FeatureSpace, grammar: str) -> list[str]:
    """The caption of each scene."""
    return [caption(np.flatnonzero(code).tolist(), space, grammar) for code in codes]


def scene_classes(codes: UInt8[np.ndarray, "samples objects"], space: FeatureSpace, grammar: str) -> Classes:
    """Every set of as many objects as some scene has is a class; of a great many, those that occur."""
    sizes = np.unique(codes.sum(axis=1, dtype=np.int64)).tolist()
    if sum(comb(space.n_objects, size) for size in sizes) <= _MOST_CLASSES:
        sets = [kinds for size in sizes for kinds in combinations(range(space.n_objects), size)]
    else:
        sets = [tuple(np.flatnonzero(code).tolist()) for code in np.unique(codes, axis=0)]
    number = {kinds: position for position, kinds in enumerate(sets)}
    labels = np.array([number[tuple(np.flatnonzero(code).tolist())] for code in codes], dtype=np.int64)
    return Classes(tuple(caption(kinds, space, grammar) for kinds in sets), labels)


def exchanged(
    codes: UInt8[np.ndarray, "samples objects"], space: FeatureSpace
) -> UInt8[np.ndarray, "samples objects"]:
    """Each scene with the values of the first feature exchanged between its two objects; itself where that is none.

    Scenes of two objects that differ in every feature have another binding of the same features; all others are
    given back as they are.
    """
    found = codes.copy()
    for row in np.flatnonzero(codes.sum(axis=1, dtype=np.int64) == 2):
        one, other = np.flatnonzero(codes[row])
        values = space.value_of_object[[one, other]]
        if (values[0] == values[1]).any():
            continue
        values[:, 0] = values[::-1, 0]
        found[row] = 0
        found[row, np.ravel_multi_index(tuple(values.T), space.sizes)] = 1
    return found


def default_pool(space: FeatureSpace, grammar: str) -> list[str]:
    """Descriptions for the heads of a model of drawn scenes: its words, kinds, and pairs of them."""
    words = [value for group in space.groups for value in group.values]
    if grammar == "features":
        pairs = [_JOINT.join(pair) for pair in combinations(words, 2)]
        return [NOTHING, *words, *pairs]
    singles = [caption([kind], space, grammar) for kind in range(space.n_objects)]
    pairs = [caption(pair, space, grammar) for pair in combinations(range(space.n_objects), 2)]
    return [NOTHING, *words, *(f"a {word}" for word in words), *singles, *pairs]


def classifier(
    names: Sequence[str], templates: Sequence[str], space: JointSpace
) -> Float32[np.ndarray, "classes joint"]:
    """Unit vectors of classes: normalised means of the normalised vectors of all templates (Radford et al., 2021)."""
    total = np.zeros((len(names), len(space.project)), np.float32)
    for template in templates:
        total += unit(space.encode([template.format(name) for name in names]))
    return unit(total)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows divided by their length; zeros stay zeros."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(length > 0, length, 1)


@dataclass(frozen=True, eq=False)
class TextTable:
    """Texts and their unit vectors."""

    texts: tuple[str, ...]
    vectors: Float32[np.ndarray, "texts joint"]

    @classmethod
    def of(cls, texts: Sequence[str], space: JointSpace) -> TextTable:
        """Each text once."""
        distinct = tuple(dict.fromkeys(texts))
        return cls(distinct, unit(space.encode(distinct)))

    def rows(self, texts: Sequence[str]) -> Float32[np.ndarray, "texts joint"]:
        """Vectors of some of them."""
        number = {text: position for position, text in enumerate(self.texts)}
        return self.vectors[[number[text] for text in texts]]

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything, for a file."""
        return {"texts": np.array(self.texts, dtype=str), "text_vectors": self.vectors}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> TextTable:
        """What `arrays` gave."""
        return cls(tuple(arrays["texts"].tolist()), arrays["text_vectors"])


def best_guess(
    text_of_class: Int64[np.ndarray, " classes"], labels: Int64[np.ndarray, " samples"]
) -> Float32[np.ndarray, " samples"]:
    """The credit of each image when all get the same text, the one that is right most often.

    Args:
        text_of_class: number of each class's text.
        labels: class of each sample.
    """
    own = text_of_class[labels]
    shares = 1 / np.bincount(text_of_class)
    best = (np.bincount(own, minlength=len(shares)) * shares).argmax()
    return np.where(own == best, shares[best], 0).astype(np.float32)


def credit(
    scores: Float[np.ndarray, "*sets samples texts"],
    text_of_class: Int64[np.ndarray, " classes"],
    labels: Int64[np.ndarray, " samples"],
) -> Float32[np.ndarray, "*sets samples"]:
    """1 where the right class has the highest score, shared among the classes that have it too.

    Args:
        scores: of the distinct texts.
        text_of_class: number of each class's text.
        labels: class of each sample.
    """
    classes_of_text = np.bincount(text_of_class, minlength=scores.shape[-1])
    best = scores.max(axis=-1)
    own = np.take_along_axis(scores, np.broadcast_to(text_of_class[labels][:, None], (*best.shape, 1)), axis=-1)
    tied = ((scores == best[..., None]) * classes_of_text).sum(axis=-1)
    return ((own[..., 0] == best) / tied).astype(np.float32)
