from __future__ import annotations

import cmath
import re
from itertools import combinations, product

import numpy as np
import pytest
from PIL import Image, ImageDraw

from binding.scenes._drawing import (
    COLORS,
    SHAPES,
    Canvas,
    PlacementError,
    layout,
    paint,
    place,
    place_each,
    shape_mask,
)

CROSS_OF_EIGHT = """
...###...
...###...
...###...
#########
#########
#########
...###...
...###...
...###...
"""


def star_points(center: complex, radii: list[float]) -> list[tuple[float, float]]:
    """Corners clockwise from the top; a length of the order of 1e-15 must not move them across a pixel's edge."""
    points = [center - 1j * r * cmath.exp(2j * cmath.pi * i / len(radii)) for i, r in enumerate(radii)]
    return [(round(p.real, 9), round(p.imag, 9)) for p in points]


def draw_with_pillow(image: Image.Image, shape: str, corner: tuple[int, int], size: int, fill: tuple) -> None:
    """Draws one object on the full image, as the paper describes it."""
    pencil, (x, y) = ImageDraw.Draw(image), corner
    center, radius, box = complex(x + size / 2, y + size / 2), size / 2, [x, y, x + size, y + size]
    if shape == "circle":
        pencil.ellipse(box, fill=fill)
    elif shape == "square":
        pencil.rectangle(box, fill=fill)
    elif shape == "cross":
        half = max(2, int(size * 0.25)) / 2
        pencil.rectangle([int(center.real - half), y, int(center.real + half), y + size], fill=fill)
        pencil.rectangle([x, int(center.imag - half), x + size, int(center.imag + half)], fill=fill)
    else:
        sides = {"triangle": 3, "diamond": 4, "pentagon": 5, "hexagon": 6}
        radii = [radius, 0.45 * radius] * 5 if shape == "star" else [radius] * sides[shape]
        pencil.polygon(star_points(center, radii), fill=fill)


def drawn(codes: np.ndarray, corners: np.ndarray, size: int, kinds: list[tuple[tuple, str]], side: int) -> np.ndarray:
    """Objects on white; kind k has the colour and the shape of `kinds[k]`."""
    images = np.full((len(codes), side, side, 3), 255, dtype=np.uint8)
    colors = [np.array(color, dtype=np.uint8) for color, _ in kinds]
    paint(images, layout(codes, corners, size), [shape for _, shape in kinds], colors)
    return images


ONE = np.ones((1, 1), dtype=np.uint8)


@pytest.mark.parametrize("size", [4, 5, 8, 11, 12, 16, 21, 28])
@pytest.mark.parametrize("shape", SHAPES)
def test_pixels_equal_those_of_pillow_on_the_full_image(shape: str, size: int) -> None:
    for corner in [(0, 0), (4, 4), (5, 40), (40, 5), (17, 33), (63 - size, 63 - size)]:
        expected = Image.new("RGB", (64, 64), "white")
        draw_with_pillow(expected, shape, corner, size, (10, 200, 30))
        image = drawn(ONE, np.array([[corner]]), size, [((10, 200, 30), shape)], 64)[0]
        np.testing.assert_array_equal(image, np.array(expected))


def test_objects_are_drawn_in_the_order_of_the_object_code() -> None:
    """Overlapping on purpose: later objects lie above earlier ones, and object k has its own shape and colour."""
    rng = np.random.default_rng(0)
    codes = (rng.random((6, 64)) < 0.2).astype(np.uint8)
    corners = rng.integers(4, 40, size=(6, int(codes.sum(axis=1).max()), 2))
    pairs = list(product(COLORS, SHAPES))
    images = drawn(codes, corners, 16, [(COLORS[color], shape) for color, shape in pairs], 64)
    for image, code, places in zip(images, codes, corners.tolist(), strict=True):
        expected = Image.new("RGB", (64, 64), "white")
        for k, corner in zip(np.flatnonzero(code), places, strict=False):
            color, shape = pairs[k]
            draw_with_pillow(expected, shape, tuple(corner), 16, COLORS[color])
        np.testing.assert_array_equal(image, np.array(expected))


def test_an_object_at_the_very_edge_is_cut_as_pillow_cuts_it() -> None:
    image = drawn(ONE, np.array([[[24, 24]]]), 8, [((0, 0, 0), "square")], 32)[0]
    expected = Image.new("RGB", (32, 32), "white")
    draw_with_pillow(expected, "square", (24, 24), 8, (0, 0, 0))
    np.testing.assert_array_equal(image, np.array(expected))


def test_colors_of_the_paper_in_their_order() -> None:
    assert tuple(COLORS) == ("red", "blue", "green", "yellow", "purple", "orange", "cyan", "gray")
    rgb = [(220, 20, 60), (30, 144, 255), (34, 139, 34), (255, 215, 0)]
    rgb += [(138, 43, 226), (255, 140, 0), (0, 206, 209), (128, 128, 128)]
    assert list(COLORS.values()) == rgb


def test_shapes_of_the_paper_in_their_order() -> None:
    assert SHAPES == ("circle", "square", "triangle", "diamond", "pentagon", "hexagon", "cross", "star")


def test_shapes_are_distinct_and_touch_their_box() -> None:
    masks = {shape: shape_mask(shape, 16) for shape in SHAPES}
    assert len({mask.tobytes() for mask in masks.values()}) == len(SHAPES)
    for shape, mask in masks.items():
        assert mask.shape == (17, 17)
        assert mask[0].any(), f"{shape} does not reach the top of its box"
    assert masks["square"].all()


