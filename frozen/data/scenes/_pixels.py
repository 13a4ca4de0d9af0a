"""Pixels of an image file as a viewer shows them: eight bits of red, green and blue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0  # tags of TIFF
_WHOLE_RANGE = ("PNG", "PPM", "JPEG2000", "TIFF")
"""Formats in which numbers of 16 bits mean black at 0 and white at the largest."""
_REMEDY = "save it with 8 or 16 bits a channel"


def read_rgb(path: Path) -> UInt8[np.ndarray, "height width 3"]:
    """The first frame of an image file: turned as its EXIF orientation says, on white where it is transparent.

    Raises:
        FileNotFoundError: no such file.
        UnreadableImageError: a file that is damaged or no image, or whose numbers have no known range.
    """
    try:
        with Image.open(path) as image:
            ImageOps.exif_transpose(image, in_place=True)
            return _rgb(image)
    except (FileNotFoundError, MemoryError, UnreadableImageError):
        raise
    except Exception as error:  # each of Pillow's decoders has errors of its own, from SyntaxError to RuntimeError
        raise UnreadableImageError(" ".join(str(error).split()) or type(error).__name__) from error


class UnreadableImageError(ValueError):
    """Why a file cannot be read as an image."""


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
