"""Paths of a study: opened where they lie, known by what the study writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass


class StudyPath(str):
    """A path, or a source that holds one, as it is opened; it knows how the study writes it.

    Identities and rows say what is written, so that a study measures the same cells wherever its folder lies.

    Attributes:
        written: the text of the study, its path normalised.
    """

    __slots__ = ("written",)
    written: str

    def __new__(cls, opened: str, written: str) -> StudyPath:
        path = super().__new__(cls, opened)
        path.written = written
        return path

    def __reduce__(self) -> tuple[type[StudyPath], tuple[str, str]]:
        return StudyPath, (str(self), self.written)


def written(text: str) -> str:
    """A text as the study writes it."""
    return text.written if isinstance(text, StudyPath) else text


def changed(text: str, change: Callable[[str], str]) -> str:
    """A text with a change that leaves its path alone."""
    return StudyPath(change(text), change(text.written)) if isinstance(text, StudyPath) else change(text)


def paths_in(value: object) -> Iterator[StudyPath]:
    """The paths in frozen values."""
    if isinstance(value, StudyPath):
        yield value
    elif is_dataclass(value):
        for item in fields(value):
            yield from paths_in(getattr(value, item.name))
    elif isinstance(value, tuple):
        for item in value:
            yield from paths_in(item)