def test_a_cross_has_bars_of_a_quarter_of_the_box() -> None:
    expected = [[character == "#" for character in line] for line in CROSS_OF_EIGHT.split()]
    assert shape_mask("cross", 8).tolist() == expected


@pytest.mark.parametrize("size", [8, 12, 16, 24])
def test_a_triangle_stands_on_its_base(size: int) -> None:
    """Inscribed in the box's circle: the base lies at three quarters of the height and is √3/2 of it wide."""
    widths = shape_mask("triangle", size).sum(axis=1)
    base = size * 3 // 4
    assert (np.diff(widths[: base + 1]) >= 0).all()
    assert abs(widths[base] - size * 3**0.5 / 2) <= 2
    assert not widths[base + 1 :].any()


def test_an_unknown_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown shape 'blob'; there are circle, square, .*, star"):
        shape_mask("blob", 16)


@pytest.mark.parametrize("canvas", [Canvas(256, 16, 4), Canvas(64, 12, 4), Canvas(40, 8, 0)])
def test_boxes_lie_inside_the_margins_and_do_not_overlap(canvas: Canvas) -> None:
    corners = place(np.full(50, 6), canvas, 0, np.arange(50))
    assert corners.min() >= canvas.margin
    assert corners.max() + canvas.object_size <= canvas.image_size - canvas.margin
    for first, second in combinations(range(6), 2):
        gaps = np.abs(corners[:, first] - corners[:, second]).max(axis=1)
        assert (gaps >= canvas.object_size).all()


def test_every_position_is_equally_likely() -> None:
    """The first object is free: its corner is uniform over the positions along both axes."""
    canvas, n = Canvas(20, 8, 2), 9000
    assert canvas.positions == 9
    corners = place(np.ones(n, dtype=np.int64), canvas, 0, np.arange(n))[:, 0] - canvas.margin
    counts = np.bincount(corners @ [9, 1], minlength=81)
    expected = n / 81
    assert np.abs(counts - expected).max() < 5 * expected**0.5
    assert ((counts - expected) ** 2 / expected).sum() < 80 + 5 * 160**0.5


def test_the_second_box_is_uniform_over_the_positions_left_free() -> None:
    canvas, n = Canvas(12, 4, 0), 9000
    positions = np.array(list(product(range(9), repeat=2)))
    is_free = np.abs(positions[:, None] - positions).max(axis=2) >= 4
    expected = n * (is_free / is_free.sum(axis=1, keepdims=True)).mean(axis=0)
    corners = place(np.full(n, 2), canvas, 1, np.arange(n))[:, 1]
    counts = np.bincount(corners @ [9, 1], minlength=81)
    assert (np.abs(counts - expected) < 5 * expected**0.5).all()
    assert expected.max() > 1.5 * expected.min()


def test_places_depend_on_the_seed_and_the_index_alone() -> None:
    canvas = Canvas(64, 8, 4)
    corners = place(np.array([3, 5, 4]), canvas, 7, np.array([10, 11, 12]))
    again = place(np.array([4, 3]), canvas, 7, np.array([12, 10]))
    np.testing.assert_array_equal(corners[2, :4], again[0])
    np.testing.assert_array_equal(corners[0, :3], again[1, :3])
    other_seed = place(np.array([4, 3]), canvas, 8, np.array([12, 10]))
    assert (again[0] != other_seed[0]).any()
    assert (again[0, :3] != again[1, :3]).any()


@pytest.mark.parametrize(("image_size", "object_size", "n_objects"), [(16, 16, 1), (32, 12, 9)])
def test_no_place_is_an_error_that_names_the_sizes(image_size: int, object_size: int, n_objects: int) -> None:
    message = (
        f"no free place for {n_objects} objects of object_size {object_size} in image_size {image_size} "
        "with margin 4; use fewer or smaller objects, or a larger image"
    )
    with pytest.raises(PlacementError, match=re.escape(message)):
        place(np.full(2, n_objects), Canvas(image_size, object_size, 4), 0, np.arange(2))


def test_nothing_to_place_always_fits() -> None:
    assert place(np.zeros(3, dtype=np.int64), Canvas(16, 16, 4), 0, np.arange(3)).shape == (3, 0, 2)


def test_boxes_of_different_sizes_lie_inside_do_not_overlap_and_have_streams_of_their_own() -> None:
    canvas, counts, indices = Canvas(64, 10, 4), np.array([4, 1, 3, 4]), np.array([7, 3, 900, 12])
    sizes = np.tile([20, 10, 10, 10], (4, 1))
    corners = place_each(counts, sizes, canvas, 5, indices)
    for row, count in enumerate(counts.tolist()):
        boxes = np.concatenate([corners[row, :count], corners[row, :count] + sizes[row, :count, None]], axis=1)
        assert boxes.min() >= 4
        assert boxes.max() <= 60
        for one, other in combinations(boxes.tolist(), 2):
            assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
        alone = place_each(counts[row : row + 1], sizes[:1], canvas, 5, indices[row : row + 1])
        np.testing.assert_array_equal(alone[0, :count], corners[row, :count])
    assert (place_each(counts, sizes, canvas, 6, indices) != corners).any()


def test_boxes_that_find_no_place_are_refused() -> None:
    with pytest.raises(PlacementError, match="no free place for 2 objects of object_size 20 in image_size 32"):
        place_each(np.array([2]), np.array([[20, 20]]), Canvas(32, 20, 0), 0, np.array([0]))
