from __future__ import annotations

import math
from collections import Counter
from dataclasses import fields, replace
from itertools import combinations, product

import numpy as np
import pytest

from frozen.data.scenes import SCENES, SPLITS, BalancedColorShape, SplitName, SplitPolicy
from frozen.problems import ConfigurationError
from frozen.testing import SceneConformance

SMALL = BalancedColorShape(
    n_colors=4,
    n_shapes=4,
    colors_per_image=3,
    shapes_per_image=2,
    num_objects=4,
    image_size=64,
    object_size=10,
    split=SplitPolicy(policy="f_ranked_three_way", train=300, validation=200, test=200),
)
OTHER_VALUES = {
    "n_colors": 5,
    "n_shapes": 5,
    "colors_per_image": 2,
    "shapes_per_image": 3,
    "num_objects": 5,
    "image_size": 65,
    "object_size": 11,
    "margin": 5,
    "seed": 1,
    "split": replace(SMALL.split, test=201),
}


@pytest.fixture(scope="module")
def paper() -> BalancedColorShape:
    return BalancedColorShape().limited(2000)


class TestSmall(SceneConformance):
    @pytest.fixture
    def scene(self) -> BalancedColorShape:
        return SMALL


class TestPaper(SceneConformance):
    @pytest.fixture
    def scene(self) -> BalancedColorShape:
        return BalancedColorShape().limited(100)


def test_defaults_are_those_of_the_paper() -> None:
    scene = BalancedColorShape()
    assert SCENES["balancedcolorshape"] is BalancedColorShape
    assert (scene.n_colors, scene.n_shapes) == (8, 8)
    assert (scene.colors_per_image, scene.shapes_per_image, scene.num_objects) == (6, 6, 18)
    assert (scene.image_size, scene.object_size, scene.margin) == (256, 16, 4)
    assert (scene.split.policy, scene.split.code_counts) == ("f_ranked_three_way", (522, 131, 131))
    assert (scene.split.train + scene.split.validation, scene.split.test) == (49_000, 9_800)


def test_published_entropies_of_the_test_split(paper: BalancedColorShape) -> None:
    split = paper.open("test")
    assert split.entropies.feature_bits == pytest.approx(math.log2(131), abs=1e-12)
    assert split.entropies.conditional_bits == pytest.approx(32.9079, abs=5e-5)
    assert split.entropies.object_bits == pytest.approx(39.94, abs=5e-3)
    np.testing.assert_allclose(split.conditional_entropy_bits(), 32.9079, atol=5e-5)
    assert split.largest_code_probability == pytest.approx(1 / 131, rel=1e-12)


@pytest.mark.parametrize("split", SPLITS)
def test_every_image_has_the_number_of_objects_and_features(paper: BalancedColorShape, split: SplitName) -> None:
    grids = paper.open(split).object_codes.reshape(-1, 8, 8)
    assert (grids.sum(axis=(1, 2)) == 18).all()
    assert (grids.any(axis=2).sum(axis=1) == 6).all()
    assert (grids.any(axis=1).sum(axis=1) == 6).all()


@pytest.mark.parametrize("split", SPLITS)
def test_feature_codes_are_admitted_by_the_split(paper: BalancedColorShape, split: SplitName) -> None:
    opened, admitted = paper.open(split), paper.admitted(split)
    assert admitted is not None
    seen = set(map(tuple, opened.space.feature_codes(opened.object_codes).tolist()))
    assert seen <= set(map(tuple, admitted.tolist()))
    assert len(seen) > 0.9 * len(admitted)


def test_feature_codes_are_equally_likely() -> None:
    scene = replace(SMALL, split=replace(SMALL.split, test=6000))
    split, admitted = scene.open("test"), scene.admitted("test")
    assert admitted is not None
    counts = Counter(map(tuple, split.space.feature_codes(split.object_codes).tolist()))
    assert set(counts) == set(map(tuple, admitted.tolist()))
    share = 6000 / len(counts)
    assert max(abs(count - share) for count in counts.values()) < 4.5 * share**0.5


def test_object_codes_are_equally_likely() -> None:
    """Two of three colours, two of three shapes, three objects: 9 feature codes with 4 object codes each."""
    scene = replace(SMALL, n_colors=3, n_shapes=3, colors_per_image=2, num_objects=3, split=SplitPolicy(train=9000))
    pairs = list(combinations(range(3), 2))
    expected = set()
    for colors, shapes in product(pairs, pairs):
        square = [3 * color + shape for color, shape in product(colors, shapes)]
        for missing in square:
            expected.add(tuple(int(k in square and k != missing) for k in range(9)))
    counts = Counter(map(tuple, scene.open("train").object_codes.tolist()))
    assert set(counts) == expected
    assert len(expected) == 36
    assert max(abs(count - 250) for count in counts.values()) < 4.5 * 250**0.5


def test_the_first_samples_are_those_of_the_whole_data_set() -> None:
    scene = replace(SMALL, split=replace(SMALL.split, train=5000))
    codes = scene.open("train").object_codes
    for n in (1, 4095, 4097):
        np.testing.assert_array_equal(scene.limited(n).open("train").object_codes, codes[:n])


@pytest.mark.parametrize("name", [field.name for field in fields(BalancedColorShape)])
def test_the_fingerprint_knows_every_field(name: str) -> None:
    changed = replace(SMALL, **{name: OTHER_VALUES[name]})
    assert changed.open("train").fingerprint != SMALL.open("train").fingerprint


def test_the_fingerprint_knows_the_kind_of_scene() -> None:
    shared = {"n_colors": 2, "n_shapes": 2, "split": SplitPolicy(train=5)}
    balanced = BalancedColorShape(colors_per_image=2, shapes_per_image=2, num_objects=2, **shared)
    assert (
        balanced.open("train").fingerprint != SCENES["colorshape"](max_objects=2, **shared).open("train").fingerprint
    )


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"colors_per_image": 0}, [("colors_per_image", "must lie in 1..8, got 0")]),
        ({"shapes_per_image": 9}, [("shapes_per_image", "must lie in 1..8, got 9")]),
        (
            {"colors_per_image": 9, "shapes_per_image": 0},
            [("colors_per_image", "must lie in 1..8, got 9"), ("shapes_per_image", "must lie in 1..8, got 0")],
        ),
        ({"num_objects": 5}, [("num_objects", "must lie in 6..36 to cover 6 colours and 6 shapes, got 5")]),
        ({"num_objects": 37}, [("num_objects", "must lie in 6..36 to cover 6 colours and 6 shapes, got 37")]),
    ],
)
def test_impossible_values_are_refused(values: dict, expected: list[tuple[str, str]]) -> None:
    with pytest.raises(ConfigurationError) as error:
        BalancedColorShape(**values)
    assert list(error.value.problems) == expected


def test_objects_that_do_not_fit_are_refused_at_once() -> None:
    message = "18 objects of object_size 16 in image_size 64 with margin 4"
    with pytest.raises(ConfigurationError, match=message) as error:
        BalancedColorShape(image_size=64)
    assert [problem.field for problem in error.value.problems] == ["object_size"]
