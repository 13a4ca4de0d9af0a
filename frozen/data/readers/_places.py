"""Where a data set's parts lie, as studies say it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from frozen.data.dataset import Missing
from frozen.problems import Problem

IS_PATH = {"is_path": True}
"""Metadata of fields that hold a path; in a study file it is relative to that file."""


def find_root(root: str, contents: Sequence[str], remedy: str) -> Missing | None:
    """What is not there of a data set's folder.

    Args:
        root: the folder.
        contents: files and folders that must be in it.
        remedy: how to get them.
    """
    folder = Path(root).expanduser()
    for path in (folder, *(folder / name for name in contents)):
        if not path.exists():
            return Missing(f"{path} is not there", remedy)
    return None


def named_places(entries: Sequence[str]) -> dict[str, str]:
    """Splits with the folder or file of each, from entries NAME or NAME=PLACE."""
    return {entry.partition("=")[0]: entry.partition("=")[2] or entry.partition("=")[0] for entry in entries}


def split_problems(field_name: str, entries: Sequence[str]) -> Iterator[Problem]:
    """Splits without a name, or two of one name."""
    names = [entry.partition("=")[0] for entry in entries]
    if not names or "" in names or len(set(names)) < len(names):
        yield Problem(field_name, f"must be different names, each NAME or NAME=PLACE, got {list(entries)}")
