from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import fields, replace
from itertools import combinations, product
from math import comb

import numpy as np
import pytest
from PIL import Image, ImageDraw

from frozen.data.scenes import SCENES, SPLITS, ColorShape, SplitName, SplitPolicy
from frozen.data.scenes._drawing import COLORS
from frozen.problems import ConfigurationError
from frozen.testing import SceneConformance

SMALL = ColorShape(
    n_colors=3,
    n_shapes=4,
    max_objects=5,
    image_size=64,
    object_size=10,
    split=SplitPolicy(train=300, validation=200, test=200),
)
HASHED = replace(SMALL, n_colors=4, split=replace(SMALL.split, policy="f_disjoint_hash"))
OTHER_VALUES = {
    "n_colors": 4,
    "n_shapes": 3,
    "max_objects": 4,
    "image_size": 65,
    "object_size": 11,
    "margin": 5,
    "seed": 1,
    "split": SplitPolicy(train=300, validation=200, test=201),
}
OTHER_POLICY_VALUES = {
    "policy": "f_disjoint_hash",
    "train": 301,
    "validation": 201,
    "test": 201,
    "salt": "other",
    "modulus": 11,
    "test_buckets": (1, 2),
    "validation_buckets": (3,),
    "code_counts": (60, 22, 23),
    "exclude_all_ones": True,
}


def sampled_counts(scene: ColorShape, split: SplitName) -> dict[tuple[int, ...], int]:
    codes, counts = np.unique(scene.open(split).object_codes, axis=0, return_counts=True)
    return dict(zip(map(tuple, codes.tolist()), counts.tolist(), strict=True))


def assert_uniform(counts: dict[tuple[int, ...], int], expected_codes: set[tuple[int, ...]]) -> None:
    """All codes were drawn, none other, each within 4.5 standard deviations of its share."""
    assert set(counts) == expected_codes
    share = sum(counts.values()) / len(counts)
    assert max(abs(count - share) for count in counts.values()) < 4.5 * share**0.5


def visible_colors(image: np.ndarray) -> set[tuple[int, ...]]:
    return set(map(tuple, np.unique(image.reshape(-1, 3), axis=0).tolist())) - {(255, 255, 255)}


class TestIndependent(SceneConformance):
    @pytest.fixture
    def scene(self) -> ColorShape:
        return SMALL


class TestHashed(SceneConformance):
    @pytest.fixture
    def scene(self) -> ColorShape:
        return HASHED


class TestOnePair(SceneConformance):
    """F decides O: no entropy is left, every odds are infinite."""

    @pytest.fixture
    def scene(self) -> ColorShape:
        return replace(SMALL, n_colors=1, n_shapes=1, max_objects=1)


def test_defaults_are_those_of_the_paper() -> None:
    scene = ColorShape()
    assert SCENES["colorshape"] is ColorShape
    assert (scene.n_colors, scene.n_shapes, scene.max_objects) == (7, 7, 16)
    assert (scene.image_size, scene.object_size, scene.margin) == (256, 16, 4)
    assert (scene.split.policy, scene.split.train + scene.split.validation, scene.split.test) == (
        *("f_disjoint_hash", 49_000),
        9_800,
    )
    assert scene.space.object_names[:8:7] == ("red circle", "blue circle")
    assert scene.space.object_names[6] == "red cross"


def test_the_first_samples_are_those_of_the_whole_data_set() -> None:
    few = HASHED.limited(50)
    for name in SPLITS:
        whole, part = HASHED.open(name), few.open(name)
        assert len(part) == 50
        assert part.fingerprint != whole.fingerprint
        np.testing.assert_array_equal(part.object_codes, whole.object_codes[:50])
        np.testing.assert_array_equal(part.images(np.arange(3)), whole.images(np.arange(3)))
    assert HASHED.limited(10**6) == HASHED


def test_a_split_larger_than_a_block_begins_with_the_smaller_one() -> None:
    scene = replace(HASHED, split=replace(HASHED.split, train=9000))
    codes = scene.open("train").object_codes
    assert codes.shape == (9000, 16)
    np.testing.assert_array_equal(scene.limited(4097).open("train").object_codes, codes[:4097])
    assert (codes[:4096] != codes[4096:8192]).any()


