"""Scenes of coloured shapes on white: what ColorShape and its balanced variant share (section 3.1)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Int, UInt8

from frozen.data.scenes._base import Missing, SplitName, fingerprint
from frozen.data.scenes._drawing import COLORS, SHAPES, Canvas, PlacementError, draw, place, shape_mask
from frozen.data.scenes._feature_splits import SplitPolicy
from frozen.data.scenes._sampled_scene import SampledScene, SampledSplit
from frozen.data.scenes.codes import FeatureGroup, FeatureSpace
from frozen.problems import Problem, at_least, refuse

_VERSION = 1
_PLACEMENT_TRIALS = 32


@dataclass(frozen=True, kw_only=True)
class ShapeScene(SampledScene):
    """Coloured shapes at random places; subclasses say how many objects and how they are drawn.

    Raises:
        ConfigurationError: sizes out of range, or objects that do not fit in the image.
    """

    n_colors: int = 8
    """Number of colours, the first of red blue green yellow purple orange cyan gray."""
    n_shapes: int = 8
    """Number of shapes, the first of circle square triangle diamond pentagon hexagon cross star."""
    image_size: int = 256
    """Pixels a side."""
    object_size: int = 16
    """Pixels a side of an object's box."""
    margin: int = 4
    """Free pixels along the image's border."""
    seed: int = 0
    """Train, validation and test are drawn with seed, seed + 1 and seed + 2; in a study, by default with its seed."""
    split: SplitPolicy = field(default_factory=SplitPolicy)
    """Sizes of the splits and which feature codes they admit."""

    def __post_init__(self) -> None:
        refuse(type(self).__name__, self.problems())

    def problems(self) -> Iterator[Problem]:
        """Every broken rule."""
        own = list(self._own_problems())
        for name, most in (("n_colors", len(COLORS)), ("n_shapes", len(SHAPES))):
            value = getattr(self, name)
            if not 1 <= value <= most:
                own.append(Problem(name, f"must lie in 1..{most}, got {value}"))
        for name, least in (("object_size", 4), ("margin", 0), ("seed", 0), ("image_size", 8)):
            own.extend(at_least(name, getattr(self, name), least))
        yield from own
        yield from self.split.problems()
        if not own:
            yield from self._placement_problems()

    def _placement_problems(self) -> Iterator[Problem]:
        """Objects are placed by chance, so the fullest scenes are tried before anything long begins."""
        trials = np.arange(_PLACEMENT_TRIALS)
        try:
            place(np.full(_PLACEMENT_TRIALS, self.most_objects), self.canvas, 0, trials)
        except PlacementError as error:
            yield Problem("object_size", str(error))

    @abstractmethod
    def _own_problems(self) -> Iterator[Problem]:
        """Broken rules of the subclass's own fields."""

    @property
    @abstractmethod
    def most_objects(self) -> int:
        """Objects in the fullest image."""

    @property
    def canvas(self) -> Canvas:
        """Geometry of the images."""
        return Canvas(self.image_size, self.object_size, self.margin)

    @cached_property
    def space(self) -> FeatureSpace:
        """Colours x shapes."""
        colors, shapes = tuple(COLORS)[: self.n_colors], SHAPES[: self.n_shapes]
        return FeatureSpace((FeatureGroup("color", colors), FeatureGroup("shape", shapes)))

    def missing(self) -> Missing | None:
        """Nothing: the images are drawn."""
        return None

    def open(self, name: SplitName) -> ShapeSplit:
        """One of the splits train, validation, test.

        Raises:
            ValueError: the split admits no feature code, or so few that none would be drawn.
        """
        return ShapeSplit(self, name)


class ShapeSplit(SampledSplit):
    """One split of a scene of coloured shapes."""

    def __init__(self, scene: ShapeScene, name: SplitName) -> None:
        super().__init__(scene, name)
        self.scene = scene

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the drawing code's version and of every field of the scene."""
        return fingerprint(scene=type(self.scene).__name__, version=_VERSION, config=self.scene, split=self.name)

    def images(self, indices: Int[np.ndarray, " batch"]) -> UInt8[np.ndarray, "batch height width 3"]:
        codes = self.object_codes[indices]
        canvas = self.scene.canvas
        corners = place(codes.sum(axis=1, dtype=np.int64), canvas, self.seed, indices)
        return draw(codes, corners, *self._sprites, canvas.image_size)

    @cached_property
    def _sprites(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        colors, shapes = (group.values for group in self.space.groups)
        pairs = [(color, shape) for color in colors for shape in shapes]
        masks = [shape_mask(shape, self.scene.object_size)[..., None] for _, shape in pairs]
        return masks, [np.array(COLORS[color], dtype=np.uint8) for color, _ in pairs]
