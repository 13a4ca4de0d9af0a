"""Pixels of an image file as a viewer shows them: eight bits of red, green and blue."""

from __future__ import annotations

import struct
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps
from PIL.ImageFile import ImageFile

from frozen.git_lfs import lfs_pointer

MOST_PIXELS = 2**26
"""Of an image, 8192 x 8192: a small file may hold more than memory does. Of baseline JPEGs four times as many."""
_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0  # tags of TIFF
_WHOLE_RANGE = ("PNG", "PPM", "JPEG2000", "TIFF")
"""Formats in which numbers of 16 bits mean black at 0 and white at the largest."""
_HALVED = ("JPEG", "MPO")
"""Formats whose decoder can leave out what only full size needs."""
_REMEDY = "save it with 8 or 16 bits a channel"


def read_rgb(path: Path) -> UInt8[np.ndarray, "height width 3"]:
    """The first frame of an image file: turned as its EXIF orientation says, on white where it is transparent.

    A JPEG of more than `MOST_PIXELS` is decoded at half its width and height.

    Raises:
        FileNotFoundError: no such file.
        UnreadableImageError: a file that is damaged or no image, that has too many pixels, or whose numbers have no
            known range.
    """
    try:
        with path.open("rb") as file:
            return decode_rgb(file)
    except FileNotFoundError:
        raise
    except UnreadableImageError as error:
        raise UnreadableImageError(lfs_pointer(path) or str(error)) from error
    except OSError as error:
        raise UnreadableImageError(" ".join(str(error).split())) from error


def decode_rgb(file: BinaryIO | BytesIO) -> UInt8[np.ndarray, "height width 3"]:
    """The same of an open file, or of bytes in memory.

    Raises:
        UnreadableImageError: as `read_rgb`.
    """
    try:
        with _opened(file) as image:
            _bound(image)
            image.load()
            _bound(image)  # an icon's picture may be larger than its own list says
            ImageOps.exif_transpose(image, in_place=True)
            return _rgb(image)
    except MemoryError:
        raise
    except Exception as error:  # each of Pillow's decoders has errors of its own, from SyntaxError to RuntimeError
        raise UnreadableImageError(" ".join(str(error).split()) or type(error).__name__) from error


class UnreadableImageError(ValueError):
    """Why a file cannot be read as an image."""


def _opened(file: BinaryIO | BytesIO) -> ImageFile:
    """As `Image.open`, without its limit: that one warns or raises, according to a setting of the whole process."""
    Image.init()
    start, reason = file.read(16), "it has no format of images that is known here"
    for opener, accepts in list(Image.OPEN.values()):
        answer = accepts is None or accepts(start)
        if isinstance(answer, str):
            reason = answer
        elif answer:
            file.seek(0)
            with suppress(SyntaxError, IndexError, TypeError, struct.error):  # how a decoder says: none of mine
                return opener(file, getattr(file, "name", ""))
    raise UnreadableImageError(reason)


def _bound(image: ImageFile) -> None:
    """Refuse an image whose pixels would fill the memory, or have it decoded smaller."""
    width, height = image.size
    can_be_halved = image.format in _HALVED and "progressive" not in image.info  # all of a progressive one is held
    most = MOST_PIXELS * (4 if can_be_halved else 1)
    if width * height > most:
        raise UnreadableImageError(
            f"{width} x {height} pixels are more than the {most:,} that are read; save it smaller"
        )
    if width * height > MOST_PIXELS:
        image.draft(None, (width // 2, height // 2))


def _rgb(image: Image.Image) -> UInt8[np.ndarray, "height width 3"]:
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        return np.repeat(_grey(image)[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))


def _grey(image: Image.Image) -> UInt8[np.ndarray, "height width"]:
    """Grey in 0..255 of an image whose numbers have more than eight bits; Pillow's own conversion clips them."""
    tags: Any = getattr(image, "tag_v2", {})
    values, white = np.asarray(image), _white(image, tags)
    least, largest = float(values.min()), float(values.max())
    if not (least >= 0 and largest <= white):  # not a number is refused too
        raise UnreadableImageError(f"its numbers lie in {least:g}..{largest:g}, not in 0..{white:g}; {_REMEDY}")
    grey = np.rint(values * (255 / white)).astype(np.uint8)
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        grey = 255 - grey
    grey[values == image.info.get("transparency", -1)] = 255
    return grey


def _white(image: Image.Image, tags: Any) -> float:
    """The number that means white."""
    if image.mode == "F":
        return 1.0
    bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]
    if image.format not in _WHOLE_RANGE or bits > 16 or (image.format == "TIFF" and image.mode == "I"):
        raise UnreadableImageError(f"nothing says which of its numbers (mode {image.mode}) is white; {_REMEDY}")
    return 2.0**bits - 1
