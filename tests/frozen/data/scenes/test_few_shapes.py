from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from frozen.data.scenes import SCENES, FewShapes, SplitPolicy, TargetShapes, TwinShapes
from frozen.problems import ConfigurationError
from frozen.testing import SceneConformance

SIZES = SplitPolicy(train=300, validation=200, test=200)
FEW = FewShapes(split=SIZES)
TARGET = TargetShapes(split=SIZES)
TWINS = TwinShapes(split=SIZES)


class TestFewShapes(SceneConformance):
    @pytest.fixture
    def scene(self) -> FewShapes:
        return FEW


class TestFewShapesOfHashedCodes(SceneConformance):
    @pytest.fixture
    def scene(self) -> FewShapes:
        return replace(FEW, min_objects=0, split=replace(SIZES, policy="f_disjoint_hash"))


class TestTargetShapes(SceneConformance):
    @pytest.fixture
    def scene(self) -> TargetShapes:
        return TARGET


class TestTwinShapes(SceneConformance):
    @pytest.fixture
    def scene(self) -> TwinShapes:
        return TWINS


class TestTwinShapesOfHashedCodes(SceneConformance):
    @pytest.fixture
    def scene(self) -> TwinShapes:
        return replace(TWINS, split=replace(SIZES, policy="f_disjoint_hash"))


def test_studies_can_name_them() -> None:
    assert [SCENES[name] for name in ("fewshapes", "targetshapes", "twinshapes")] == [
        FewShapes,
        TargetShapes,
        TwinShapes,
    ]


def test_by_default_they_show_the_world_of_the_shipped_models() -> None:
    for scene in (FewShapes(), TargetShapes(), TwinShapes()):
        assert (scene.n_colors, scene.n_shapes, scene.image_size, scene.margin) == (4, 4, 64, 4)
    assert FewShapes().object_size == TwinShapes().object_size == 12
    assert (TargetShapes().target_size, TargetShapes().object_size) == (20, 10)


def test_every_number_of_objects_is_equally_likely_and_then_every_code_that_has_it() -> None:
    n = 30_000
    codes = replace(FEW, split=replace(SIZES, test=n)).open("test").object_codes
    sizes = np.bincount(codes.sum(axis=1), minlength=4)
    np.testing.assert_allclose(sizes / n, [0, 1 / 3, 1 / 3, 1 / 3], atol=4.5 * np.sqrt(2 / 9 / n))
    pairs = codes[codes.sum(axis=1) == 2]
    _, counts = np.unique(pairs, axis=0, return_counts=True)
    share = len(pairs) / 120
    assert len(counts) == 120
    assert abs(counts - share).max() < 4.5 * share**0.5


def enumerated_entropy_bits(scene: Any, features: np.ndarray) -> float:
    """H(O | F = f) by listing every code with its probability."""
    weights = []
    for size in range(scene.min_objects, scene.max_objects + 1):
        subsets = list(combinations(range(scene.space.n_objects), size))
        codes = np.zeros((len(subsets), scene.space.n_objects), dtype=np.uint8)
        for row, subset in enumerate(subsets):
            codes[row, list(subset)] = 1
        matching = (scene.space.feature_codes(codes) == features).all(axis=1).sum()
        weights += [1 / len(subsets)] * int(matching)
    shares = np.array(weights) / sum(weights)
    return float(-(shares * np.log2(shares)).sum())


@pytest.mark.parametrize("scene", [FEW, TARGET])
def test_the_prior_is_that_of_the_enumerated_codes(scene: Any) -> None:
    split = scene.open("test")
    entropies = split.conditional_entropy_bits()
    features = split.space.feature_codes(split.object_codes)
    for i in range(12):
        assert entropies[i] == pytest.approx(enumerated_entropy_bits(scene, features[i]))


def test_the_class_is_the_kind_of_the_one_large_object_and_all_classes_are_equally_likely() -> None:
    n = 8_000
    split = replace(TARGET, split=replace(SIZES, test=n)).open("test")
    kinds, boxes = split.layout(np.arange(n))
    widths = np.where(kinds >= 0, boxes[..., 2] - boxes[..., 0], 0)
    np.testing.assert_array_equal((widths == 20).sum(axis=1), 1)
    assert set(np.unique(widths).tolist()) == {0, 10, 20}
    largest = np.take_along_axis(kinds, widths.argmax(axis=1)[:, None], axis=1)[:, 0]
    np.testing.assert_array_equal(largest, split.classes)
    counts = np.bincount(split.classes, minlength=16)
    assert abs(counts - n / 16).max() < 4.5 * (n / 16) ** 0.5
    n_distractors = np.bincount((kinds >= 0).sum(axis=1) - 1, minlength=4)
    np.testing.assert_allclose(n_distractors / n, 0.25, atol=4.5 * np.sqrt(3 / 16 / n))


