"""Image files as square RGB bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch.nn.functional import interpolate

from frozen.data.pixels import UnreadableImageError, read_rgb
from frozen.data.scenes._base import DataError
from frozen.git_lfs import MOST_BYTES, lfs_pointer


def read_image(path: Path, image_size: int) -> UInt8[np.ndarray, "side side 3"]:
    """An image, resized to a square without cropping (bilinear, no antialias: as backbones resize).

    Raises:
        DataError: a file that is missing, truncated or no image.
    """
    try:
        pixels = read_rgb(path)
    except FileNotFoundError:
        raise DataError(f"{path}: no such image; put it there, or set `on_bad_image: skip`") from None
    except UnreadableImageError as error:
        raise DataError(
            f"{path}: cannot be read as an image ({error}); get the file again, or set `on_bad_image: skip`"
        ) from error
    if pixels.shape[:2] == (image_size, image_size):
        return pixels
    batch = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
    resized = interpolate(batch, size=(image_size, image_size), mode="bilinear", align_corners=False)
    return resized[0].round().byte().permute(1, 2, 0).numpy()


def check_present(paths: Sequence[Path], remedy: str) -> list[int]:
    """Sizes in bytes of image files.

    Raises:
        DataError: images that are not there, or only Git LFS pointers; the message names the first and counts them.
    """
    sizes = [_size_bytes(path) for path in paths]
    missing = [path for path, size in zip(paths, sizes, strict=True) if size is None]
    if missing:
        raise DataError(
            f"{missing[0]}: no such image ({len(missing)} of {len(paths)} images are not there); {remedy}, "
            "or set `on_bad_image: skip`"
        )
    small = [path for path, size in zip(paths, sizes, strict=True) if size is not None and size <= MOST_BYTES]
    pointers = [(path, pointer) for path in small if (pointer := lfs_pointer(path))]
    if pointers:
        path, pointer = pointers[0]
        raise DataError(f"{path}: {pointer} ({len(pointers)} of {len(paths)} images are pointers)")
    return [size for size in sizes if size is not None]


def _size_bytes(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None
