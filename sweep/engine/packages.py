"""Packages that only some commands need."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec


class MissingPackageError(RuntimeError):
    """Something was asked for whose package is not installed."""


def require(packages: Iterable[str]) -> None:
    """Refuse work that cannot be done, before it begins.

    Raises:
        MissingPackageError: a package is not installed.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        names = " ".join(missing)
        raise MissingPackageError(f"not installed: {names}; `pip install {names}`, or leave out what needs it")
