"""Texts in the joint space of a backbone."""

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
from frozen.models.joint import JointSpace, imagenet_texts
from readouts.concepts.naming import NamingError


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


def read_texts(space: JointSpace, texts: Sequence[str], templates: Sequence[str]) -> VocabularyTexts:
    """Vectors of texts, the mean over templates of unit vectors.

    Raises:
        NamingError: a tower that can read none of them.
    """
    kept = [one for one in texts if all(space.reads(template.replace("{}", one)) for template in templates)]
    if not kept:
        raise NamingError(f"the text tower can read none of {len(texts)} texts, such as {texts[0]!r}")
    total = torch.zeros(len(kept), len(space.project))
    for template in templates:
        filled = [template.replace("{}", one) for one in kept]
        total += normalize(torch.from_numpy(np.array(space.encode(filled))), dim=1)
    return VocabularyTexts(tuple(kept), normalize(total, dim=1), len(texts) - len(kept))


def scene_texts(scene: Scene) -> tuple[str, ...]:
    """A phrase for every object kind (`a red square`), then a word for every feature (`red`)."""
    kinds = [phrase(kind, scene.space) for kind in range(scene.space.n_objects)]
    return (*kinds, *(value for group in scene.space.groups for value in group.values))


def packaged_texts() -> tuple[str, ...]:
    """CLIP's names of ImageNet's classes, as open_clip has them, each once.

    Raises:
        NamingError: open_clip is not installed.
    """
    try:
        return tuple(dict.fromkeys(imagenet_texts()[1]))
    except ValueError as error:
        raise NamingError(str(error)) from error


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
