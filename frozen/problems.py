"""Configuration mistakes as values, so that a reader of a study file can show all of them at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Problem(NamedTuple):
    """One broken rule: the field it concerns, and a sentence saying the rule and what arrived."""

    field: str
    message: str


class ConfigurationError(ValueError):
    """A configuration that breaks one or more rules; `problems` lists every one of them."""

    def __init__(self, owner: str, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        sentences = "; ".join(f"{field}: {message}" for field, message in self.problems)
        super().__init__(f"{owner}: {sentences}")


def refuse(owner: str, problems: Iterable[Problem]) -> None:
    """Raise `ConfigurationError` when there is at least one problem."""
    found = tuple(problems)
    if found:
        raise ConfigurationError(owner, found)


def at_least(field: str, value: float, least: float) -> Iterable[Problem]:
    """The rule `value ≥ least`."""
    if value < least:
        yield Problem(field, f"must be ≥ {least}, got {value}")


LARGEST_IMAGE = 8192
"""Most pixels a side that images are drawn or resized to."""


def at_most_largest_image(size: int) -> Iterable[Problem]:
    """The rule `image_size ≤ LARGEST_IMAGE`: an image of more would not fit into memory as tokens."""
    if size > LARGEST_IMAGE:
        yield Problem("image_size", f"must be ≤ {LARGEST_IMAGE}, got {size}")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: the closest known one, else all of them."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"


def shorten(text: str) -> str:
    """A text as it is quoted in a message."""
    return text if len(text) <= 60 else f"{text[:57]}..."


def show(value: object) -> str:
    """A value as messages show it, in YAML's words."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return repr(shorten(value))
    if isinstance(value, int | float):
        return str(value)
    return "a mapping" if isinstance(value, Mapping) else "a list"


def plural(noun: str) -> str:
    """`layers`, `classes`, `dictionaries`."""
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(("s", "x", "ch", "sh")) else f"{noun}s"


def path_text(path: tuple[str | int, ...]) -> str:
    """A path as messages show it: probes[1].rank."""
    steps = [f"[{shorten(str(step))}]" if isinstance(step, int) else f".{shorten(step)}" for step in path]
    return "".join(steps).removeprefix(".")
