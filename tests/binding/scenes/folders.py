"""Tiny data sets on disk in the published layouts, made of random scenes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

COLORS = ("blue", "red", "purple", "cyan", "gray", "brown", "green", "yellow")
SHAPES = ("cube", "sphere", "cylinder")
MATERIALS = ("rubber", "metal")
SIZES = ("small", "large")


def random_image(rng: np.random.Generator, width: int = 24, height: int = 16) -> Image.Image:
    return Image.fromarray(rng.integers(256, size=(height, width, 3), dtype=np.uint8))


def write_clevr(root: Path, numbers: range, seed: int = 0) -> None:
    """CLEVR scenes of six objects, with the fields beside the four features that the renderer writes too."""
    for folder in ("images_6obj", "scenes_6obj"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for number in numbers:
        rng = np.random.default_rng([seed, number])
        objects = [
            {
                "color": str(rng.choice(COLORS)),
                "shape": str(rng.choice(SHAPES)),
                "material": str(rng.choice(MATERIALS)),
                "size": str(rng.choice(SIZES)),
                "3d_coords": rng.normal(size=3).tolist(),
                "rotation": float(rng.uniform(0, 360)),
            }
            for _ in range(6)
        ]
        name = f"CLEVR_6obj_{number:06d}"
        scene = {"split": "6obj", "image_index": number, "image_filename": f"{name}.png", "objects": objects}
        (root / "scenes_6obj" / f"{name}.json").write_text(json.dumps(scene))
        random_image(rng).save(root / "images_6obj" / f"{name}.png")