def test_the_seed_decides_codes_and_places() -> None:
    scene = replace(SMALL, n_colors=1, n_shapes=1, max_objects=1)
    one, same, other = (replace(scene, seed=seed).open("train") for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.object_codes, same.object_codes)
    assert (one.object_codes != other.object_codes).any()
    alike = np.flatnonzero(one.object_codes & other.object_codes)
    np.testing.assert_array_equal(one.images(alike), same.images(alike))
    differs = (one.images(alike) != other.images(alike)).any(axis=(1, 2, 3))
    assert differs.mean() > 0.9


def test_codes_are_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        SMALL.open("train").object_codes[0, 0] = 1


@pytest.mark.parametrize("split", SPLITS)
def test_feature_codes_are_admitted_by_the_split(split: SplitName) -> None:
    opened = HASHED.open(split)
    admitted = HASHED.admitted(split)
    assert admitted is not None
    seen = set(map(tuple, opened.space.feature_codes(opened.object_codes).tolist()))
    assert seen <= set(map(tuple, admitted.tolist()))


def test_all_object_codes_of_at_most_max_objects_are_equally_likely() -> None:
    scene = ColorShape(n_colors=3, n_shapes=2, max_objects=3, split=SplitPolicy(train=20_000))
    codes: set[tuple[int, ...]] = {code for code in product((0, 1), repeat=6) if sum(code) <= 3}
    assert_uniform(sampled_counts(scene, "train"), codes)


def test_admitted_object_codes_are_equally_likely() -> None:
    policy = SplitPolicy(policy="f_disjoint_hash", test_buckets=(0, 1, 2, 3), test=20_000)
    scene = ColorShape(n_colors=3, n_shapes=2, max_objects=3, split=policy)
    codes = np.array([code for code in product((0, 1), repeat=6) if sum(code) <= 3], dtype=np.uint8)
    admitted = scene.admitted("test")
    assert admitted is not None
    feature_codes = scene.space.feature_codes(codes)
    kept = codes[(feature_codes[:, None] == admitted).all(axis=2).any(axis=1)]
    assert 10 < len(kept) < len(codes)
    assert_uniform(sampled_counts(scene, "test"), set(map(tuple, kept.tolist())))


def test_sizes_are_drawn_with_the_number_of_their_subsets() -> None:
    scene = ColorShape(n_colors=4, n_shapes=4, max_objects=6, split=SplitPolicy(train=20_000))
    sizes = np.bincount(scene.open("train").object_codes.sum(axis=1), minlength=7)
    weights = np.array([comb(16, m) for m in range(7)])
    expected = 20_000 * weights / weights.sum()
    assert (np.abs(sizes - expected) < 4.5 * expected**0.5 + 1).all()
    assert len(sizes) == 7


def test_more_objects_than_there_are_means_all() -> None:
    scene = replace(SMALL, n_colors=2, n_shapes=2, max_objects=50)
    assert scene.most_objects == 4
    entropies = scene.open("train").entropies
    assert entropies.object_bits == pytest.approx(4, abs=1e-12)


def test_a_scene_of_two_pairs_has_no_entropy_left_in_test() -> None:
    scene = ColorShape(n_colors=2, n_shapes=2, max_objects=4)
    assert scene.open("test").entropies.conditional_bits == 0


def test_a_split_too_rare_to_draw_is_refused() -> None:
    policy = SplitPolicy(policy="f_disjoint_hash", modulus=5000, test_buckets=(0,))
    with pytest.raises(ValueError, match=r"a split admits \d+ of \d+ scenes, too few to draw; use the policy"):
        ColorShape(max_objects=49, image_size=512, split=policy).open("test")


def test_the_empty_scene_is_white() -> None:
    split = SMALL.open("train")
    empty = np.flatnonzero(~split.object_codes.any(axis=1))
    none_allowed = replace(SMALL, max_objects=0).open("train")
    assert (none_allowed.images(np.arange(3)) == 255).all()
    assert (split.images(empty) == 255).all()
    full = np.flatnonzero(split.object_codes.any(axis=1))[:20]
    assert (split.images(full) != 255).any(axis=(1, 2, 3)).all()


def test_visible_colors_are_the_present_ones() -> None:
    split = SMALL.open("test")
    colors = list(COLORS.values())[:3]
    present = split.space.feature_codes(split.object_codes)[:, :3]
    for i, image in enumerate(split.images(np.arange(100))):
        assert visible_colors(image) == {color for color, bit in zip(colors, present[i], strict=True) if bit}


