"""Where the pixels of a data set lie: files, members of tar archives, arrays. One interface for images and masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from PIL import Image

from frozen.data.pixels import UnreadableImageError, read_rgb
from frozen.git_lfs import MOST_BYTES, lfs_pointer

Decoder = Callable[[Path], np.ndarray]


@runtime_checkable
class Rasters(Protocol):
    """Images uint8 [height width 3], or masks int32 [height width], by number."""

    def name(self, i: int) -> str:
        """What messages call it: its file, or its place in one."""
        ...

    def identity(self, i: int) -> str:
        """What a fingerprint holds of it: its name and its size in bytes, or a digest.

        Raises:
            FileNotFoundError: it is not there.
            UnreadableImageError: it is known not to be an image, such as a Git LFS pointer.
        """
        ...

    def state(self, i: int) -> str:
        """Changes whenever its bytes may have changed; for the cache of what can be read."""
        ...

    def read(self, i: int) -> np.ndarray:
        """Its pixels, at their own size.

        Raises:
            FileNotFoundError: it is not there.
            UnreadableImageError: it is damaged or no image.
        """
        ...

    def __len__(self) -> int: ...


class FileRasters:
    """Files in a folder.

    Args:
        folder: what the names are relative to.
        names: of the files.
        decode: from a path to pixels; by default an image in RGB.
    """

    def __init__(self, folder: Path, names: Sequence[str], decode: Decoder = read_rgb) -> None:
        self.folder, self.names, self._decode = folder, names, decode

    def name(self, i: int) -> str:
        return str(self.folder / self.names[i])

    def identity(self, i: int) -> str:
        path = self.folder / self.names[i]
        size = path.stat().st_size
        if size <= MOST_BYTES and (pointer := lfs_pointer(path)):
            raise UnreadableImageError(pointer)
        return f"{self.names[i]} {size}"

    def state(self, i: int) -> str:
        path = self.folder / self.names[i]
        try:
            found = path.stat()
        except FileNotFoundError:
            return f"{path.absolute()} missing"
        return f"{path.absolute()} {found.st_size} {found.st_mtime_ns}"

    def read(self, i: int) -> np.ndarray:
        return self._decode(self.folder / self.names[i])

    def __len__(self) -> int:
        return len(self.names)


def read_numbers(path: Path) -> np.ndarray:
    """A mask in which each pixel is one number, int32 [height width]: grey of 8 or 16 bits, or a palette's indices.

    Raises:
        FileNotFoundError: no such file.
        UnreadableImageError: no image, or one with several numbers a pixel.
    """
    values = read_channels(path)
    if values.ndim != 2:
        raise UnreadableImageError(f"a mask has one number a pixel, this image has {values.shape[2]}")
    return values.astype(np.int32)


def read_channels(path: Path) -> np.ndarray:
    """The numbers of an image file as they are stored, [height width] or [height width channel]."""
    try:
        with Image.open(path) as image:
            return np.array(image)
    except FileNotFoundError:
        raise
    except Exception as error:  # each of Pillow's decoders has errors of its own
        raise UnreadableImageError(lfs_pointer(path) or " ".join(str(error).split())) from error
