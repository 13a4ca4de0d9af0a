"""OcclusionCLEVR: small rubber objects on a floor, seen from a camera that is low or high (section 3)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Int, UInt8

from frozen.data.scenes._base import SPLITS, DataError, Missing, SplitName, fingerprint
from frozen.data.scenes._disk import IS_PATH
from frozen.data.scenes._feature_splits import SplitPolicy
from frozen.data.scenes._making import Maker
from frozen.data.scenes._placement import CAMERA_PLACE, PlacementRule
from frozen.data.scenes._rendered import RenderedFolder, image_name
from frozen.data.scenes._sampled_scene import SampledSplit, UniformScene
from frozen.data.scenes._specification import (
    COLORS,
    SHAPES,
    SPECIFICATION_VERSION,
    Look,
    Studio,
    Thing,
    no_room,
    specification,
)
from frozen.data.scenes.codes import FeatureGroup, FeatureSpace
from frozen.problems import Problem, at_least, at_most_largest_image, refuse

_NOT_CONTENT = ("folder", "missing_policy", "split", "assets")
_SIZES = frozenset(SPLITS)
_REMEDY = "render them with `python -m sweep.render STUDY.yaml` (and the same --limit and --set)"


@dataclass(frozen=True, kw_only=True)
class OcclusionClevr(UniformScene):
    """CLEVR objects whose occlusion the height of the camera sets; every object code is equally likely.

    The images are rendered by `python -m sweep.render`; docs/rendering.md.

    Raises:
        ConfigurationError: values out of range, or objects for which there is no room.
    """

    n_colors: int = 4
    """Number of colours, the first of gray red blue green brown purple cyan yellow."""
    n_shapes: int = 3
    """Number of shapes, the first of cube sphere cylinder."""
    max_objects: int = 12
    """Most objects in an image; more than n_colors x n_shapes means all."""
    image_size: int = 336
    """Pixels a side."""
    camera_height: float = 3.2
    """Height of the camera over the floor, not jittered; objects are 0.7 high. The paper's axis is 0.6 to 3.2."""
    camera_pitch_degrees: float | None = None
    """Degrees below the horizon at which the camera looks; null: it looks at the middle of the floor."""
    camera_jitter: float = 0.5
    """Most that the camera is moved along either horizontal axis."""
    light_jitter: float = 1.0
    """Most that each light is moved along each axis."""
    min_distance: float = 0.25
    """Free distance between two objects, beyond their radii."""
    margin: float = 0.4
    """Least distance of two objects along each of the four directions of the camera on the floor."""
    tries: int = 50
    """Places tried for an object before its scene is begun anew."""
    samples: int = 64
    """Light paths a pixel; with `denoise`, 16 are enough."""
    denoise: bool = True
    """Clean the images with Open Image Denoise."""
    assets: Literal["auto", "clevr", "primitives"] = "auto"
    """clevr: base scene, shapes and materials from CLEVR_GEN_DIR. primitives: a scene made in Blender.
    auto: clevr where CLEVR_GEN_DIR is set."""
    folder: str | None = field(default=None, metadata=IS_PATH)
    """Where images are; null: the folder that OCCLUSIONCLEVR_DIR names, or data/occlusionclevr."""
    missing_policy: Literal["raise", "drop"] = "raise"
    """What happens when images are missing: the run is refused, or goes on without these samples and counts them."""
    seed: int = 123223
    """Train, validation and test are drawn with seed, seed + 1 and seed + 2, so that seeds less than 3 apart share
    scenes; in a study, by default with its seed."""
    split: SplitPolicy = field(default_factory=lambda: SplitPolicy(train=8000, validation=2000, test=2000))
    """Sizes of the splits and which feature codes they admit."""

    salt: ClassVar[str] = "occlusionclevr_fsplit_v1"

    def __post_init__(self) -> None:
        refuse(type(self).__name__, self.problems())
        # What the environment says is read where the study is read; workers are elsewhere.
        clevr = os.environ.get("CLEVR_GEN_DIR")
        uses_clevr = self.assets == "clevr" or (self.assets == "auto" and clevr is not None)
        object.__setattr__(self, "_clevr_folder", clevr if uses_clevr else None)
        root = self.folder or os.environ.get("OCCLUSIONCLEVR_DIR") or "data/occlusionclevr"
        object.__setattr__(self, "_root", Path(root).absolute())

    def problems(self) -> Iterator[Problem]:
        """Every broken rule."""
        own: list[Problem] = []
        for name, most in (("n_colors", len(COLORS)), ("n_shapes", len(SHAPES))):
            value = getattr(self, name)
            if not 1 <= value <= most:
                own.append(Problem(name, f"must lie in 1..{most}, got {value}"))
        least = {"max_objects": 0, "image_size": 16, "camera_height": 0.1, "tries": 1, "samples": 1, "seed": 0}
        least |= dict.fromkeys(("camera_jitter", "light_jitter", "min_distance", "margin"), 0)
        for name, value in least.items():
            own.extend(at_least(name, getattr(self, name), value))
        own.extend(at_most_largest_image(self.image_size))
        pitch = self.camera_pitch_degrees
        if pitch is not None and not -80 <= pitch <= 80:
            own.append(Problem("camera_pitch_degrees", f"must lie in -80..80, got {pitch}"))
        if self.assets == "clevr" and not os.environ.get("CLEVR_GEN_DIR"):
            text = "needs CLEVR_GEN_DIR to name a clone of facebookresearch/clevr-dataset-gen, and it is not set"
            own.append(Problem("assets", text))
        yield from own
        yield from self.split.problems()
        if not own:
            yield from self._placement_problems()

    def _placement_problems(self) -> Iterator[Problem]:
        """Objects are placed by chance, so a few of the fullest scenes are tried before anything long begins."""
        refusal = no_room(self.most_objects, "small", self.studio.rule)
        if refusal is not None:
            yield Problem("max_objects", refusal)

    @cached_property
    def space(self) -> FeatureSpace:
        """Colours x shapes."""
        colors, shapes = COLORS[: self.n_colors], SHAPES[: self.n_shapes]
        return FeatureSpace((FeatureGroup("color", colors), FeatureGroup("shape", shapes)))

    @property
    def studio(self) -> Studio:
        """How scenes are arranged."""
        return Studio(
            camera=(*CAMERA_PLACE[:2], self.camera_height),
            camera_jitter=(self.camera_jitter, self.camera_jitter, 0.0),
            camera_pitch_degrees=self.camera_pitch_degrees,
            light_jitter=self.light_jitter,
            rule=PlacementRule(min_distance=self.min_distance, margin=self.margin, tries=self.tries),
        )

    @property
    def clevr_folder(self) -> str | None:
        """The clone of clevr-dataset-gen whose assets are used, or None."""
        return getattr(self, "_clevr_folder")  # noqa: B009

    @property
    def look(self) -> Look:
        """How scenes are rendered."""
        assets = "primitives" if self.clevr_folder is None else "clevr"
        return Look(self.image_size, self.image_size, self.samples, self.denoise, assets)

    @property
    def content(self) -> dict[str, Any]:
        """Every setting that an image depends on; the sizes of the splits are none."""
        own = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in _NOT_CONTENT}
        rule = {item.name: getattr(self.split, item.name) for item in fields(self.split) if item.name not in _SIZES}
        return {**own, "split": rule, "assets": self.look.assets, "version": SPECIFICATION_VERSION}

    @cached_property
    def rendered(self) -> RenderedFolder:
        """The folder of this data set's images; a larger data set of the same settings has the same."""
        key = fingerprint(**self.content)[:12]
        name = f"height{self.camera_height:g}_{self.image_size}px_{key}"
        return RenderedFolder(getattr(self, "_root") / name)  # noqa: B009

    def missing(self) -> Missing | None:
        """Images that have to be rendered; under `drop`, only where a split has none at all."""
        there = self.rendered.names()
        wanted = {name: [image_name(name, i) for i in range(self.size(name))] for name in SPLITS}
        absent = {name: sum(image not in there for image in images) for name, images in wanted.items()}
        if self.missing_policy == "drop" and all(absent[name] < len(wanted[name]) for name in SPLITS):
            return None
        if not (n_absent := sum(absent.values())):
            return None
        total = sum(map(len, wanted.values()))
        return Missing(f"{n_absent:,} of {total:,} images in {self.rendered.root}", _REMEDY)

    def maker(self) -> Maker:
        """Who renders the images."""
        from frozen.data.scenes._occlusion_maker import OcclusionMaker

        return OcclusionMaker(self)  # pyright: ignore[reportArgumentType], its folder is a cached property

    def open(self, name: SplitName, *, complete: bool = False) -> OcclusionSplit:
        """One of the splits train, validation, test.

        Args:
            name: of the split.
            complete: whether every sample belongs to it, although its image may be missing.

        Raises:
            DataError: under the policy `drop`, no image of the split is there.
            ValueError: the split admits no feature code, or so few that none would be drawn.
        """
        return OcclusionSplit(self, name, complete=complete)


