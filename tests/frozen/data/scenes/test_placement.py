from __future__ import annotations

import math

import numpy as np
import pytest

from frozen.data.scenes._placement import CAMERA_PLACE, Camera, PlacementError, PlacementRule, jittered, look, place

CAMERA = look(CAMERA_PLACE, None)
RADII = np.array([0.35, 0.7, 0.35, 0.7, 0.35, 0.35, 0.35])


@pytest.mark.parametrize("seed", range(20))
def test_objects_keep_their_distances_and_stay_on_the_floor(seed: int) -> None:
    rule = PlacementRule()
    places = place(RADII, CAMERA, rule, np.random.default_rng(seed))
    assert places.shape == (len(RADII), 2)
    assert np.abs(places).max() <= 3
    behind, left = (np.array(CAMERA.directions[name][:2]) for name in ("behind", "left"))
    for i in range(len(RADII)):
        for j in range(i):
            away = places[i] - places[j]
            assert np.hypot(*away) >= RADII[i] + RADII[j] + rule.min_distance
            assert min(abs(away @ behind), abs(away @ left)) >= rule.margin


def test_lonely_objects_are_uniform_on_the_floor() -> None:
    rng = np.random.default_rng(0)
    places = np.concatenate([place(RADII[:1], CAMERA, PlacementRule(), rng) for _ in range(4000)])
    counts, _, _ = np.histogram2d(*places.T, bins=4, range=[[-3, 3], [-3, 3]])
    assert np.abs(counts - 250).max() < 4.5 * 250**0.5


def test_more_objects_than_there_is_room_for_are_refused() -> None:
    with pytest.raises(PlacementError, match="no room was found for 24 objects with margin 1 "):
        place(np.full(24, 0.35), CAMERA, PlacementRule(margin=1.0, tries=2), np.random.default_rng(0))


def test_directions_are_those_of_the_camera() -> None:
    """From -y, looking along y: left is -x."""
    directions = Camera((0.0, -5.0, 2.0), (0.0, 0.0, 0.0)).directions
    assert directions["behind"] == (0.0, 1.0, 0.0)
    assert directions["left"] == (-1.0, 0.0, 0.0)
    assert directions["above"] == (0.0, 0.0, 1.0)
    for one, other in (("behind", "front"), ("left", "right"), ("above", "below")):
        assert np.allclose(np.add(directions[one], directions[other]), 0)


def test_the_camera_looks_at_the_middle_or_under_a_pitch() -> None:
    assert look((7.0, -6.0, 3.2), None).target == (0.0, 0.0, 0.0)
    level = look((3.0, -4.0, 2.0), 0.0)
    assert level.target == (0.0, 0.0, 2.0)
    down = look((3.0, -4.0, 5.0), 45.0)
    assert down.target == pytest.approx((0.0, 0.0, 0.0), abs=1e-12)
    x, y, z = np.subtract(look((3.0, -4.0, 2.0), 32.0).target, (3.0, -4.0, 2.0))
    assert math.degrees(math.atan2(-z, math.hypot(x, y))) == pytest.approx(32.0)


def test_jitter_fills_its_range_and_leaves_pinned_axes_alone() -> None:
    rng = np.random.default_rng(0)
    moved = np.array([jittered((1.0, 2.0, 3.0), (0.5, 0.25, 0.0), rng) for _ in range(2000)]) - (1.0, 2.0, 3.0)
    assert (moved[:, 2] == 0).all()
    assert np.allclose(np.abs(moved).max(axis=0), (0.5, 0.25, 0.0), atol=0.01)
    assert np.abs(moved.mean(axis=0)).max() < 4.5 * 0.5 / math.sqrt(3 * 2000)
