"""Drawing coloured shapes on a plain background, many images a second (paper, section 3.1).

The shapes are drawn once by Pillow, at the size asked for; an image is then a few copies of small
masks. The pixels equal those of drawing every object with Pillow on the full image, with corners
rounded as in `_corners`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, Int16, UInt8
from PIL import Image, ImageDraw

COLORS: dict[str, tuple[int, int, int]] = {
    "red": (220, 20, 60),
    "blue": (30, 144, 255),
    "green": (34, 139, 34),
    "yellow": (255, 215, 0),
    "purple": (138, 43, 226),
    "orange": (255, 140, 0),
    "cyan": (0, 206, 209),
    "gray": (128, 128, 128),
}
SHAPES = ("circle", "square", "triangle", "diamond", "pentagon", "hexagon", "cross", "star")

_TRIES = 2000
_TRIES_DRAWN_AT_ONCE = 64
WHITE = 255


@dataclass(frozen=True)
class Canvas:
    """Geometry of an image: pixels a side, pixels of an object's box, free border."""

    image_size: int
    object_size: int
    margin: int

    @property
    def positions(self) -> int:
        """Number of admissible box corners along one axis; not positive where no box fits."""
        return self.image_size - 2 * self.margin - self.object_size + 1


@cache
def shape_mask(shape: str, size: int) -> Bool[np.ndarray, "side side"]:
    """Pixels a shape covers in a box of `size`; one more pixel a side, since Pillow includes both ends."""
    image = Image.new("1", (size + 1, size + 1))
    draw = ImageDraw.Draw(image)
    center = size / 2
    sides = {"triangle": 3, "pentagon": 5, "hexagon": 6}
    if shape == "circle":
        draw.ellipse([0, 0, size, size], fill=1)
    elif shape == "square":
        draw.rectangle([0, 0, size, size], fill=1)
    elif shape == "diamond":
        draw.polygon([(center, 0), (size, center), (center, size), (0, center)], fill=1)
    elif shape == "cross":
        low, high = _bar(size)
        draw.rectangle([low, 0, high, size], fill=1)
        draw.rectangle([0, low, size, high], fill=1)
    elif shape == "star":
        draw.polygon(_corners(center, [center, 0.45 * center] * 5), fill=1)
    elif shape in sides:
        draw.polygon(_corners(center, [center] * sides[shape]), fill=1)
    else:
        raise ValueError(f"unknown shape {shape!r}; there are {', '.join(SHAPES)}")
    return np.array(image)


def _bar(size: int) -> tuple[int, int]:
    """First and last pixel of a bar a quarter of the box thick, at least two pixels."""
    thickness = max(2, int(size * 0.25))
    return int(size / 2 - thickness / 2), int(size / 2 + thickness / 2)


def _corners(center: float, radii: list[float]) -> list[tuple[float, float]]:
    """Corners at equal angles and the given radii, the first one straight up."""
    angles = [2 * math.pi * i / len(radii) - math.pi / 2 for i in range(len(radii))]
    corners = [(center + r * math.cos(a), center + r * math.sin(a)) for a, r in zip(angles, radii, strict=True)]
    # a corner at 11.999999999999998 instead of 12 would cost a triangle its lowest row of pixels
    return [(round(x, 9), round(y, 9)) for x, y in corners]


class Layout(NamedTuple):
    """Where the objects of a batch of scenes are, in the order in which they are drawn."""

    kinds: Int16[np.ndarray, "batch most"]
    """Which object of the feature space each is; -1: none."""
    boxes: Int16[np.ndarray, "batch most 4"]
    """First and last column and row of its box: left, top, right, bottom; -1: no object."""

    @classmethod
    def empty(cls, n_scenes: int, most: int) -> Layout:
        """No objects yet."""
        return cls(np.full((n_scenes, most), -1, dtype=np.int16), np.full((n_scenes, most, 4), -1, dtype=np.int16))


class PlacementError(ValueError):
    """The objects of a scene found no free place."""


def place(
    n_objects: Int[np.ndarray, " batch"], canvas: Canvas, seed: int, indices: Int[np.ndarray, " batch"]
) -> Int[np.ndarray, "batch most 2"]:
    """Corners (x, y) of non-overlapping boxes, uniform by rejection, up to 2000 tries an object.

    Each image has a random stream of its own, keyed by the seed and its index. Boxes may touch.

    Raises:
        PlacementError: an object found no place.
    """
    most = int(n_objects.max(initial=0))
    corners = np.zeros((len(indices), most, 2), dtype=np.int64)
    if most and canvas.positions < 1:
        raise PlacementError(_no_place(canvas, most))
    streams = [np.random.Generator(np.random.Philox(key=(seed << 64) | int(i))) for i in indices]
    placed = np.zeros(len(indices), dtype=np.int64)
    tries = np.zeros(len(indices), dtype=np.int64)
    while (open_ := np.flatnonzero(placed < n_objects)).size:
        shape = (_TRIES_DRAWN_AT_ONCE, 2)
        candidates = np.stack([streams[i].integers(canvas.positions, size=shape) for i in open_])
        for t in range(_TRIES_DRAWN_AT_ONCE):
            _try_candidates(candidates[:, t], open_, n_objects, corners, placed, tries, canvas.object_size)
        if (failed := tries >= _TRIES).any():
            raise PlacementError(_no_place(canvas, int(n_objects[failed].max())))
    return corners + canvas.margin


