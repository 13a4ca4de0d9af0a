"""From an image of any size to the square that a data set hands out, and its mask along the same way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Int32, UInt8
from PIL import Image
from torch.nn.functional import interpolate

from frozen.problems import Problem, at_least, at_most_largest_image


@dataclass(frozen=True, kw_only=True)
class Transform:
    """How images are resized and cropped; a part of every fingerprint.

    The mean and standard deviation are the model's. A model whose input has another size resizes again, so
    `size` is best that of the model.
    """

    size: int = 224
    """Pixels a side."""
    resize: Literal["squash", "short_side"] = "squash"
    """squash: to a square, whatever the sides were. short_side: the short side, then the square in the middle."""
    crop: float = 1.0
    """With short_side: share of the resized short side that the square in the middle keeps, such as 0.875 for
    256 to 224 pixels."""
    filter: Literal["bilinear", "bicubic"] = "bilinear"
    """Interpolation between pixels; masks take the nearest pixel."""
    antialias: bool = True
    """Whether the filter widens where an image becomes smaller, as Pillow's does."""

    def problems(self) -> Iterator[Problem]:
        """Every broken rule."""
        for problem in (*at_least("size", self.size, 8), *at_most_largest_image(self.size)):
            yield problem._replace(field="transform.size")
        if not 0 < self.crop <= 1:
            yield Problem("transform.crop", f"must lie in (0, 1], got {self.crop}")
        elif self.crop < 1 and self.resize == "squash":
            yield Problem("transform.crop", f"is for resize: short_side, got {self.crop} with resize: squash")

    def image(self, pixels: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "size size 3"]:
        """The square that a model is shown."""
        height, width = self._resized(*pixels.shape[:2])
        if pixels.shape[:2] != (height, width):
            pixels = self._filtered(pixels, height, width)
        return self._middle(pixels)

    def mask(self, values: Int32[np.ndarray, "height width"]) -> Int32[np.ndarray, "size size"]:
        """The same square of a mask: every pixel has the value of the one nearest to it."""
        height, width = self._resized(*values.shape)
        rows, columns = (_nearest(*sides) for sides in zip(values.shape, (height, width), strict=True))
        return self._middle(values[rows[:, None], columns])

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        if self.resize == "squash":
            return self.size, self.size
        short = max(self.size, int(self.size / self.crop + 1e-6))
        if height <= width:
            return short, max(short, int(short * width / height))
        return max(short, int(short * height / width)), short

    def _filtered(self, pixels: np.ndarray, height: int, width: int) -> np.ndarray:
        if self.antialias:
            resample = Image.Resampling[self.filter.upper()]
            return np.asarray(Image.fromarray(pixels).resize((width, height), resample))
        batch = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float()
        resized = interpolate(batch, size=(height, width), mode=self.filter, align_corners=False)
        return resized[0].round().clamp(0, 255).byte().permute(1, 2, 0).numpy()

    def _middle(self, pixels: np.ndarray) -> np.ndarray:
        top, left = (round((side - self.size) / 2) for side in pixels.shape[:2])
        return np.ascontiguousarray(pixels[top : top + self.size, left : left + self.size])


def _nearest(side: int, resized: int) -> np.ndarray:
    """For each resized pixel the one in which its centre lies."""
    return np.minimum(((np.arange(resized) + 0.5) * side / resized).astype(np.int64), side - 1)
