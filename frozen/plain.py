"""Frozen values as JSON has them: what identities hash and resolved studies show."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from frozen.paths import written

Plain = str | int | float | bool | None | list[Any] | dict[str, Any]
"""What JSON can say."""


def plain(value: object) -> Plain:
    """Frozen values as JSON has them: dataclasses become mappings, tuples lists, paths what the study writes."""
    if isinstance(value, str):
        return written(value)
    if value is None or isinstance(value, int | float):
        return value
    if is_dataclass(value):
        return mapping_of(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    assert isinstance(value, Sequence)
    return [plain(item) for item in value]


def mapping_of(value: object) -> dict[str, Plain]:
    """The fields of a dataclass as JSON has them."""
    assert is_dataclass(value)
    return {item.name: plain(getattr(value, item.name)) for item in fields(value)}


_texts: dict[int, tuple[object, str]] = {}


def json_of(part: object) -> str:
    """JSON of a frozen value, keys sorted; made once, because thousands of cells share their parts.

    Parts are told apart by identity, because hashing one takes as long as writing it; they are kept, so that
    no other can take a part's place.
    """
    if isinstance(part, str | int | float) or part is None:
        return json.dumps(plain(part))
    if id(part) not in _texts:
        _texts[id(part)] = (part, json.dumps(plain(part), sort_keys=True))
    return _texts[id(part)][1]
