"""Rendering against the plain formulation, and the time of exact entropies and odds.

    python benchmarks/scenes.py [--images 300] [--rounds 5] [--samples 49000]

The plain formulation places one box after the other in Python and lets Pillow draw every object on the
full image. Both render the same object codes, in turns (A B A B) on one core, so that the ratio holds on
a busy machine too; the best round of each counts.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from PIL import Image, ImageDraw

from frozen.data.scenes import BalancedColorShape, ColorShape, SplitPolicy
from frozen.data.scenes._drawing import COLORS, SHAPES
from frozen.data.scenes._shape_scene import ShapeScene, ShapeSplit

SIDES = {"triangle": 3, "diamond": 4, "pentagon": 5, "hexagon": 6}
SCENES: dict[str, ShapeScene] = {
    "colorshape 7x7, at most 16 objects, 256 px": ColorShape(),
    "balancedcolorshape 8x8, 18 objects, 256 px": BalancedColorShape(),
    "colorshape 4x4, at most 6 objects, 64 px": ColorShape(
        n_colors=4, n_shapes=4, max_objects=6, image_size=64, object_size=12, split=SplitPolicy()
    ),
}


def plain_places(n_objects: int, image_size: int, size: int, margin: int) -> list[tuple[int, int]]:
    places: list[tuple[int, int]] = []
    while len(places) < n_objects:
        x, y = (random.randint(margin, image_size - margin - size) for _ in range(2))  # noqa: S311
        if all(max(abs(x - u), abs(y - v)) >= size for u, v in places):
            places.append((x, y))
    return places


def plain_polygon(x: float, y: float, radii: list[float]) -> list[tuple[float, float]]:
    angles = [2 * math.pi * i / len(radii) - math.pi / 2 for i in range(len(radii))]
    return [(x + r * math.cos(a), y + r * math.sin(a)) for r, a in zip(radii, angles, strict=True)]


def plain_object(
    draw: ImageDraw.ImageDraw, shape: str, x: int, y: int, size: int, fill: tuple[int, int, int]
) -> None:
    box, radius = [x, y, x + size, y + size], size / 2
    if shape == "circle":
        draw.ellipse(box, fill=fill)
    elif shape == "square":
        draw.rectangle(box, fill=fill)
    elif shape == "cross":
        half = max(2, size // 4) / 2
        low, high = int(radius - half), int(radius + half)
        draw.rectangle([x + low, y, x + high, y + size], fill=fill)
        draw.rectangle([x, y + low, x + size, y + high], fill=fill)
    else:
        radii = [radius, 0.45 * radius] * 5 if shape == "star" else [radius] * SIDES[shape]
        draw.polygon(plain_polygon(x + radius, y + radius, radii), fill=fill)


def plain_images(scene: ShapeScene, object_codes: np.ndarray) -> np.ndarray:
    images = []
    for code in object_codes:
        image = Image.new("RGB", (scene.image_size, scene.image_size), "white")
        draw = ImageDraw.Draw(image)
        objects = np.flatnonzero(code)
        places = plain_places(len(objects), scene.image_size, scene.object_size, scene.margin)
        for k, (x, y) in zip(objects, places, strict=True):
            color, shape = divmod(int(k), scene.n_shapes)
            plain_object(draw, SHAPES[shape], x, y, scene.object_size, tuple(COLORS.values())[color])
        images.append(np.array(image))
    return np.stack(images)


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare_rendering(n_images: int, rounds: int) -> None:
    for name, scene in SCENES.items():
        split, indices = scene.limited(n_images).open("train"), np.arange(n_images)
        codes = split.object_codes
        times = [
            (seconds(lambda: split.images(indices)), seconds(lambda: plain_images(scene, codes)))  # noqa: B023
            for _ in range(rounds)
        ]
        ours, plain = (min(column) for column in zip(*times, strict=True))
        rates = f"{n_images / ours:8,.0f} images/s   plain {n_images / plain:8,.0f} images/s"
        print(f"{name:45} {rates}   ratio {plain / ours:.2f}")


def time_entropies(name: str, split: ShapeSplit) -> None:
    n_samples = len(split.object_codes)  # drawn here, outside the clock
    steps = {
        "entropies": lambda: split.entropies,
        "entropies of samples": split.conditional_entropy_bits,
        "log-odds": split.prior_log_odds,
    }
    parts = "   ".join(f"{step} {seconds(work):.2f} s" for step, work in steps.items())
    print(f"{name:45} {n_samples:,} samples   {parts}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--samples", type=int, default=49_000)
    arguments = parser.parse_args()
    compare_rendering(arguments.images, arguments.rounds)
    for name, scene in SCENES.items():
        larger = replace(scene, split=replace(scene.split, train=arguments.samples))
        time_entropies(name, larger.open("train"))


if __name__ == "__main__":
    main()
