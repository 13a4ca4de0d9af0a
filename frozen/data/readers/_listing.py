"""What a split on disk could have, and which of it are its samples."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from itertools import repeat
from typing import NamedTuple

import numpy as np

from frozen.data.rasters import Rasters
from frozen.data.readable import readable


class Listing(NamedTuple):
    """What a split could have, in the order of the disk."""

    images: Rasters
    labels: Mapping[str, np.ndarray] = {}
    """By name, one a sample: numbers, or texts; of dtype object where a sample has several."""
    names: Mapping[str, tuple[str, ...]] = {}
    """By label, readable names of its values 0, 1, .."""
    masks: Mapping[str, Rasters] = {}
    """By name of the label."""


def chosen(
    listing: Listing, most: int | None, per_class: int | None, sound: Iterator[bool] | None = None
) -> list[int]:
    """Places in a listing that are samples.

    Args:
        listing: of a split.
        most: samples of the split at most.
        per_class: samples of each class at most.
        sound: whether each place can be read; asked only as far as needed.
    """
    classes = listing.labels["class"].tolist() if per_class is not None else None
    room: dict[int, int] = {}
    kept: list[int] = []
    sound = repeat(True) if sound is None else sound
    for place in range(len(listing.images)):
        if len(kept) == most:
            break
        if not next(sound):
            continue
        if classes is not None:
            left = room.setdefault(classes[place], per_class or 0)
            if not left:
                continue
            room[classes[place]] = left - 1
        kept.append(place)
    return kept


def sound_places(listing: Listing) -> Iterator[bool]:
    """Whether image and masks of each place can be read."""
    places = range(len(listing.images))
    parts = [readable(rasters, places) for rasters in (listing.images, *listing.masks.values())]
    return (all(flags) for flags in zip(*parts, strict=True))


def digest(values: np.ndarray) -> str:
    """sha256 of labels."""
    if values.dtype.kind in "OU":
        text = "\x00".join("\x01".join(v) if isinstance(v, tuple) else str(v) for v in values.tolist())
        return hashlib.sha256(text.encode()).hexdigest()
    return hashlib.sha256(f"{values.dtype.str} {values.shape} ".encode() + values.tobytes()).hexdigest()
