"""Blender's measure of visibility against rays through the same shapes, written down as formulas."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from jaxtyping import Float64

from frozen.data.scenes._specification import camera_of
from tests.rendered import RENDERED

CELLS = 320

Rays = Float64[np.ndarray, "rays 3"]


def rays(scene: dict[str, Any]) -> tuple[np.ndarray, Rays]:
    """Origin, and a direction through each cell of the image, of length 1 along the camera's axis."""
    camera = camera_of(scene)
    origin = np.array(camera.location)
    forward = (camera.target - origin) / np.linalg.norm(camera.target - origin)
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    cells = ((np.arange(CELLS) + 0.5) / CELLS - 0.5) * 32 / 35
    x, y = np.meshgrid(cells, -cells)
    return origin, forward + x.reshape(-1, 1) * right + y.reshape(-1, 1) * np.cross(right, forward)


def depths(item: dict[str, Any], origin: np.ndarray, directions: Rays) -> Float64[np.ndarray, " rays"]:
    """Where rays enter an object, infinite where they miss it."""
    cos, sin = np.cos(item["rotation"]), np.sin(item["rotation"])
    to_object = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]]) / item["radius"]
    start, d = to_object @ (origin - item["3d_coords"]), directions @ to_object.T
    enter = {"sphere": sphere, "cube": cube, "cylinder": cylinder}[item["shape"]]
    low, high = enter(start, d)
    return np.where(low <= high, low, np.inf)


def quadric(start: np.ndarray, d: Rays) -> tuple[np.ndarray, np.ndarray]:
    """Where rays enter and leave the unit ball of their first coordinates."""
    a, b, c = (d * d).sum(1), d @ start, start @ start - 1
    root = np.sqrt(np.maximum(b * b - a * c, 0))
    missed = b * b < a * c
    return np.where(missed, np.inf, (-b - root) / a), np.where(missed, -np.inf, (-b + root) / a)


def slab(start: float, d: np.ndarray, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    one, other = (low - start) / d, (high - start) / d
    return np.minimum(one, other), np.maximum(one, other)


def sphere(start: np.ndarray, d: Rays) -> tuple[np.ndarray, np.ndarray]:
    return quadric(start, d)


def cylinder(start: np.ndarray, d: Rays) -> tuple[np.ndarray, np.ndarray]:
    return meet(quadric(start[:2], d[:, :2]), slab(start[2], d[:, 2], -1, 1))


def cube(start: np.ndarray, d: Rays) -> tuple[np.ndarray, np.ndarray]:
    sides = [slab(start[axis], d[:, axis], -0.95, 0.95) for axis in (0, 1)]
    return meet(*sides, slab(start[2], d[:, 2], -1, 0.9))


def meet(*spans: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return np.max([low for low, _ in spans], axis=0), np.min([high for _, high in spans], axis=0)


@pytest.mark.parametrize("path", sorted((RENDERED.rendered.root / "scenes").iterdir()), ids=lambda path: path.stem)
def test_the_measured_visibility_is_that_of_the_geometry(path: Any) -> None:
    """Up to the rounded edges of cubes and cylinders, and the width of a cell."""
    scene = json.loads(path.read_text())
    origin, directions = rays(scene)
    entered = np.array([depths(item, origin, directions) for item in scene["objects"]])
    hit = np.isfinite(entered)
    seen = hit & (entered == entered.min(axis=0))
    pixels = (RENDERED.image_size / CELLS) ** 2
    for item, alone, visible in zip(scene["objects"], hit.sum(axis=1), seen.sum(axis=1), strict=True):
        assert item["pixels"] == pytest.approx(alone * pixels, rel=0.03 if item["shape"] == "sphere" else 0.06)
        assert item["visible_fraction"] == pytest.approx(visible / alone, abs=0.02)
