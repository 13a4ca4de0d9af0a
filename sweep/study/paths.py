"""Paths of a study file, which are relative to its folder."""

from __future__ import annotations

import os
from pathlib import Path

from frozen.paths import StudyPath


def study_path(folder: Path, text: str, *, prefix: str = "", is_marked: bool = False) -> StudyPath:
    """A path of a study file.

    Args:
        folder: what it is relative to.
        text: the path as it is given.
        prefix: of both forms.
        is_marked: whether a relative path has to begin with a dot, which tells it from a name.
    """
    opened = os.path.abspath(folder / os.path.expanduser(text))  # noqa: PTH100, PTH111, links are kept
    written = os.path.normpath(text)
    if is_marked and not written.startswith((".", "/", "~")):
        written = f"./{written}"
    return StudyPath(prefix + opened, prefix + written)
