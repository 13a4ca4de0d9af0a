"""Captions of scenes in a closed grammar, and which of them are true of which scene.

| grammar | a scene with a red square upper left and a blue circle lower right |
|---|---|
| plain | a red square and a blue circle |
| partial | a red; or: a square |
| features | red and blue and circle and square |
| counted | two a red square and a blue circle |
| placed | two a red square upper left and a blue circle lower right |

Lower case, one space between words. A scene without objects is "nothing" in every grammar.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Int, UInt8

from binding.codes import FeatureSpace
from binding.scenes._drawing import Layout

Grammar = Literal["plain", "partial", "features", "counted", "placed"]
GRAMMARS: tuple[Grammar, ...] = get_args(Grammar)
GRAMMAR_VERSION = 1
"""Raised when the same scene gets another caption, or a caption another truth."""

EMPTY = "nothing"
COUNTS = ("one", "two", "three")
PLACES = ("upper", "lower", "left", "right")
_JOINT = " and "


def vocabulary(space: FeatureSpace) -> tuple[str, ...]:
    """Every word of the captions of a colour-shape space, without padding and without start and end."""
    return ("a", "and", EMPTY, *COUNTS, *PLACES, *(value for group in space.groups for value in group.values))


def caption(
    layout: Layout, space: FeatureSpace, image_size: int, grammar: Grammar, rng: np.random.Generator | None = None
) -> list[str]:
    """One caption a scene.

    Args:
        layout: the objects and their boxes.
        space: colours and shapes.
        image_size: pixels a side; the places are told from its middle.
        grammar: which kind of caption.
        rng: without it, captions name everything in the canonical order (plain: that of the object code; features:
            colours, then shapes; counted and placed: left to right by the middle of the box, then top to bottom).
            With it, plain captions name a random non-empty subset in random order, features captions a random
            non-empty subset in the canonical order; partial captions need it.

    Raises:
        ValueError: partial captions without `rng`, or more objects than there are count words.
    """
    if grammar == "partial" and rng is None:
        raise ValueError("a partial caption names one attribute by chance; give a generator")
    scenes = zip(layout.kinds.tolist(), layout.boxes.tolist(), strict=True)
    makers = {"plain": _plain, "partial": _partial, "features": _features}
    found = []
    for kinds, boxes in scenes:
        n_objects = sum(kind >= 0 for kind in kinds)
        if not n_objects:
            found.append(EMPTY)
        elif grammar in makers:
            found.append(makers[grammar](sorted(kinds[:n_objects]), space, rng))
        else:
            found.append(
                _ordered(kinds[:n_objects], boxes[:n_objects], space, image_size, placed=grammar == "placed")
            )
    return found


def phrase(kind: int, space: FeatureSpace) -> str:
    """An object of the feature space in words, `a red square`."""
    return f"a {space.object_names[kind]}"


def _plain(kinds: list[int], space: FeatureSpace, rng: np.random.Generator | None) -> str:
    if rng is not None:
        kinds = rng.permutation(_subset(kinds, rng)).tolist()
    return _JOINT.join(phrase(kind, space) for kind in kinds)


def _partial(kinds: list[int], space: FeatureSpace, rng: np.random.Generator | None) -> str:
    assert rng is not None
    group = rng.integers(len(space.groups))
    kind = kinds[rng.integers(len(kinds))]
    return f"a {space.groups[group].values[space.value_of_object[kind, group]]}"


def _features(kinds: list[int], space: FeatureSpace, rng: np.random.Generator | None) -> str:
    names = [value for group in space.groups for value in group.values]
    present = np.flatnonzero(space.membership[kinds].any(axis=0)).tolist()
    if rng is not None:
        present = _subset(present, rng)
    return _JOINT.join(names[feature] for feature in present)


def _subset(things: list[int], rng: np.random.Generator) -> list[int]:
    """A uniform non-empty subset, in order."""
    chosen = int(rng.integers(1, 2 ** len(things)))
    return [thing for position, thing in enumerate(things) if chosen >> position & 1]


def _ordered(kinds: list[int], boxes: list[list[int]], space: FeatureSpace, image_size: int, *, placed: bool) -> str:
    if len(kinds) > len(COUNTS):
        raise ValueError(f"there are count words for up to {len(COUNTS)} objects, got a scene of {len(kinds)}")
    # twice the middle of a box, in whole numbers
    middles = [(left + right, top + bottom) for left, top, right, bottom in boxes]
    order = sorted(range(len(kinds)), key=lambda i: (*middles[i], kinds[i]))
    phrases = [phrase(kinds[i], space) + _place(*middles[i], image_size) * placed for i in order]
    return f"{COUNTS[len(kinds) - 1]} {_JOINT.join(phrases)}"


def _place(x: int, y: int, image_size: int) -> str:
    """Half of the image the middle of a box is in, given as twice its coordinates."""
    return f" {'upper' if y < image_size else 'lower'} {'left' if x < image_size else 'right'}"


def entails(
    object_codes: UInt8[np.ndarray, "scenes objects"], captions: Sequence[str], space: FeatureSpace
) -> Bool[np.ndarray, "scenes captions"]:
    """Whether each caption is true of each scene: all objects and all attributes it names are there.

    Args:
        object_codes: the scenes.
        captions: plain, partial and features captions, or "nothing", which is true of the empty scene alone.
        space: colours and shapes.

    Raises:
        ValueError: a caption of another form; counts and places are not decided by the object code.
    """
    objects, attributes = _named(captions, space)
    has_objects = object_codes.astype(np.int64) @ objects.T == objects.sum(axis=1)
    features = space.feature_codes(object_codes).astype(np.int64)
    has_attributes = features @ attributes.T == attributes.sum(axis=1)
    is_empty = object_codes.sum(axis=1, dtype=np.int64)[:, None] == 0
    says_nothing = np.array([text == EMPTY for text in captions], dtype=bool)
    return has_objects & has_attributes & (is_empty | ~says_nothing)


def _named(
    captions: Sequence[str], space: FeatureSpace
) -> tuple[Int[np.ndarray, "captions objects"], Int[np.ndarray, "captions features"]]:
    kinds = {phrase(kind, space): kind for kind in range(space.n_objects)}
    names = {value: feature for feature, value in enumerate(v for group in space.groups for v in group.values)}
    objects = np.zeros((len(captions), space.n_objects), dtype=np.int64)
    attributes = np.zeros((len(captions), space.n_features), dtype=np.int64)
    for row, text in enumerate(captions):
        for part in text.split(_JOINT) if text != EMPTY else ():
            name = part.removeprefix("a ")
            if part in kinds:
                objects[row, kinds[part]] = 1
            elif name in names:
                attributes[row, names[name]] = 1
            else:
                raise ValueError(
                    f"{text!r}: {part!r} names neither an object nor an attribute, so its truth does not follow from "
                    f"the object code; captions such as {phrase(0, space)!r} or {'a ' + next(iter(names))!r} do"
                )
    return objects, attributes
