"""Lists of texts that a study names by their file: pools, names of classes, templates."""

from __future__ import annotations

import hashlib
from pathlib import Path

from frozen.problems import shorten


def lines_of(name: str, what: str) -> tuple[str, ...]:
    """The lines of a file, without empty ones; classes may share a name.

    Raises:
        ValueError: a file that cannot be read, or is empty.
    """
    try:
        lines = Path(name).expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
        raise ValueError(f"the {what} {shorten(name)} cannot be read: {reason}") from error
    texts = tuple(line.strip() for line in lines if line.strip())
    if not texts:
        raise ValueError(f"the {what} {shorten(name)} has no texts; write one a line")
    return texts


def digest_of(name: str) -> str:
    """sha256 of a file, by which what depends on it is known; empty where it cannot be read."""
    try:
        return hashlib.sha256(Path(name).expanduser().read_bytes()).hexdigest()
    except OSError:
        return ""
