"""Segmentation by hand, and maps whose truth is planted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from frozen.data.readers import ImageNetSegmentation
from frozen.data.transform import Transform
from frozen.intervals import IntervalConfig
from readouts.text_decomposition.estimates import estimate, table
from readouts.text_decomposition.heatmaps import _scored, average_precision, scale, segmentation, squashed
from readouts.text_decomposition.settings import HeatmapConfig
from tests.frozen.data.readers.layouts import write_mat

TRUTH = np.array([[[1, 0], [0, 0]], [[1, 1], [0, 0]]], bool)
FOUND = np.array([[[1, 1], [0, 0]], [[1, 0], [0, 1]]], bool)


def measures(columns: dict[str, np.ndarray]) -> dict[str, float]:
    found = estimate({0: table(None, **columns)}, IntervalConfig(resamples=100), seed=0)[0]
    return {name: one.value for name, one in found.items()}


def test_pixels_by_hand() -> None:
    found = segmentation(FOUND, TRUTH)
    assert found["right_pixels"].tolist() == [3, 2]
    assert found["object_both"].tolist() == [1, 1]
    assert found["object_either"].tolist() == [2, 3]
    assert found["rest_both"].tolist() == [2, 1]
    assert found["rest_either"].tolist() == [3, 3]
    values = measures(dict(found))
    assert values["pixel_accuracy_percent"] == pytest.approx(100 * 5 / 8)
    assert values["iou_percent"] == pytest.approx(100 * (2 / 5 + 3 / 6) / 2)


def test_average_precision_by_hand_and_with_equal_scores() -> None:
    assert average_precision(np.array([[0.9, 0.1], [0.2, 0.3]]), TRUTH[0]) == 1
    assert average_precision(np.array([[0.1, 0.9], [0.9, 0.9]]), TRUTH[0]) < 0.5
    # scores of 1/2 are one threshold: half of all pairs are true
    assert average_precision(np.full((2, 2), 0.5), TRUTH[0]) == 0.5
    # pairs by score: 1 and 1 false, .8 and .6 true, .4 and .2 false, 0 and 0 true
    mixed = average_precision(np.array([[0.6, 1.0], [1.0, 0.2]]), TRUTH[0])
    assert mixed == pytest.approx((1 / 3) / 4 + (2 / 4) / 4 + (4 / 8) * (2 / 4))


def test_a_map_of_nothing_has_defined_numbers() -> None:
    assert (scale(np.zeros((1, 4, 4))) == 0).all()
    assert (scale(-np.ones((1, 4, 4))) == 0).all()
    found = _scored(np.zeros((2, 4, 4), np.float32), np.zeros((2, 8, 8), bool), HeatmapConfig())
    assert all(np.isfinite(values).all() for values in found.values())


def test_equally_large_patches_share_the_credit() -> None:
    mask = np.zeros((1, 4, 4), bool)
    mask[0, :2, :2] = True
    flat = np.zeros((1, 4, 4), np.float32)
    assert _scored(flat, mask, HeatmapConfig())["pointed"][0] == 4 / 16
    flat[0, 0, 0] = flat[0, 3, 3] = 1
    assert _scored(flat, mask, HeatmapConfig())["pointed"][0] == 1 / 2


def test_images_do_not_depend_on_the_others_of_their_batch() -> None:
    rng = np.random.default_rng(0)
    maps = rng.standard_normal((3, 4, 4)).astype(np.float32) * np.array([1, 10, 0.1])[:, None, None].astype(
        np.float32
    )
    masks = rng.random((3, 16, 16)) < 0.3
    together = _scored(maps, masks, HeatmapConfig())
    for row in range(3):
        alone = _scored(maps[row : row + 1], masks[row : row + 1], HeatmapConfig())
        for name, values in alone.items():
            assert np.allclose(together[name][row], values[0]), name


def test_an_image_that_is_not_square_stays_under_its_map() -> None:
    """Grid of 2 x 4 patches over 30 x 60 pixels: the object fills the third patch of the second row."""
    mask = np.zeros((1, 30, 60), bool)
    mask[:, 15:, 30:45] = True
    heat = np.zeros((1, 2, 4), np.float32)
    heat[0, 1, 2] = 1
    found = _scored(heat, mask, HeatmapConfig(threshold=0.5))
    assert found["pointed"][0] == 1
    assert found["touched"][0] == 1 / 8
    assert found["object_both"][0] / found["object_either"][0] > 0.7
    transposed = _scored(np.ascontiguousarray(heat.transpose(0, 2, 1)), mask, HeatmapConfig(threshold=0.5))
    assert transposed["object_both"][0] / transposed["object_either"][0] < 0.4


def test_squashed_masks_are_the_papers_and_not_those_of_the_image(tmp_path: Path) -> None:
    """Of an image 30 wide and 20 high the middle square is kept; the squashed mask has all of it."""
    pytest.importorskip("h5py")
    write_mat(tmp_path / "gtsegs.mat", 1)
    transform = Transform(size=20, resize="short_side")
    data = ImageNetSegmentation(file=str(tmp_path / "gtsegs.mat"), transform=transform)
    split = data.open("test")
    own = split.labels("class_mask", np.arange(1))[0] > 0
    other = squashed(data, split).labels("class_mask", np.arange(1))[0] > 0
    assert own.shape == other.shape == (20, 20)
    # the object fills columns 0 to 14 of 30: 10 of the middle 20, and half of all
    assert (own.any(0).sum(), other.any(0).sum()) == (10, 10)
    assert own.any(0)[9]
    assert squashed(object(), split) is split


def test_a_threshold_of_its_own() -> None:
    heat = np.linspace(0, 1, 16, dtype=np.float32).reshape(1, 4, 4)
    mask = np.ones((1, 4, 4), bool)
    for threshold, expected in ((0.0, 15), (0.5, 8), (0.95, 1)):
        assert _scored(heat, mask, HeatmapConfig(threshold=threshold))["object_both"][0] == expected
