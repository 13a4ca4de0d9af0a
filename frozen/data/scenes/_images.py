"""Image files as square RGB bytes, and which of them can be read at all."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch.nn.functional import interpolate

from frozen.data.scenes._base import DataError
from frozen.data.scenes._pixels import UnreadableImageError, read_rgb
from frozen.git_lfs import MOST_BYTES, lfs_pointer

_CHUNK = 1024
_VERSION = 3
"""Of what is read from a file; what an older one found out about a folder is not asked."""


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


def readable(paths: Sequence[Path]) -> Iterator[bool]:
    """Whether each image can be decoded to its end, in order.

    Every image has to be decoded once for that; what was found is kept in the user's cache folder for as long
    as the files have the same sizes and times.
    """
    for start in range(0, len(paths), _CHUNK):
        yield from _readable_chunk(paths[start : start + _CHUNK])


def _readable_chunk(paths: Sequence[Path]) -> list[bool]:
    cached = _cache_folder() / f"{_state(paths)}.json"
    try:
        bad = set(json.loads(cached.read_text()))
    except (OSError, ValueError):
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            sound = list(pool.map(_can_be_read, paths))
        _keep(cached, json.dumps([i for i, is_sound in enumerate(sound) if not is_sound]))
        return sound
    return [i not in bad for i in range(len(paths))]


def _can_be_read(path: Path) -> bool:
    try:
        read_rgb(path)
    except (FileNotFoundError, UnreadableImageError):
        return False
    return True


def _state(paths: Sequence[Path]) -> str:
    total = hashlib.sha256(f"{_VERSION}\n".encode())
    for path in paths:
        try:
            found = path.stat()
            total.update(f"{path.absolute()} {found.st_size} {found.st_mtime_ns}\n".encode())
        except FileNotFoundError:
            total.update(f"{path.absolute()} missing\n".encode())
    return total.hexdigest()


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "binding-sweep" / "images"


def _keep(path: Path, text: str) -> None:
    """Write a file of the cache; without one, images are only decoded once more."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
