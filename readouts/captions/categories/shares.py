"""Shares of categories among the parts of captions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from readouts.captions.categories.answers import CaptionPart, Nested, parts_of
from readouts.captions.categories.names import CATEGORIES

_PLACE = {category: i for i, category in enumerate(CATEGORIES)}


def caption_shares(parts: Sequence[Sequence[CaptionPart] | None]) -> Float64[np.ndarray, "captions categories"]:
    """Percentage of each caption's parts that each category has; NaN for captions without a part."""
    found = np.full((len(parts), len(CATEGORIES)), np.nan)
    for row, of in zip(found, parts, strict=True):
        if of:
            row[:] = np.bincount([_PLACE[part.category] for part in of], minlength=len(CATEGORIES)) * 100 / len(of)
    return found


def released(path: Path, *, nested: Nested = "drop") -> tuple[int, Mapping[str, float]]:
    """Captions with a part, and the mean share of every category, of a file of answers: a JSON list of texts."""
    answers = json.loads(path.read_text(encoding="utf-8"))
    shares = caption_shares([parts_of(answer, nested=nested) for answer in answers])
    has_parts = ~np.isnan(shares[:, 0])
    return int(has_parts.sum()), dict(zip(CATEGORIES, shares[has_parts].mean(axis=0).tolist(), strict=True))
