"""Layout, masks and coverage of drawn scenes, each on 500 scenes."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from binding.scenes import ColorShape, FewShapes, SplitPolicy, TargetShapes, TwinShapes
from binding.scenes._drawing import COLORS, shape_mask

N = 500
SPLIT = SplitPolicy(train=2, validation=2, test=N)
SCENES: dict[str, Any] = {
    "few": FewShapes(split=SPLIT),
    "empty too": FewShapes(split=SPLIT, min_objects=0),
    "target": TargetShapes(split=SPLIT),
    "twins": TwinShapes(split=SPLIT),
    "colorshape": ColorShape(image_size=80, object_size=11, max_objects=6, split=SPLIT),
}


@pytest.fixture(params=SCENES)
def scene(request: pytest.FixtureRequest) -> Any:
    return SCENES[request.param]


@pytest.fixture
def split(scene: Any) -> Any:
    return scene.open("test")


EVERY = np.arange(N)


def test_the_layout_has_the_objects_of_the_code_in_boxes_inside_the_image_that_do_not_overlap(
    scene: Any, split: Any
) -> None:
    kinds, boxes = split.layout(EVERY)
    assert (kinds.dtype, boxes.dtype) == (np.int16, np.int16)
    np.testing.assert_array_equal((boxes == -1).all(axis=2), kinds == -1)
    for code, own, places in zip(split.object_codes, kinds, boxes.tolist(), strict=True):
        present = [kind for kind in own.tolist() if kind >= 0]
        assert present == np.flatnonzero(code).tolist()
        for left, top, right, bottom in places[: len(present)]:
            assert scene.margin <= min(left, top)
            assert max(right, bottom) <= scene.image_size - scene.margin
        for one, other in combinations(places[: len(present)], 2):
            assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


def test_pixels_of_a_masks_value_have_the_color_of_its_object_and_all_others_are_white(split: Any) -> None:
    images, masks = split.images(EVERY), split.masks(EVERY)
    names = [COLORS[name.split()[0]] for name in split.space.object_names]
    colors = np.array([(255, 255, 255), *names], dtype=np.uint8)
    np.testing.assert_array_equal(images, colors[masks])


def objects(kinds: np.ndarray, boxes: np.ndarray) -> list[tuple[int, int, list[int]]]:
    rows, order = np.nonzero(kinds >= 0)
    return [(row, int(kinds[row, i]), boxes[row, i].tolist()) for row, i in zip(rows, order, strict=True)]


def test_every_object_covers_the_pixels_of_its_shape_in_its_box(split: Any) -> None:
    """A neighbour's first row may lie on an object's last one, so that some pixels of it are hidden."""
    masks, (kinds, boxes) = split.masks(EVERY), split.layout(EVERY)
    total = np.zeros(N, dtype=np.int64)
    for row, kind, (left, top, right, bottom) in objects(kinds, boxes):
        shape = split.space.object_names[kind].split()[1]
        drawn = masks[row, top : bottom + 1, left : right + 1] == kind + 1
        expected = shape_mask(shape, right - left)
        assert not (drawn & ~expected).any()
        assert drawn[1:-1, 1:-1].sum() == expected[1:-1, 1:-1].sum()
        total[row] += drawn.sum()
    np.testing.assert_array_equal(total, (masks > 0).sum(axis=(1, 2)))


@pytest.mark.parametrize("grid", [8, 16])
def test_coverage_of_a_patch_is_the_mean_of_its_mask(split: Any, grid: int) -> None:
    masks, shares = split.masks(EVERY), split.coverage(EVERY, grid)
    side = masks.shape[1] // grid
    assert shares.dtype == np.float32
    assert shares.shape == (N, grid * grid, split.space.n_objects + 1)
    np.testing.assert_allclose(shares.sum(axis=2), 1, atol=1e-6)
    for row, patch in np.random.default_rng(0).integers((N, grid * grid), size=(100, 2)).tolist():
        y, x = (side * place for place in divmod(patch, grid))
        pixels = masks[row, y : y + side, x : x + side].ravel()
        expected = np.bincount(pixels, minlength=shares.shape[2]) / side**2
        np.testing.assert_allclose(shares[row, patch], expected, atol=1e-6)


def test_a_grid_that_does_not_divide_the_image_is_refused(split: Any) -> None:
    with pytest.raises(ValueError, match="a grid of 7 x 7 patches does not divide an image of"):
        split.coverage(EVERY[:1], 7)


def test_layout_and_images_come_from_one_stream(scene: Any, split: Any) -> None:
    other = replace(scene, seed=scene.seed + 10).open("test")
    assert (other.layout(EVERY).boxes.shape != split.layout(EVERY).boxes.shape) or (
        other.layout(EVERY).boxes != split.layout(EVERY).boxes
    ).any()
    some = np.array([17, 400, 3])
    for one, many in zip(split.layout(some), split.layout(EVERY), strict=True):
        np.testing.assert_array_equal(one, many[some, : one.shape[1]])
    np.testing.assert_array_equal(split.masks(some), split.masks(EVERY)[some])


def test_labels_by_name_are_those_of_the_methods(split: Any) -> None:
    some = np.array([5, 2, 499])
    np.testing.assert_array_equal(split.labels("mask", some), split.masks(some))
    np.testing.assert_array_equal(split.labels("object_codes", some), split.object_codes[some])
    assert split.labels("caption:plain", some).tolist() == split.captions(some, "plain")
    assert all(len(split.labels(name, some[:0])) == 0 for name in split.label_names)
    with pytest.raises(ValueError, match="no labels 'masks'; there are object_codes, mask, caption:plain"):
        split.labels("masks", some)
