"""Configuration mistakes as values, so that a reader of a study file can show all of them at once."""

from __future__ import annotations

from collections.abc import Iterable
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