class OcclusionSplit(SampledSplit):
    """One split of OcclusionCLEVR; sample i is image number `kept[i]`."""

    def __init__(self, scene: OcclusionClevr, name: SplitName, *, complete: bool = False) -> None:
        super().__init__(scene, name)
        self.scene = scene
        complete = complete or scene.missing_policy == "raise"
        self.kept = np.arange(scene.size(name)) if complete else self._there()

    def _there(self) -> Int[np.ndarray, " samples"]:
        """Numbers of the images that are there."""
        there = self.scene.rendered.names()
        numbers = range(self.scene.size(self.name))
        kept = np.array([number for number in numbers if image_name(self.name, number) in there], dtype=np.int64)
        if not len(kept):
            raise DataError(f"no image of the {self.name} split is in {self.scene.rendered.root}; {_REMEDY}")
        return kept

    @property
    def n_skipped(self) -> int:
        """Samples whose image is missing, under the policy `drop`."""
        return self.scene.size(self.name) - len(self.kept)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of every setting that an image depends on, and of which images there are."""
        kept = fingerprint(kept=self.kept.tolist()) if self.n_skipped else None
        content = {**self.scene.content, "name": self.name, "size": self.scene.size(self.name), "kept": kept}
        return fingerprint(scene="OcclusionClevr", **content)

    @cached_property
    def _complete_codes(self) -> UInt8[np.ndarray, "samples objects"]:
        """Object codes of all images, there or not."""
        return SampledSplit(self.scene, self.name).object_codes

    @cached_property
    def object_codes(self) -> UInt8[np.ndarray, "samples objects"]:
        """Object codes of the samples, read-only."""
        codes = self._complete_codes[self.kept]
        codes.setflags(write=False)
        return codes

    def specification(self, number: int) -> dict[str, Any]:
        """What Blender has to know of an image; depends on the seed, the split and the number alone."""
        rng = np.random.default_rng([self.seed, number, 1])
        present = np.flatnonzero(self._complete_codes[number])
        pairs = [(color, shape) for color in self.space.groups[0].values for shape in self.space.groups[1].values]
        # early objects have more room than late ones: in a fixed order, their places would tell what they are
        things = [Thing(*pairs[index]) for index in rng.permutation(present)]
        arranged = self.scene.studio.arrange(things, rng)
        return specification(image_name(self.name, number), self.name, number, self.scene.look, arranged)

    def images(self, indices: Int[np.ndarray, " batch"]) -> UInt8[np.ndarray, "batch height width 3"]:
        size = self.scene.image_size
        names = [image_name(self.name, number) for number in self.kept[indices].tolist()]
        images = [self.scene.rendered.read(name, size, size) for name in names]
        return np.stack(images) if images else np.zeros((0, size, size, 3), dtype=np.uint8)

    def __len__(self) -> int:
        return len(self.kept)