def test_the_class_does_not_depend_on_the_number_of_distractors() -> None:
    """Were targets not uniform over the objects of a code, some kinds would more often be targets of full scenes."""
    split = replace(TARGET, split=replace(SIZES, test=8_000)).open("test")
    full = split.object_codes.sum(axis=1) == 4
    counts = np.bincount(split.classes[full], minlength=16)
    assert abs(counts - full.sum() / 16).max() < 4.5 * (full.sum() / 16) ** 0.5


def test_the_class_mask_is_the_targets_pixels() -> None:
    split, some = TARGET.open("test"), np.arange(200)
    masks = split.class_masks(some)
    assert masks.dtype == bool
    areas = masks.sum(axis=(1, 2))
    assert areas.min() > 150  # the smallest shape of 20 px, a triangle, covers about 200 pixels
    colors = np.array([image[mask][0] for image, mask in zip(split.images(some), masks, strict=True)])
    assert len(np.unique(colors, axis=0)) == 4
    np.testing.assert_allclose(split.class_coverage(some, 8).sum(axis=1), areas / 64, rtol=1e-5)
    np.testing.assert_array_equal(split.labels("class", some), split.classes)
    np.testing.assert_array_equal(split.labels("class_mask", some), masks)


def test_classes_of_a_limited_set_are_those_of_the_whole() -> None:
    whole = replace(TARGET, split=replace(SIZES, train=9_000)).open("train").classes
    np.testing.assert_array_equal(TARGET.limited(50).open("train").classes, whole[:50])
    assert (whole[:4096] != whole[4096:8192]).any()


def test_a_twin_has_the_boxes_and_the_shapes_of_its_scene_and_the_colors_exchanged() -> None:
    split, scenes = TWINS.open("test"), np.arange(0, 200, 2)
    for i in scenes.tolist():
        (one,), (boxes,) = split.layout(np.array([i]))
        (other,), (their_boxes,) = split.layout(split.twins(np.array([i])))
        names = [[split.space.object_names[kind].split() for kind in kinds] for kinds in (one, other)]
        mine, theirs = (
            dict(zip(map(tuple, places.tolist()), n, strict=True))
            for places, n in zip((boxes, their_boxes), names, strict=True)
        )
        first, second = mine
        assert set(theirs) == {first, second}
        assert theirs[first] == [mine[second][0], mine[first][1]]
        assert theirs[second] == [mine[first][0], mine[second][1]]
    masks = split.masks(np.arange(200)) > 0
    assert (masks[::2] != masks[1::2]).mean() < 1e-3  # which of two touching objects is drawn last may change


def test_twins_have_equal_features_and_one_bit_of_binding() -> None:
    split = TWINS.open("test")
    features = split.space.feature_codes(split.object_codes)
    np.testing.assert_array_equal(features[::2], features[1::2])
    assert (split.object_codes[::2] != split.object_codes[1::2]).sum(axis=1).min() == 4
    assert split.entropies.conditional_bits == 1.0
    assert split.entropies.feature_bits == pytest.approx(np.log2(36))
    np.testing.assert_array_equal(split.twins(np.arange(4)), [1, 0, 3, 2])


def test_a_scene_and_its_twin_stay_together() -> None:
    assert len(TWINS.limited(7).open("test")) == 6
    assert len(TWINS.limited(1).open("test")) == 2
    with pytest.raises(ConfigurationError, match=r"split.test: must be even: every scene has its twin; got 201"):
        replace(TWINS, split=replace(SIZES, test=201))


@pytest.mark.parametrize(
    ("scene", "changes", "message"),
    [
        (FEW, {"min_objects": 4}, "max_objects: needs 0 ≤ min_objects ≤ max_objects ≤ 16, got 4 and 3"),
        (FEW, {"n_colors": 1, "n_shapes": 2}, "needs 0 ≤ min_objects ≤ max_objects ≤ 2, got 1 and 3"),
        (FEW, {"object_size": 30}, "object_size: no free place for 3 objects of object_size 30"),
        (TARGET, {"min_objects": 0}, "min_objects: must be ≥ 1, got 0"),
        (TARGET, {"target_size": 10}, "target_size: must be ≥ 11, got 10"),
        (TARGET, {"target_size": 70}, "object_size: no free place for 4 objects of object_size 70"),
        (TWINS, {"n_shapes": 1}, "n_shapes: must be ≥ 2 to exchange colours between shapes, got 1"),
    ],
)
def test_impossible_settings_are_refused(scene: Any, changes: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        replace(scene, **changes)


@pytest.mark.parametrize(
    ("scene", "name", "value"),
    [
        (FEW, "min_objects", 2),
        (FEW, "max_objects", 2),
        (FEW, "object_size", 11),
        (TARGET, "target_size", 21),
        (TARGET, "seed", 1),
        (TWINS, "margin", 5),
        (TWINS, "n_colors", 5),
    ],
)
def test_every_setting_is_part_of_the_fingerprint(scene: Any, name: str, value: int) -> None:
    assert replace(scene, **{name: value}).open("test").fingerprint != scene.open("test").fingerprint
