"""From an image to the square that a model sees, and its mask along the same way."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from frozen.data.transform import Transform

EVERY = [
    Transform(size=24),
    Transform(size=24, resize="short_side"),
    Transform(size=24, resize="short_side", crop=0.75),
    Transform(size=24, resize="short_side", crop=0.875, filter="bicubic", antialias=False),
]


@pytest.mark.parametrize("transform", EVERY)
@pytest.mark.parametrize("sides", [(24, 24), (61, 37), (40, 90), (10, 13)])
def test_a_mask_stays_on_its_object(transform: Transform, sides: tuple[int, int]) -> None:
    """An image drawn from its mask, both transformed, agree wherever the filter does not mix the two sides."""
    mask = np.zeros(sides, np.int32)
    mask[sides[0] // 3 : 2 * sides[0] // 3, sides[1] // 4 : 2 * sides[1] // 3] = 1
    image = np.repeat((mask * 255).astype(np.uint8)[..., None], 3, axis=2)
    seen, kept = transform.image(image)[..., 0], transform.mask(mask)
    assert seen.shape == kept.shape == (24, 24)
    clear = (seen < 8) | (seen > 247)
    assert clear.mean() > 0.5
    np.testing.assert_array_equal(kept[clear], seen[clear] > 127)
    assert abs(kept.mean() - seen.mean() / 255) < 0.03


class Shifted(Transform):
    def mask(self, values: np.ndarray) -> np.ndarray:
        return np.roll(super().mask(values), 2, axis=1)


def test_a_shifted_mask_is_caught() -> None:
    """The test above can fail: two pixels beside it are too many."""
    with pytest.raises(AssertionError):
        test_a_mask_stays_on_its_object(Shifted(size=24, resize="short_side", crop=0.75), (61, 37))


def test_the_middle_is_that_of_the_usual_evaluation() -> None:
    """256 then 224, as torchvision's Resize(256) and CenterCrop(224) on Pillow's images."""
    rng = np.random.default_rng(0)
    image = rng.integers(256, size=(300, 420, 3), dtype=np.uint8)
    resized = np.asarray(Image.fromarray(image).resize((358, 256), Image.Resampling.BICUBIC))
    expected = resized[16:240, 67:291]
    transform = Transform(size=224, resize="short_side", crop=0.875, filter="bicubic")
    np.testing.assert_array_equal(transform.image(image), expected)


def test_an_image_of_the_right_size_is_left_alone() -> None:
    image = np.random.default_rng(0).integers(256, size=(24, 24, 3), dtype=np.uint8)
    np.testing.assert_array_equal(Transform(size=24).image(image), image)


def test_a_mask_takes_the_pixel_in_which_its_centre_lies() -> None:
    mask = np.arange(448 * 672, dtype=np.int32).reshape(448, 672)
    np.testing.assert_array_equal(Transform(size=224).mask(mask), mask[1::2, 1::3])