def place_each(
    n_objects: Int[np.ndarray, " batch"],
    sizes: Int[np.ndarray, "batch most"],
    canvas: Canvas,
    seed: int,
    indices: Int[np.ndarray, " batch"],
) -> Int[np.ndarray, "batch most 2"]:
    """Corners (x, y) of non-overlapping boxes with a size each, uniform by rejection, in the order of the sizes.

    Each image has a random stream of its own, keyed by the seed and its index. Boxes may touch.

    Raises:
        PlacementError: an object found no place.
    """
    corners = np.zeros((*sizes.shape, 2), dtype=np.int64)
    for row, (index, n) in enumerate(zip(indices.tolist(), n_objects.tolist(), strict=True)):
        stream = np.random.Generator(np.random.Philox(key=(seed << 64) | index))
        taken: list[tuple[int, int, int]] = []
        for size in sizes[row, :n].tolist():
            box = replace(canvas, object_size=size)
            place = _free_place(stream, taken, box)
            if place is None:
                raise PlacementError(_no_place(box, n))
            taken.append((*place, size))
        corners[row, :n] = [place[:2] for place in taken]
    return corners + canvas.margin


def _free_place(
    stream: np.random.Generator, taken: list[tuple[int, int, int]], canvas: Canvas
) -> tuple[int, int] | None:
    """A uniform place for a box that overlaps none of the taken ones (x, y, size), or None after 2000 tries."""
    size, positions = canvas.object_size, canvas.positions
    for _ in range(_TRIES if positions > 0 else 0):
        x, y = stream.integers(positions, size=2).tolist()
        if all(x >= a + s or a >= x + size or y >= b + s or b >= y + size for a, b, s in taken):
            return x, y
    return None


def _try_candidates(
    candidate: np.ndarray,
    rows: np.ndarray,
    n_objects: np.ndarray,
    corners: np.ndarray,
    placed: np.ndarray,
    tries: np.ndarray,
    object_size: int,
) -> None:
    """Give each unfinished image of `rows` its next object if the candidate is free; updates in place."""
    gaps = np.abs(corners[rows] - candidate[:, None]).max(axis=2)
    taken = (gaps < object_size) & (np.arange(corners.shape[1]) < placed[rows, None])
    unfinished = placed[rows] < n_objects[rows]
    accepted = unfinished & ~taken.any(axis=1)
    winners = rows[accepted]
    corners[winners, placed[winners]] = candidate[accepted]
    placed[winners] += 1
    tries[rows[unfinished & ~accepted]] += 1
    tries[winners] = 0


def _no_place(canvas: Canvas, n_objects: int) -> str:
    return (
        f"no free place for {n_objects} objects of object_size {canvas.object_size} in image_size "
        f"{canvas.image_size} with margin {canvas.margin}; use fewer or smaller objects, or a larger image"
    )


def layout(
    object_codes: UInt8[np.ndarray, "batch objects"], corners: Int[np.ndarray, "batch most 2"], size: int
) -> Layout:
    """The objects of each code in the order of the code, in boxes of one size at the given corners."""
    rows, kinds = np.nonzero(object_codes)
    order = np.arange(len(rows)) - np.searchsorted(rows, rows)
    found = Layout.empty(len(object_codes), corners.shape[1])
    found.kinds[rows, order] = kinds
    places = corners[rows, order]
    found.boxes[rows, order] = np.concatenate([places, places + size], axis=1)
    return found


def paint(
    images: UInt8[np.ndarray, "batch height width channels"],
    layout: Layout,
    shapes: Sequence[str],
    values: Sequence[UInt8[np.ndarray, " channels"]],
) -> None:
    """Draw the objects into the images in the layout's order; those of kind k have shape k and value k."""
    rows, order = np.nonzero(layout.kinds >= 0)
    kinds, boxes = layout.kinds[rows, order], layout.boxes[rows, order]
    for row, k, (x, y, right, _) in zip(rows.tolist(), kinds.tolist(), boxes.tolist(), strict=True):
        mask = shape_mask(shapes[k], right - x)
        side = len(mask)
        box = images[row, y : y + side, x : x + side]
        height, width, _ = box.shape  # without a margin the last row and column may lie outside
        np.copyto(box, values[k], where=mask[:height, :width, None])
