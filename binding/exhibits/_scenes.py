"""A few images of every data set, with the objects that each shows."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np
from matplotlib.figure import Figure

from frozen.data.scenes import Scene
from frozen.readout.exhibit import Exhibit

N_IMAGES = 6
_LETTERS_A_LINE, _MOST_NAMED = 20, 8
_IMAGE_INCHES, _LINE_INCHES = 1.5, 0.14


def scene_pictures(scenes: Mapping[str, Scene]) -> Iterator[Exhibit]:
    """The first test images of every data set."""
    for name, scene in scenes.items():
        groups = " × ".join(f"{len(group.values)} {group.name}" for group in scene.space.groups)
        yield Exhibit(
            f"Scenes of {name}",
            f"The first {N_IMAGES} test images, with the objects of each. "
            f"{scene.space.n_objects} possible objects ({groups}), {scene.image_size} pixels a side.",
            f"Images of the data set {name}; below each are the names of its objects.",
            partial(draw_scenes, scene),
        )


def draw_scenes(scene: Scene) -> Figure:
    """Draw the first test images, with the names of their objects below.

    Raises:
        DataError: images that cannot be read.
    """
    split = scene.open("test")
    n_images = min(N_IMAGES, len(split))
    names = [object_names(scene, code) for code in split.object_codes[:n_images]]
    lines = max(text.count("\n") + 1 for text in names)
    height = _IMAGE_INCHES + 0.1 + _LINE_INCHES * lines
    figure = Figure(figsize=(N_IMAGES * (_IMAGE_INCHES + 0.12), height), dpi=200)
    for position, image in enumerate(split.images(np.arange(n_images))):
        left, share = position / N_IMAGES, _IMAGE_INCHES / height
        axes = figure.add_axes((left + 0.004, 1 - share, 1 / N_IMAGES - 0.012, share))
        axes.imshow(image, interpolation="nearest")
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set(color="#c8ced6", linewidth=0.8)
        below = {"transform": axes.transAxes, "verticalalignment": "top", "parse_math": False}
        axes.text(0, -0.04, names[position], fontsize=7, color="#3d4650", **below)
    return figure


def object_names(scene: Scene, code: np.ndarray) -> str:
    """Names of the objects of one code, in lines; the last ones are counted where they are many."""
    present = [name for name, is_there in zip(scene.space.object_names, code, strict=True) if is_there]
    named = present[:_MOST_NAMED] + ([f"and {len(present) - _MOST_NAMED} more"] if len(present) > _MOST_NAMED else [])
    return "\n".join(textwrap.shorten(name, _LETTERS_A_LINE, placeholder="…") for name in named) or "empty scene"
