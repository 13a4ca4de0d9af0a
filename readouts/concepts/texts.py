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

from frozen.data.dataset import Missing
from frozen.data.scenes import Scene, phrase
from frozen.models.joint import JointSpace, imagenet_texts
from readouts.concepts.keys import PACKAGED_WORDS
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


def given_texts(words: str, folder: Path) -> tuple[str, ...] | Missing:
    """The texts of a file, or of a package.

    Args:
        words: open_clip:imagenet_classes, CLIP's names of ImageNet's classes, each once; or a file, whose lines are
            taken as they stand: `#` is a text like any other.
        folder: of the study, to which a path is relative.

    Returns:
        The texts, or what is not here.

    Raises:
        NamingError: a file that cannot be read, an empty line, or a line that is there twice.
    """
    if words == PACKAGED_WORDS:
        try:
            return tuple(dict.fromkeys(imagenet_texts()[1]))
        except ValueError as error:
            return Missing(f"{words}: {error}", "or name another list of texts")
    path = folder / Path(words).expanduser()
    if not path.exists():
        what = f"the list of texts {words} is not there (looked for at {path})"
        return Missing(what, "put it there, or name another list")
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
