"""Specifications of rendered scenes: everything Blender has to know of an image, as one line of JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from frozen.data.scenes._placement import (
    CAMERA_PLACE,
    Camera,
    PlacementError,
    PlacementRule,
    Vector3,
    jittered,
    look,
    place,
)

COLORS = ("gray", "red", "blue", "green", "brown", "purple", "cyan", "yellow")
SHAPES = ("cube", "sphere", "cylinder")
MATERIALS = ("rubber", "metal")
RADII = {"small": 0.35, "large": 0.7}
LIGHTS = ("key", "fill", "back")

SPECIFICATION_VERSION = 1
"""Raised when the same settings give other scenes, or the same scenes another look."""


class Thing(NamedTuple):
    """What an object is, wherever it is."""

    color: str
    shape: str
    material: str = "rubber"
    size: str = "small"


class Look(NamedTuple):
    """How scenes are rendered."""

    width: int
    height: int
    samples: int
    """Light paths a pixel."""
    denoise: bool
    """Whether Open Image Denoise cleans the image."""
    assets: str
    """clevr: base scene, shapes and materials of clevr-dataset-gen; primitives: a scene made in Blender."""


@dataclass(frozen=True, kw_only=True)
class Studio:
    """Where the camera and the lights stand, and how they and the objects vary."""

    camera: Vector3
    """Mean place of the camera."""
    camera_jitter: Vector3
    """Most that the camera is moved along each axis."""
    camera_pitch_degrees: float | None
    """Degrees below the horizon; None looks at the middle of the floor."""
    light_jitter: float
    """Most that each light is moved along each axis."""
    rule: PlacementRule
    """How objects are kept apart."""

    def arrange(self, things: Sequence[Thing], rng: np.random.Generator) -> dict[str, Any]:
        """Draw a scene: the camera, the lights, then the objects.

        Raises:
            PlacementError: there is no room for the objects.
        """
        none = (0.0, 0.0, 0.0)
        reach = (self.light_jitter, self.light_jitter, self.light_jitter)
        camera = look(jittered(self.camera, self.camera_jitter, rng), self.camera_pitch_degrees)
        offsets = {light: jittered(none, reach, rng) for light in LIGHTS}
        radii = np.array([RADII[thing.size] for thing in things], dtype=np.float64)
        places = place(radii, camera, self.rule, rng)
        rotations = rng.uniform(0.0, 2.0 * math.pi, len(things))
        return {
            "camera": camera._asdict(),
            "directions": camera.directions,
            "light_offsets": offsets,
            "objects": [
                _object(thing, xy, float(rotation))
                for thing, xy, rotation in zip(things, places.tolist(), rotations, strict=True)
            ],
        }


def _object(thing: Thing, xy: list[float], rotation: float) -> dict[str, Any]:
    radius = RADII[thing.size]
    return {**thing._asdict(), "radius": radius, "3d_coords": [*xy, radius], "rotation": rotation}


@cache
def no_room(n_objects: int, size: str, rule: PlacementRule) -> str | None:
    """Why that many objects of a size cannot be placed, or None; tried with CLEVR's camera."""
    try:
        place(np.full(n_objects, RADII[size]), look(CAMERA_PLACE, None), rule, np.random.default_rng(0))
    except PlacementError as error:
        return str(error)
    return None


def specification(filename: str, split: str, index: int, look: Look, arranged: dict[str, Any]) -> dict[str, Any]:
    """One image's specification, in the form of CLEVR's scene JSON with what the renderer needs besides."""
    header = {"image_filename": filename, "split": split, "image_index": index}
    return {**header, "version": SPECIFICATION_VERSION, "render": look._asdict(), **arranged}


def camera_of(scene: dict[str, Any]) -> Camera:
    """The camera of a specification or of a scene JSON."""
    x, y, z = scene["camera"]["location"]
    u, v, w = scene["camera"]["target"]
    return Camera((x, y, z), (u, v, w))
