"""Pydantic's errors as sentences about a study file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from frozen.problems import did_you_mean, shorten, show
from frozen.readout.forms import COMPLAINT, WRONG_FORM, WRONG_NAME
from sweep.study.yaml import Path

_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
}


class Sentence(NamedTuple):
    """What is wrong with the value at a path."""

    path: Path
    message: str


def sentences(error: ValidationError, value: object, keys: Mapping[int, tuple[str, ...]]) -> Iterator[Sentence]:
    """All errors of a validation.

    Args:
        error: what pydantic found.
        value: what it was given.
        keys: for each mapping in it, by its `id`, the keys it can have.
    """
    errors = error.errors(include_url=False)
    unknown: dict[Path, list[str]] = {}
    for details in errors:
        if details["type"] == "extra_forbidden":
            *holder, name = value_path(details["loc"])
            unknown.setdefault(tuple(holder), []).append(str(name))
    for details in errors:
        path = value_path(details["loc"])
        if details["type"] == "too_short" and details["input"]:
            continue  # entries that were refused are not counted
        if details["type"] == "missing" and get_close_matches(str(path[-1]), unknown.get(path[:-1], ())):
            continue  # it is there under a misspelt name, which is told
        yield _sentence(details, path, keys.get(id(_at(value, path[:-1])), ()))


def value_path(location: tuple[str | int, ...]) -> Path:
    """A pydantic location without the tags of unions, which stand in angle brackets."""
    return tuple(step for step in location if not (isinstance(step, str) and step.startswith("<")))


def _at(value: Any, path: Path) -> object:
    for step in path:
        value = value[step]
    return value


def _sentence(details: ErrorDetails, path: Path, keys: tuple[str, ...]) -> Sentence:
    kind, value, context = details["type"], details["input"], details.get("ctx", {})
    if kind == COMPLAINT:
        return Sentence(path, details["msg"])
    if kind == "missing":
        return _missing(path)
    if kind == "extra_forbidden":
        name = str(details["loc"][-1])
        return Sentence(path, f"unknown key {shorten(name)!r}; {did_you_mean(name, keys)}")
    if kind == WRONG_NAME:
        return _wrong_name(path, value, *details["msg"].split())
    if kind == WRONG_FORM:
        return Sentence(path, f"expected {details['msg']}, got {show(value)}")
    if kind == "literal_error":
        return Sentence(path, _not_among(path, value, re.findall(r"'([^']*)'", context["expected"])))
    if kind == "greater_than_equal":
        return Sentence(path, f"must be ≥ {context['ge']}, got {show(value)}")
    if kind == "too_short":
        return Sentence(path, "empty grid: needs at least one entry, got none")
    if kind == "too_long":
        return Sentence(path, f"expected {context['max_length']} entries, got {context['actual_length']}")
    return Sentence(path, f"expected {_EXPECTED.get(kind, details['msg'])}, got {show(value)}")


def _missing(path: Path) -> Sentence:
    *holder, name = path
    if isinstance(name, int):
        return Sentence(tuple(holder), f"too few entries, there is no [{name}]")
    other = " or 'data'" if holder[:1] == ["datasets"] and name == "scene" else ""
    return Sentence(tuple(holder), f"missing key {name!r}{other}")


def _wrong_name(path: Path, value: object, key: str, *names: str) -> Sentence:
    if not isinstance(value, Mapping):
        return Sentence(path, f"expected a mapping of keys to values, got {show(value)}")
    if key not in value:
        return _missing((*path, key))
    return Sentence((*path, key), _not_among((*path, key), value[key], names))


def _singular(noun: str) -> str:
    return f"{noun[:-2]}is" if noun.endswith("yses") else noun.removesuffix("s")


def _not_among(path: Path, value: object, names: tuple[str, ...] | list[str]) -> str:
    if not isinstance(value, str):
        return f"expected one of {', '.join(names)}, got {show(value)}"
    words = [step for step in path if isinstance(step, str)]
    noun = words[-1] if isinstance(path[-1], str) else _singular(words[-1])
    return f"unknown {noun} {show(value)}; {did_you_mean(value, names)}"
