"""A folder of rendered images with their scene JSON: what is there, what is missing, what is broken."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from frozen.data.pixels import UnreadableImageError, read_rgb
from frozen.data.scenes._base import DataError
from frozen.whole_files import appearing

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"IEND\xaeB`\x82"
_REMEDY = "render it again with `python -m sweep.render STUDY.yaml --check`"


@dataclass(frozen=True)
class RenderedFolder:
    """Images in images/NAME.png, scenes in scenes/NAME.json, specifications in SPLIT.jsonl."""

    root: Path

    def image(self, name: str) -> Path:
        """An image's file."""
        return self.root / "images" / name

    def scene(self, name: str) -> Path:
        """The scene JSON of an image."""
        return self.root / "scenes" / Path(name).with_suffix(".json").name

    def names(self) -> set[str]:
        """Images that are there; an image gets its name when it is complete."""
        try:
            return {entry.name for entry in os.scandir(self.root / "images") if not entry.name.startswith(".")}
        except FileNotFoundError:
            return set()

    def broken(self, names: Iterable[str], *, decode: bool) -> Iterator[str]:
        """Of some images those that are not there, cut off, or without a scene.

        Args:
            names: of the images.
            decode: read every image to its last pixel, instead of only its first and last bytes.
        """
        there = self.names()
        for name in names:
            if name not in there or not self._is_sound(name, decode=decode):
                yield name

    def _is_sound(self, name: str, *, decode: bool) -> bool:
        try:
            json.loads(self.scene(name).read_bytes())
            if decode:
                read_image(self.image(name))
            return _is_whole_png(self.image(name))
        except (OSError, ValueError):
            return False

    def read(self, name: str, width: int, height: int) -> UInt8[np.ndarray, "height width 3"]:
        """An image.

        Raises:
            DataError: it is not there, cannot be read, or has another size.
        """
        image = read_image(self.image(name))
        if image.shape[:2] != (height, width):
            found = f"{image.shape[1]} x {image.shape[0]}"
            raise DataError(f"{self.image(name)} has {found} pixels instead of {width} x {height}; {_REMEDY}")
        return image

    def write_specifications(self, split: str, specify: Callable[[int], Mapping[str, Any]], n_samples: int) -> None:
        """Keep a split's specifications, a line each; a file that has as many already stays."""
        path = self.root / f"{split}.jsonl"
        if path.exists():
            with path.open() as file:
                if sum(1 for _ in file) >= n_samples:
                    return
        self.root.mkdir(parents=True, exist_ok=True)
        with appearing(path) as half, half.open("w") as file:
            file.writelines(json.dumps(specify(number)) + "\n" for number in range(n_samples))


def read_image(path: Path) -> UInt8[np.ndarray, "height width 3"]:
    """Pixels of an image file.

    Raises:
        DataError: it is not there or cannot be read.
    """
    try:
        return read_rgb(path)
    except (FileNotFoundError, UnreadableImageError) as error:
        raise DataError(f"{path} cannot be read ({error}); {_REMEDY}") from error


def _is_whole_png(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(len(_PNG_SIGNATURE))
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - len(_PNG_END)))
        return start == _PNG_SIGNATURE and file.read() == _PNG_END


def image_name(split: str, index: int) -> str:
    """File name of an image."""
    return f"{split}_{index:06d}.png"
