"""The control code: as hard to say as the object code, but nothing that could be read off a scene.

Hewitt & Liang (2019), "Designing and interpreting probes with control tasks": a control task gives every input type
a random output, so that a probe does well at it only by remembering types. Here a type is an object code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

Codes = UInt8[np.ndarray, "_ objects"]


def control_codes(splits: Sequence[Codes], seed: int) -> list[Codes]:
    """Every sample's object code replaced by another one, the same for all samples that have it.

    The map is a random cycle through the distinct codes of all splits: a bijection without fixed points. So the
    control code has as many bits as the object code, its entropy, and the same codes as values; a random label for
    each bit would have lost the dependence between bits, which the probes use. Where all codes are equally likely
    each bit keeps its distribution too.

    Args:
        splits: object codes.
        seed: with the codes themselves, seed of the map: cells of one data set have the same control code.

    Returns:
        Control codes of the splits.
    """
    distinct, place = np.unique(np.concatenate(splits), axis=0, return_inverse=True)
    digest = hashlib.sha256(np.ascontiguousarray(distinct).tobytes()).digest()
    cycle = np.random.default_rng([seed, int.from_bytes(digest[:8], "big")]).permutation(len(distinct))
    image = np.empty_like(cycle)
    image[cycle] = np.roll(cycle, 1)
    ends = np.cumsum([len(codes) for codes in splits])
    return np.split(distinct[image[place.reshape(-1)]], ends[:-1])
