"""Where a rendered scene's camera, lights and objects are: all of it is drawn here, none of it in Blender.

The rules are CLEVR's: objects stand on the floor in a square of 6 x 6, far enough from each other, and apart
as seen along each of the four directions of the camera on the floor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

CAMERA_PLACE = (7.48, -6.51, 5.34)
"""Camera of CLEVR, which looks at the middle of the floor."""

_REACH = 3.0
_RESTARTS = 10_000

Vector3 = tuple[float, float, float]


class PlacementError(ValueError):
    """Objects for which there is no room."""


class Camera(NamedTuple):
    """Where the camera is and at what it looks."""

    location: Vector3
    target: Vector3

    @property
    def directions(self) -> dict[str, Vector3]:
        """Unit vectors on the floor as the camera sees them, in CLEVR's names."""
        x, y = (self.target[axis] - self.location[axis] for axis in (0, 1))
        length = math.hypot(x, y)
        x, y = x / length, y / length
        return {
            "behind": (x, y, 0.0),
            "front": (-x, -y, 0.0),
            "left": (-y, x, 0.0),
            "right": (y, -x, 0.0),
            "above": (0.0, 0.0, 1.0),
            "below": (0.0, 0.0, -1.0),
        }


def look(location: Vector3, pitch_degrees: float | None) -> Camera:
    """A camera that looks over the middle of the floor.

    Args:
        location: of the camera.
        pitch_degrees: degrees below the horizon; None looks at the middle of the floor itself.
    """
    x, y, z = location
    if pitch_degrees is None:
        return Camera(location, (0.0, 0.0, 0.0))
    return Camera(location, (0.0, 0.0, z - math.hypot(x, y) * math.tan(math.radians(pitch_degrees))))


def jittered(place: Vector3, reach: Vector3, rng: np.random.Generator) -> Vector3:
    """A place moved along each axis by up to the given distances."""
    x, y, z = np.asarray(place) + rng.uniform(-1.0, 1.0, 3) * reach
    return float(x), float(y), float(z)


@dataclass(frozen=True, kw_only=True)
class PlacementRule:
    """How objects are kept apart."""

    min_distance: float = 0.25
    """Free distance between two objects, beyond their radii."""
    margin: float = 0.4
    """Least distance of two objects along each of the camera's directions on the floor."""
    tries: int = 50
    """Places that are tried for an object before the scene is begun anew."""


def place(
    radii: Float64[np.ndarray, " objects"], camera: Camera, rule: PlacementRule, rng: np.random.Generator
) -> Float64[np.ndarray, "objects 2"]:
    """Places on the floor, uniform in the square, each the first of its tries that keeps the rule.

    Raises:
        PlacementError: no scene was found in thousands of beginnings.
    """
    axes = np.array([camera.directions["behind"][:2], camera.directions["left"][:2]])
    for _ in range(_RESTARTS):
        places = _attempt(radii, axes, rule, rng)
        if places is not None:
            return places
    raise PlacementError(
        f"no room was found for {len(radii)} objects with margin {rule.margin:g} and min_distance "
        f"{rule.min_distance:g} in {_RESTARTS} beginnings; use fewer objects or a smaller margin"
    )


def _attempt(radii: np.ndarray, axes: np.ndarray, rule: PlacementRule, rng: np.random.Generator) -> np.ndarray | None:
    places = np.empty((len(radii), 2))
    for number, radius in enumerate(radii):
        tried = rng.uniform(-_REACH, _REACH, (rule.tries, 2))
        away = tried[:, None] - places[:number]
        too_close = np.hypot(away[..., 0], away[..., 1]) - radius - radii[:number] < rule.min_distance
        in_line = (np.abs(away @ axes.T) < rule.margin).any(axis=-1)
        free = ~(too_close | in_line).any(axis=-1)
        if not free.any():
            return None
        places[number] = tried[free.argmax()]
    return places
