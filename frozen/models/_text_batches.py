"""Texts through a text tower: each text once, in batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

_BATCH = 256
Encode = Callable[[Sequence[str]], Float32[np.ndarray, "texts joint"]]


def in_batches(encode: Callable[[list[str]], Tensor], joint: int) -> Encode:
    """Texts to vectors; equal texts are read once, so that they have equal vectors to the last bit.

    Args:
        encode: some texts to vectors [texts joint].
        joint: their width, where there are no texts.
    """

    @torch.inference_mode()
    def encoded(texts: Sequence[str]) -> Float32[np.ndarray, "texts joint"]:
        distinct = list(dict.fromkeys(texts))
        starts = range(0, len(distinct), _BATCH)
        parts = [encode(distinct[start : start + _BATCH]).float() for start in starts]
        vectors = torch.cat(parts).numpy() if parts else np.zeros((0, joint), np.float32)
        number = {text: row for row, text in enumerate(distinct)}
        return vectors[[number[text] for text in texts]]

    return encoded
