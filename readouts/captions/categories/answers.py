"""Reads what a language model answers of a caption: a JSON object of parts, each with up to three labels."""

from __future__ import annotations

import json
from typing import Any, Literal, NamedTuple

from readouts.captions.categories.names import merged

Nested = Literal["drop", "flatten"]
"""What becomes of an object within the answer: the published script loses it, and it can be kept."""


class CaptionPart(NamedTuple):
    """A piece of a caption and its category."""

    text: str
    category: str


class _Pairs(list[tuple[str, Any]]):
    """The entries of an object in order; a key may come twice."""


def parts_of(answer: str, *, nested: Nested = "flatten") -> list[CaptionPart] | None:
    """The parts of an answer, by the first label of each.

    Keys that come twice are two parts. A text in place of labels is no part.

    Args:
        answer: what the model wrote, JSON and nothing else.
        nested: what becomes of objects within the answer.

    Returns:
        The parts; None for an answer that is no JSON object.
    """
    try:
        found = json.loads(answer, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        return None
    return _parts(found, nested) if isinstance(found, _Pairs) else None


def _parts(pairs: _Pairs, nested: Nested) -> list[CaptionPart]:
    found: list[CaptionPart] = []
    for text, labels in pairs:
        if isinstance(labels, _Pairs):
            found += _parts(labels, nested) if nested == "flatten" else []
        elif isinstance(labels, list):
            first = labels[0] if labels else ""
            found.append(CaptionPart(text, merged(first if isinstance(first, str) else "")))
    return found
