"""Small photographs of one colour each, so that a picture says which one it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def photo(number: int, width: int = 30, height: int = 20) -> np.ndarray:
    """An image of noise around a colour of its own."""
    rng = np.random.default_rng(number)
    color = rng.integers(30, 220, size=3)
    return (color + rng.integers(-20, 20, size=(height, width, 3))).astype(np.uint8)


def save_photo(path: Path, number: int, width: int = 30, height: int = 20) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photo(number, width, height)).save(path, **({"quality": 95} if path.suffix != ".png" else {}))


def write_folders(root: Path, n: int = 4, splits: tuple[str, ...] = ("train", "val")) -> None:
    """n images of each of two classes in each split."""
    for s, split in enumerate(splits):
        for c, name in enumerate(("n01", "n02")):
            for i in range(n):
                save_photo(root / split / name / f"{i}.png", 100 * s + 10 * c + i)
