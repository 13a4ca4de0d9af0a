"""ColorShape: every object code of at most `max_objects` objects is equally likely (section 3.1)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from frozen.data.scenes._feature_splits import SplitPolicy
from frozen.data.scenes._sampled_scene import UniformScene
from frozen.data.scenes._shape_scene import ShapeScene
from frozen.problems import Problem, at_least


@dataclass(frozen=True, kw_only=True)
class ColorShape(UniformScene, ShapeScene):
    """Object codes uniform over all that have at most `max_objects` objects, the empty scene included."""

    n_colors: int = 7
    """Number of colours, the first of red blue green yellow purple orange cyan gray."""
    n_shapes: int = 7
    """Number of shapes, the first of circle square triangle diamond pentagon hexagon cross star."""
    max_objects: int = 16
    """Most objects in an image; more than n_colors x n_shapes means all."""
    split: SplitPolicy = field(default_factory=lambda: SplitPolicy(policy="f_disjoint_hash"))
    """Sizes of the splits and which feature codes they admit."""

    salt: ClassVar[str] = "colorshape_fsplit_v1"

    def _own_problems(self) -> Iterator[Problem]:
        yield from at_least("max_objects", self.max_objects, 0)
