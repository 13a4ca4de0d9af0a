"""Lists of texts that a study names, by their file or as a package has them: pools, names of classes, templates."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from frozen.data.dataset import Missing
from frozen.models.joint import imagenet_texts
from frozen.paths import written
from frozen.problems import did_you_mean, shorten
from frozen.readout.readout import StudyReader

_PACKAGED = ("open_clip:imagenet_classes", "open_clip:imagenet_templates")
"""CLIP's prompts and names of ImageNet's classes, as the package open_clip has them."""


def lines_of(name: str, what: str) -> tuple[str, ...]:
    """The lines of a file, without empty ones, or texts of a package; classes may share a name.

    Raises:
        ValueError: a file that cannot be read, or is empty; a package that is not installed.
    """
    if name.startswith("open_clip:"):
        return _packaged(name)
    try:
        lines = Path(name).expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
        place = f" (looked for at {name})" if written(name) != name else ""
        raise ValueError(f"the {what} {shorten(written(name))} cannot be read: {reason}{place}") from error
    texts = tuple(line.strip() for line in lines if line.strip())
    if not texts:
        raise ValueError(f"the {what} {shorten(written(name))} has no texts; write one a line")
    return texts


def _packaged(name: str) -> tuple[str, ...]:
    if name not in _PACKAGED:
        raise ValueError(f"unknown texts {name!r}; {did_you_mean(name, _PACKAGED)}")
    templates, classes = imagenet_texts()
    return templates if name == "open_clip:imagenet_templates" else classes


def placed(name: str, reader: StudyReader) -> str:
    """A list as a study names it: a file by its path, which is relative to the study's folder."""
    return name if name.startswith("open_clip:") else reader.path(name)


def absent(name: str, what: str) -> Iterator[Missing]:
    """A list that cannot be read, and why."""
    try:
        lines_of(name, what)
    except ValueError as error:
        yield Missing(str(error), "put it there, or name another list")


def digest_of(name: str) -> str:
    """sha256 of a list, by which what depends on it is known; empty where it cannot be read."""
    try:
        if name in _PACKAGED:
            return hashlib.sha256("\n".join(_packaged(name)).encode()).hexdigest()
        return hashlib.sha256(Path(name).expanduser().read_bytes()).hexdigest()
    except (OSError, ValueError):
        return ""
