"""Visual Genome with colours or top attributes (paper, section 3.2; the layout of section 4)."""

from __future__ import annotations

import hashlib
import os
from abc import abstractmethod
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float64, UInt8

from frozen.data.scenes._base import Missing, SplitName
from frozen.data.scenes._disk import IS_PATH, DiskScene, DiskSplit, SplitSizes, find_folder, found
from frozen.data.scenes._genome_entropy import (
    assignment_entropy_bits,
    batches,
    code_entropy_bits,
    code_log_odds,
    n_assignment_states,
    n_code_states,
)
from frozen.data.scenes._genome_files import (
    GenomeFiles,
    GenomeImage,
    read_images,
    read_vocabulary,
    unknown_space,
)
from frozen.data.scenes.codes import FeatureSpace
from frozen.data.scenes.priors import PriorSource
from frozen.problems import Problem, at_least

VARIABLE = "VG_DATA_DIR"
IMAGES_VARIABLE = "VG_IMG_ROOT"
_IMAGE_FOLDERS = ("VG_100K", "VG_100K_2")


@dataclass(frozen=True, kw_only=True)
class VisualGenome(DiskScene):
    """Photographs with object classes and, for each object, one attribute."""

    root: str | None = field(default=None, metadata=IS_PATH)
    """Folder with deprecated/meta_filtered_...; null takes the environment variable VG_DATA_DIR."""
    images: str | None = field(default=None, metadata=IS_PATH)
    """Folder with VG_100K and VG_100K_2; null takes the environment variable VG_IMG_ROOT, else `root`."""
    vocabulary: Literal["coco", "top50"] = "coco"
    """Which object classes the metadata keep: those of COCO, or the 50 most frequent."""
    entropy: Literal["codes", "assignments"] = "codes"
    """H(O|F) of an image. codes: of the object codes that have its features. assignments: of the ways to deal its
    attributes out to its objects, as in the paper; it exceeds the former, so B*_direct is then no lower bound."""
    max_states: int = 16_384
    """An image whose entropies or prior need more states than this is left out and counted: 2^(attributes + 1), and
    for assignments the product of (occurrences + 1) over its attributes."""
    split: SplitSizes = field(default_factory=lambda: SplitSizes(train=8_000, validation=2_000, test=2_000))
    """Sizes of the splits, which are consecutive; used only where there is no split_dataset.json."""

    kind: ClassVar[str]

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        yield from at_least("max_states", self.max_states, 4)
        yield from self.split.problems()

    @property
    def remedy(self) -> str:
        return "`python -m frozen.data.scenes.mine_visual_genome --help` says how to make it from the public release"

    @property
    def space(self) -> FeatureSpace:
        if isinstance(self.metadata(), Missing):
            return unknown_space(self.kind)
        return read_vocabulary(self.files(), self.remedy).space

    def metadata(self) -> Path | Missing:
        """The folder of the metadata, or what is not there of it."""
        name = f"meta_filtered_{self.kind}_{self.vocabulary}"
        files = GenomeFiles(Path("deprecated") / name, self.kind)
        place = find_folder(self.root, VARIABLE, [str(path) for path in files.needed], self.remedy)
        return place if isinstance(place, Missing) else place / files.folder

    def files(self) -> GenomeFiles:
        """The metadata files.

        Raises:
            DataError: they are not there.
        """
        return GenomeFiles(found(self.metadata()), self.kind)

    def image_folder(self) -> Path | Missing:
        """The folder of the images, or what is not there of it."""
        text = self.images or os.environ.get(IMAGES_VARIABLE) or self.root or os.environ.get(VARIABLE, "")
        folder = Path(text).expanduser()
        if not any((folder / name).is_dir() for name in _IMAGE_FOLDERS):
            what = f"{folder} has no folder {' or '.join(_IMAGE_FOLDERS)}"
            return Missing(what, "unpack the images of Visual Genome there, or set VG_IMG_ROOT or `images`")
        return folder

    def missing(self) -> Missing | None:
        for place in (self.metadata(), self.image_folder()):
            if isinstance(place, Missing):
                return place
        return None

    def size(self, name: SplitName) -> int | None:
        return None if isinstance(self.metadata(), Missing) else self.capped(len(self.samples(name)))

    def samples(self, name: SplitName) -> list[GenomeImage]:
        """Images that a split could have.

        Raises:
            DataError: metadata that are not there or not as they must be.
        """
        everything = read_images(self.files(), self.remedy)
        if everything.listed is None:
            positions = self.split.range(name)
            return list(everything.images[positions.start : positions.stop])
        return [everything.images[position] for position in everything.listed[name]]

    @abstractmethod
    def open(self, name: SplitName) -> GenomeSplit: ...


@dataclass(frozen=True, kw_only=True)
class VgColor(VisualGenome):
    """Photographs with object classes and, for each object, one colour."""

    kind: ClassVar[str] = "color"

    def open(self, name: SplitName) -> GenomeSplit:
        return GenomeSplit(self, name)


@dataclass(frozen=True, kw_only=True)
class VgTopAttr(VisualGenome):
    """Photographs with object classes and, for each object, one of the most frequent attributes."""

    kind: ClassVar[str] = "topattr"

    def open(self, name: SplitName) -> GenomeSplit:
        return GenomeSplit(self, name)


