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


GENOME_CLASSES = ("person", "dog", "car", "cat")
GENOME_COLORS = ("red", "blue", "black")


def write_genome(root: Path, n_images: int, seed: int = 0, split: tuple[int, int, int] | None = None) -> Path:
    """Images of 0 to 5 objects in the layout of the `vgcolor` reader; returns the folder of the metadata.

    Beside the vocabulary there are classes and colours outside it, objects without a colour and with several.
    """
    rng = np.random.default_rng(seed)
    folder = root / "deprecated" / "meta_filtered_color_coco"
    folder.mkdir(parents=True)
    (root / "VG_100K").mkdir()
    (root / "VG_100K_2").mkdir()
    metadata, pairs = [], {name: dict.fromkeys(GENOME_COLORS, 0) for name in GENOME_CLASSES}
    for number in range(1, n_images + 1):
        objects = []
        for _ in range(rng.integers(0, 6)):
            name = str(rng.choice([*GENOME_CLASSES, "cloud"]))
            colors = [str(c) for c in rng.choice([*GENOME_COLORS, "mauve"], size=rng.integers(0, 3), replace=False)]
            objects.append({"object_class": name, "attributes_color": colors})
            for color in [color for color in colors if color in GENOME_COLORS][:1]:
                if name in pairs:
                    pairs[name][color] += 1
        place = f"VG_100K{'_2' * (number % 2)}/{number}.jpg"
        random_image(rng, 20, 14).save(root / place)
        metadata.append({"image_id": number, "image_url": f"https://example.org/{place}", "attributes": objects})
    statistics = {
        "selected_object_classes": list(GENOME_CLASSES),
        "selected_color_attributes": list(GENOME_COLORS),
        "selected_object_occurrences": {name: sum(pairs[name].values()) for name in GENOME_CLASSES},
        "selected_attribute_occurrences": {c: sum(pairs[n][c] for n in GENOME_CLASSES) for c in GENOME_COLORS},
        "object_to_color_attribute_occurrences": pairs,
    }
    (folder / "attributes_filtered_color.json").write_text(json.dumps(metadata))
    (folder / "vg_stats_filtered_color.json").write_text(json.dumps(statistics))
    if split is not None:
        ids = np.split(rng.permutation(np.arange(1, n_images + 1)), np.cumsum(split)[:-1])
        names = ("train", "val", "test")
        (folder / "split_dataset.json").write_text(
            json.dumps({name: part.tolist() for name, part in zip(names, ids, strict=True)})
        )
    return folder
