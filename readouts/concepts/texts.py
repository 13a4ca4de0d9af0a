"""The text side of a backbone: its tower, and the projection of images into the joint space."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from frozen.data.scenes import Scene, phrase
from frozen.models import BackboneConfig
from frozen.models.opening import open_shipped
from frozen.models.parts import Text
from readouts.concepts.naming import NamingError

_CLIPS = ("shapes_clip_objects", "shapes_clip_features")


def text_refusal(backbone: BackboneConfig) -> str | None:
    """Why a backbone has no joint space with texts that can be read here, or None."""
    if backbone.library == "shipped" and backbone.architecture in _CLIPS:
        return None
    return f"{backbone.source} has no text tower that is known here; shipped:{_CLIPS[0]}, for one, has"


def text_side(backbone: BackboneConfig) -> Text:
    """Text tower and projection of a backbone; those of random weights where it is untrained.

    Raises:
        ValueError: a backbone without.
    """
    if reason := text_refusal(backbone):
        raise ValueError(reason)
    model = open_shipped(backbone.architecture, untrained=backbone.seed if backbone.kind == "random" else None)
    assert model.text is not None
    return model.text


class VocabularyTexts(NamedTuple):
    """Texts that a tower could read.

    Attributes:
        texts: in their order.
        vectors: unit vectors [texts joint].
        n_unread: texts with words outside of the tower's vocabulary, which were left out.
    """

    texts: tuple[str, ...]
    vectors: Float[Tensor, "texts joint"]
    n_unread: int


def read_texts(text: Text, texts: Sequence[str], templates: Sequence[str]) -> VocabularyTexts:
    """Vectors of texts, the mean over templates of unit vectors.

    Raises:
        NamingError: a tower that can read none of them.
    """
    kept = [one for one in texts if all(_is_read(text, template.replace("{}", one)) for template in templates)]
    if not kept:
        raise NamingError(f"the text tower can read none of {len(texts)} texts, such as {texts[0]!r}")
    total = torch.zeros(len(kept), text.project.shape[0])
    for template in templates:
        filled = [template.replace("{}", one) for one in kept]
        total += normalize(torch.from_numpy(np.array(text.encode(filled))), dim=1)
    return VocabularyTexts(tuple(kept), normalize(total, dim=1), len(texts) - len(kept))


def _is_read(text: Text, words: str) -> bool:
    try:
        text.tokenizer.encode([words])
    except ValueError:  # an unknown word, or too many of them
        return False
    return True


def scene_texts(scene: Scene) -> tuple[str, ...]:
    """A phrase for every object kind (`a red square`), then a word for every feature (`red`)."""
    kinds = [phrase(kind, scene.space) for kind in range(scene.space.n_objects)]
    return (*kinds, *(value for group in scene.space.groups for value in group.values))


def file_texts(path: Path) -> tuple[str, ...]:
    """The lines of a file, as they stand: `#` is a text like any other.

    Raises:
        NamingError: a file that cannot be read, an empty line, or a line that is there twice.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise NamingError(f"{path}: cannot be read as a list of texts: {error}") from error
    if not lines:
        raise NamingError(f"{path}: has no texts")
    first: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            raise NamingError(f"{path}:{number}: is empty; every line is a text")
        if line in first:
            raise NamingError(f"{path}:{number}: {line!r} is there already, in line {first[line]}")
        first[line] = number
    return tuple(lines)