class GenomeSplit(DiskSplit):
    """One split of Visual Genome."""

    def __init__(self, scene: VisualGenome, name: SplitName) -> None:
        super().__init__(scene, name)
        self._scene = scene

    prior_source: PriorSource = "estimated"
    """From how often classes and attributes occur together in the data set."""

    @property
    def entropies(self) -> None:
        """None: nothing says how probable the features of an image are."""

    @cached_property
    def _samples(self) -> list[GenomeImage]:
        return self._scene.samples(self.name)

    @cached_property
    def _kept(self) -> list[GenomeImage]:
        return [self._samples[candidate] for candidate in self.kept]

    @cached_property
    def _probability(self) -> np.ndarray:
        return read_vocabulary(self._scene.files(), self._scene.remedy).probability

    @cached_property
    def _log_weight(self) -> Float64[np.ndarray, "classes attributes"]:
        """log(exp(mu) - 1), mu the mean number of an object in an image of the training split."""
        train = self._scene.samples("train")
        per_image = sum(len(image.instances) for image in train) / max(1, len(train))
        return np.log(np.expm1((per_image or 1.0) * self._probability))

    def candidates(self) -> Sequence[Path]:
        return self._candidates

    @cached_property
    def _candidates(self) -> list[Path]:
        samples = self._samples
        folder = found(self._scene.image_folder())
        return [folder.joinpath(*image.place) for image in samples]

    def admits(self, candidate: int) -> bool:
        counts = Counter(attribute for _, attribute in self._samples[candidate].instances).values()
        states = n_code_states(len(counts))
        if self._scene.entropy == "assignments":
            states = max(states, n_assignment_states(list(counts)))
        return states <= self._scene.max_states

    def read_codes(self, kept: Sequence[int]) -> UInt8[np.ndarray, "samples objects"]:
        codes = np.zeros((len(kept), *self.space.sizes), dtype=np.uint8)
        for code, candidate in zip(codes, kept, strict=True):
            for pair in self._samples[candidate].instances:
                code[pair] = 1
        return codes.reshape(len(kept), -1)

    @property
    def prior_identity(self) -> object:
        content = (self._log_weight.tolist(), [image.instances for image in self._kept])
        return [self._scene.entropy, hashlib.sha256(repr(content).encode()).hexdigest()]

    def conditional_entropy_bits(self) -> Float64[np.ndarray, " samples"]:
        """H(O | F = f_i), of codes or of assignments; 0 for an image without objects."""
        if self._scene.entropy == "assignments":
            return self._assignment_bits()
        bits = np.zeros(len(self))
        for members, classes, attributes in self._by_features():
            bits[members] = code_entropy_bits(self._log_weight[classes[:, :, None], attributes[:, None]])
        return bits

    def prior_log_odds(self) -> Float64[np.ndarray, "samples objects"]:
        odds = np.full((len(self), *self.space.sizes), -np.inf)
        codes = self.object_codes.reshape(odds.shape)
        for members, classes, attributes in self._by_features():
            place = (members[:, None, None], classes[:, :, None], attributes[:, None])
            odds[place] = code_log_odds(self._log_weight[place[1:]], codes[place])
        return odds.reshape(len(self), -1)

    def _by_features(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Samples with as many present classes and attributes: their numbers, classes and attributes."""
        codes = self.object_codes.reshape(len(self), *self.space.sizes)
        classes, attributes = codes.max(axis=2) > 0, codes.max(axis=1) > 0
        shapes = np.stack([classes.sum(axis=1), attributes.sum(axis=1)], axis=1)
        for n_classes, n_attributes in np.unique(shapes[shapes[:, 0] > 0], axis=0).tolist():
            members = np.flatnonzero((shapes == (n_classes, n_attributes)).all(axis=1))
            for part in batches((n_classes * n_attributes + 1, n_code_states(n_attributes)), members):
                yield (
                    part,
                    np.nonzero(classes[part])[1].reshape(len(part), n_classes),
                    np.nonzero(attributes[part])[1].reshape(len(part), n_attributes),
                )

    def _assignment_bits(self) -> Float64[np.ndarray, " samples"]:
        bits = np.zeros(len(self))
        log_probability = np.log(self._probability)
        shapes: dict[tuple[int, ...], list[tuple[int, list[int]]]] = defaultdict(list)
        for sample, image in enumerate(self._kept):
            counts = Counter(attribute for _, attribute in image.instances).most_common()
            if counts:
                shapes[tuple(count for _, count in counts)].append((sample, [attribute for attribute, _ in counts]))
        for counts, group in shapes.items():
            for part in batches((n_assignment_states(counts), len(counts)), np.arange(len(group))):
                samples, attributes = zip(*(group[i] for i in part), strict=True)
                classes = np.array([[c for c, _ in self._kept[sample].instances] for sample in samples])
                log_weights = log_probability[classes[:, :, None], np.array(attributes)[:, None]]
                bits[list(samples)] = assignment_entropy_bits(log_weights, counts)
        return bits
