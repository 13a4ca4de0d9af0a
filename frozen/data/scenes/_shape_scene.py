"""Scenes of coloured shapes on white: what ColorShape and its balanced variant share (section 3.1)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import cast

import numpy as np
from jaxtyping import Float32, Int, UInt8

from frozen.data.scenes._base import Missing, SplitName, fingerprint
from frozen.data.scenes._captions import GRAMMARS, Grammar, caption
from frozen.data.scenes._drawing import COLORS, SHAPES, WHITE, Canvas, Layout, PlacementError, layout, paint, place
from frozen.data.scenes._feature_splits import SplitPolicy
from frozen.data.scenes._sampled_scene import SampledScene, SampledSplit
from frozen.data.scenes.codes import FeatureGroup, FeatureSpace
from frozen.problems import Problem, at_least, at_most_largest_image, refuse

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
    """Train, validation and test are drawn with seed, seed + 1 and seed + 2, so that seeds less than 3 apart share
    scenes; in a study, by default with its seed."""
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
        own.extend(at_most_largest_image(self.image_size))
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

    def layout(self, indices: Int[np.ndarray, " batch"]) -> Layout:
        """Which objects are where; made again from the stream of each image, so nothing is stored."""
        codes = self.object_codes[indices]
        corners = place(codes.sum(axis=1, dtype=np.int64), self.scene.canvas, self.seed, indices)
        return layout(codes, corners, self.scene.object_size)

    def images(self, indices: Int[np.ndarray, " batch"]) -> UInt8[np.ndarray, "batch height width 3"]:
        side = self.scene.image_size
        images = np.full((len(indices), side, side, 3), WHITE, dtype=np.uint8)
        paint(images, self.layout(indices), *self._sprites)
        return images

    def masks(self, indices: Int[np.ndarray, " batch"]) -> UInt8[np.ndarray, "batch height width"]:
        """Which object a pixel shows: k + 1 for object k of the feature space, 0 for the background."""
        side = self.scene.image_size
        masks = np.zeros((len(indices), side, side, 1), dtype=np.uint8)
        values = [np.array([k + 1], dtype=np.uint8) for k in range(self.space.n_objects)]
        paint(masks, self.layout(indices), self._sprites[0], values)
        return masks[..., 0]

    def coverage(self, indices: Int[np.ndarray, " batch"], grid: int) -> Float32[np.ndarray, "batch patches values"]:
        """Share of each patch's pixels that have each value of the mask.

        Args:
            indices: which scenes.
            grid: patches a side, row by row; it must divide the image's side.

        Raises:
            ValueError: a grid that does not divide the image's side.
        """
        return coverage(self.masks(indices), grid, self.space.n_objects + 1)

    def captions(
        self, indices: Int[np.ndarray, " batch"], grammar: Grammar, rng: np.random.Generator | None = None
    ) -> list[str]:
        """One caption a scene; see `caption`."""
        return caption(self.layout(indices), self.space, self.scene.image_size, grammar, rng)

    def swapped_captions(self, indices: Int[np.ndarray, " batch"], grammar: Grammar) -> list[str]:
        """The caption of each scene if every object had the colour of the one before it, the places kept.

        Of two objects that is their colours exchanged. It is empty where the scene would stay the same or two objects
        would become one kind, so that no other binding of the same features is told.
        """
        found = self.layout(indices)
        n_shapes = len(self.space.groups[1].values)
        kinds = found.kinds.copy()
        is_another = np.zeros(len(indices), dtype=bool)
        for row, (own, n_objects) in enumerate(zip(found.kinds, (found.kinds >= 0).sum(axis=1), strict=True)):
            colors, shapes = np.divmod(own[:n_objects], n_shapes)
            swapped = np.roll(colors, 1) * n_shapes + shapes
            kinds[row, :n_objects] = swapped
            is_another[row] = len(set(swapped)) == n_objects and set(swapped) != set(own[:n_objects])
        texts = caption(found._replace(kinds=kinds), self.space, self.scene.image_size, grammar)
        return [text if there else "" for text, there in zip(texts, is_another.tolist(), strict=True)]

    @property
    def label_makers(self) -> dict[str, Callable[[Int[np.ndarray, " batch"]], np.ndarray]]:
        """What gives each kind of label."""
        captions: dict[str, Callable[[np.ndarray], np.ndarray]] = {
            f"caption:{grammar}": lambda indices, grammar=grammar: np.array(
                self.captions(indices, grammar), dtype=str
            )
            for grammar in GRAMMARS
            if grammar != "partial"
        }
        swapped: dict[str, Callable[[Int[np.ndarray, " batch"]], np.ndarray]] = {
            f"swapped_{name}": lambda indices, name=name: np.array(
                self.swapped_captions(indices, cast("Grammar", name.partition(":")[2])), dtype=str
            )
            for name in captions
        }
        codes = {"object_codes": lambda indices: self.object_codes[indices], "mask": self.masks}
        return {**codes, **captions, **swapped}

    @property
    def label_names(self) -> tuple[str, ...]:
        """The kinds of labels there are.

        object_codes, mask, and captions in each grammar that leaves no choice, of the scene and with colours swapped.
        """
        return tuple(self.label_makers)

    def labels(self, name: str, indices: Int[np.ndarray, " batch"]) -> np.ndarray:
        """Labels of one kind, one a sample; captions are strings.

        A name such as caption:counted@4 asks for those of the sample four places further on, the first ones coming
        again after the last.

        Raises:
            ValueError: a kind of label that the data set does not have.
        """
        name, _, step = name.partition("@")
        if step:
            indices = (np.asarray(indices) + int(step)) % len(self)
        if name not in self.label_names:
            raise ValueError(f"no labels {name!r}; there are {', '.join(self.label_names)}")
        return self.label_makers[name](indices)

    @cached_property
    def _sprites(self) -> tuple[list[str], list[np.ndarray]]:
        colors, shapes = (group.values for group in self.space.groups)
        pairs = [(color, shape) for color in colors for shape in shapes]
        return [shape for _, shape in pairs], [np.array(COLORS[color], dtype=np.uint8) for color, _ in pairs]


def coverage(
    masks: UInt8[np.ndarray, "batch height width"], grid: int, n_values: int
) -> Float32[np.ndarray, "batch patches values"]:
    """Share of each patch's pixels that have each value 0..n_values - 1; the shares of a patch sum to 1.

    Raises:
        ValueError: a grid that does not divide the image's sides.
    """
    n, height, width = masks.shape
    if height % grid or width % grid:
        raise ValueError(f"a grid of {grid} x {grid} patches does not divide an image of {height} x {width} pixels")
    patches = masks.reshape(n, grid, height // grid, grid, width // grid).swapaxes(2, 3)
    patches = patches.reshape(n, grid * grid, -1)
    counts = np.stack([(patches == value).sum(axis=2) for value in range(n_values)], axis=2)
    return (counts / patches.shape[2]).astype(np.float32)
