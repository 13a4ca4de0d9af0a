"""Shares of categories among the parts of captions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from readouts.captions.categories.answers import CaptionPart
from readouts.captions.categories.names import CATEGORIES

_PLACE = {category: i for i, category in enumerate(CATEGORIES)}


def caption_shares(parts: Sequence[Sequence[CaptionPart] | None]) -> Float64[np.ndarray, "captions categories"]:
    """Percentage of each caption's parts that each category has; NaN for captions without a part."""
    found = np.full((len(parts), len(CATEGORIES)), np.nan)
    for row, of in zip(found, parts, strict=True):
        if of:
            row[:] = np.bincount([_PLACE[part.category] for part in of], minlength=len(CATEGORIES)) * 100 / len(of)
    return found