def test_every_object_is_where_its_pixels_are() -> None:
    """With squares of different colours, the image itself says where every object is."""
    scene = ColorShape(n_colors=8, n_shapes=2, max_objects=6, image_size=96, object_size=12, split=SMALL.split)
    split = scene.open("train")
    codes = split.object_codes.reshape(-1, 8, 2)
    one_shape_a_color = np.flatnonzero((codes.sum(axis=2) <= 1).all(axis=1) & (codes.sum(axis=(1, 2)) > 1))
    assert len(one_shape_a_color) > 40
    for i, image in zip(one_shape_a_color, split.images(one_shape_a_color), strict=True):
        expected = Image.new("RGB", (96, 96), "white")
        corners = []
        for color, shape in np.argwhere(codes[i]):
            rgb = tuple(COLORS.values())[color]
            rows, columns = np.nonzero((image == rgb).all(axis=2))
            box = [int(end) for end in (columns.max() - 12, rows.max() - 12, columns.max(), rows.max())]
            pencil = ImageDraw.Draw(expected)
            (pencil.ellipse if shape == 0 else pencil.rectangle)(box, fill=rgb)
            corners.append(box[:2])
        np.testing.assert_array_equal(image, np.array(expected))
        assert np.min(corners) >= 4
        assert np.max(corners) + 12 <= 92
        gaps = [np.abs(np.subtract(one, other)).max() for one, other in combinations(corners, 2)]
        assert min(gaps) >= 12


@pytest.mark.parametrize("name", [field.name for field in fields(ColorShape)])
def test_the_fingerprint_knows_every_field(name: str) -> None:
    changed = replace(SMALL, **{name: OTHER_VALUES[name]})
    assert changed.open("train").fingerprint != SMALL.open("train").fingerprint


@pytest.mark.parametrize("name", [field.name for field in fields(SplitPolicy)])
def test_the_fingerprint_knows_every_field_of_the_policy(name: str) -> None:
    changed = replace(SMALL, split=replace(SMALL.split, **{name: OTHER_POLICY_VALUES[name]}))
    assert changed.open("train").fingerprint != SMALL.open("train").fingerprint


def test_another_process_computes_the_same_data() -> None:
    """Whose hashes of texts are others."""
    program = (
        "import hashlib, numpy; from frozen.data.scenes import ColorShape, SplitPolicy; "
        "s = ColorShape(split=SplitPolicy(policy='f_disjoint_hash', train=20)).open('train'); "
        "print(hash('red'), s.fingerprint, hashlib.sha256(s.images(numpy.arange(20)).tobytes()).hexdigest())"
    )
    there = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    here = ColorShape(split=SplitPolicy(policy="f_disjoint_hash", train=20)).open("train")
    assert there[0] != str(hash("red"))
    assert there[1:] == [here.fingerprint, hashlib.sha256(here.images(np.arange(20)).tobytes()).hexdigest()]


@pytest.mark.parametrize(
    ("values", "field", "message"),
    [
        ({"n_colors": 0}, "n_colors", "must lie in 1..8, got 0"),
        ({"n_colors": 9}, "n_colors", "must lie in 1..8, got 9"),
        ({"n_shapes": 9}, "n_shapes", "must lie in 1..8, got 9"),
        ({"max_objects": -1}, "max_objects", "must be ≥ 0, got -1"),
        ({"object_size": 3}, "object_size", "must be ≥ 4, got 3"),
        ({"margin": -1}, "margin", "must be ≥ 0, got -1"),
        ({"seed": -1}, "seed", "must be ≥ 0, got -1"),
        ({"image_size": 7}, "image_size", "must be ≥ 8, got 7"),
    ],
)
def test_impossible_values_are_refused(values: dict, field: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        ColorShape(**values)
    assert error.value.problems == ((field, message),)
    assert str(error.value) == f"ColorShape: {field}: {message}"


def test_all_problems_are_reported_together() -> None:
    with pytest.raises(ConfigurationError) as error:
        ColorShape(n_colors=9, margin=-1, split=SplitPolicy(train=0))
    assert {problem.field for problem in error.value.problems} == {"n_colors", "margin", "split.train"}


def test_objects_that_do_not_fit_are_refused_at_once() -> None:
    with pytest.raises(
        ConfigurationError, match="9 objects of object_size 16 in image_size 64 with margin 4"
    ) as error:
        ColorShape(n_colors=3, n_shapes=3, max_objects=12, image_size=64)
    assert [problem.field for problem in error.value.problems] == ["object_size"]
