"""The metadata files of filtered Visual Genome: their shape, and the vocabulary and instances they hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64
from pydantic import AliasChoices, BaseModel, Field, RootModel

from frozen.data.scenes._base import DataError, SplitName
from frozen.data.scenes._disk import read_json
from frozen.data.scenes.codes import FeatureGroup, FeatureSpace

_NEVER_SEEN = 1e-12


class Instance(BaseModel):
    """One object of an image."""

    object_class: str | None = None
    attributes: list[str] = Field(
        default_factory=list, validation_alias=AliasChoices("attributes_color", "attributes_topattr")
    )


class ImageMetadata(BaseModel):
    """One image."""

    image_id: int
    image_url: str
    attributes: list[Instance] = Field(default_factory=list)


class _Metadata(RootModel[list[ImageMetadata]]):
    pass


class _Statistics(BaseModel):
    classes: list[str] = Field(validation_alias="selected_object_classes")
    attributes: list[str] = Field(
        validation_alias=AliasChoices("selected_color_attributes", "selected_topattr_attributes")
    )
    class_counts: dict[str, float] = Field(default_factory=dict, validation_alias="selected_object_occurrences")
    attribute_counts: dict[str, float] = Field(
        default_factory=dict, validation_alias="selected_attribute_occurrences"
    )
    pair_counts: dict[str, dict[str, float]] = Field(
        validation_alias=AliasChoices("object_to_color_attribute_occurrences", "object_to_topk_attribute_occurrences")
    )


class _SplitIds(BaseModel):
    train: list[int]
    validation: list[int] = Field(validation_alias=AliasChoices("validation", "val"))
    test: list[int]


@dataclass(frozen=True)
class GenomeFiles:
    """Where the metadata of one choice of vocabulary lies."""

    folder: Path
    kind: str
    """color or topattr."""

    @property
    def metadata(self) -> Path:
        return self.folder / f"attributes_filtered_{self.kind}.json"

    @property
    def statistics(self) -> Path:
        return self.folder / f"vg_stats_filtered_{self.kind}.json"

    @property
    def splits(self) -> Path:
        """May be absent."""
        return self.folder / "split_dataset.json"

    @property
    def needed(self) -> tuple[Path, Path]:
        return self.metadata, self.statistics


class Vocabulary(NamedTuple):
    """Classes and attributes, most frequent first, and how often they come together."""

    space: FeatureSpace
    no_value: str
    probability: Float64[np.ndarray, "classes attributes"]
    """p(class, attribute) of an instance; 1e-12 more than its share, so that nothing is impossible."""


def read_vocabulary(files: GenomeFiles, remedy: str) -> Vocabulary:
    """The statistics file.

    Raises:
        DataError: a file that is missing or of another shape, or counts no instance.
    """
    return _vocabulary(files, _changed_at(files.statistics), remedy)


@lru_cache(maxsize=4)
def _vocabulary(files: GenomeFiles, changed_at: int, remedy: str) -> Vocabulary:
    del changed_at
    statistics = read_json(files.statistics, _Statistics, remedy)
    no_value = "no_color" if files.kind == "color" else "no_attribute"
    classes = _by_frequency(statistics.classes, statistics.class_counts)
    attributes = statistics.attributes + [no_value] * (no_value not in statistics.attributes)
    attributes = _by_frequency(attributes, statistics.attribute_counts)
    counts = np.array([[statistics.pair_counts.get(c, {}).get(a, 0.0) for a in attributes] for c in classes])
    if not counts.sum() > 0:
        raise DataError(f"{files.statistics}: counts no object of the vocabulary with an attribute; {remedy}")
    groups = (FeatureGroup("object", tuple(classes)), FeatureGroup(_GROUP[files.kind], tuple(attributes)))
    return Vocabulary(FeatureSpace(groups), no_value, counts / counts.sum() + _NEVER_SEEN)


_GROUP = {"color": "color", "topattr": "attribute"}


def unknown_space(kind: str) -> FeatureSpace:
    """What is known of the space without the statistics file."""
    return FeatureSpace.of(object=("?",), **{_GROUP[kind]: ("?",)})


def _by_frequency(names: list[str], counts: dict[str, float]) -> list[str]:
    return sorted(names, key=lambda name: (-counts.get(name, 0), name)) if counts else names


class GenomeImage(NamedTuple):
    """One image: where it lies, and class and attribute of its kept instances."""

    place: tuple[str, str]
    """Folder and name of the file."""
    instances: tuple[tuple[int, int], ...]


class GenomeImages(NamedTuple):
    """All images, and which of them the split file gives to which split."""

    images: tuple[GenomeImage, ...]
    listed: dict[SplitName, tuple[int, ...]] | None
    """Positions in `images`; None without a split file."""


def read_images(files: GenomeFiles, remedy: str) -> GenomeImages:
    """The metadata file and, if there is one, the split file.

    Raises:
        DataError: files that are missing or of another shape, an image listed twice.
    """
    changes = (_changed_at(files.metadata), _changed_at(files.statistics), _changed_at(files.splits))
    return _images(files, changes, remedy)


@lru_cache(maxsize=2)
def _images(files: GenomeFiles, changes: tuple[int, ...], remedy: str) -> GenomeImages:
    del changes
    vocabulary = read_vocabulary(files, remedy)
    records = read_json(files.metadata, _Metadata, remedy).root
    positions = {record.image_id: position for position, record in enumerate(records)}
    _refuse_duplicates((record.image_id for record in records), files.metadata, remedy)
    images = tuple(_image(record, vocabulary, files.metadata) for record in records)
    if not files.splits.exists():
        return GenomeImages(images, None)
    ids = read_json(files.splits, _SplitIds, remedy)
    lists: dict[SplitName, list[int]] = {"train": ids.train, "validation": ids.validation, "test": ids.test}
    _refuse_duplicates((number for numbers in lists.values() for number in numbers), files.splits, remedy)
    listed: dict[SplitName, tuple[int, ...]] = {
        name: tuple(sorted(positions[n] for n in numbers if n in positions)) for name, numbers in lists.items()
    }
    return GenomeImages(images, listed)


def _refuse_duplicates(numbers: Iterable[int], path: Path, remedy: str) -> None:
    duplicates = [number for number, count in Counter(numbers).items() if count > 1]
    if duplicates:
        raise DataError(f"{path}: image_id {duplicates[0]} occurs twice ({len(duplicates)} ids do); {remedy}")


def _image(record: ImageMetadata, vocabulary: Vocabulary, path: Path) -> GenomeImage:
    parts = PurePosixPath(record.image_url).parts
    if len(parts) < 2:
        raise DataError(
            f"{path}: image_url {record.image_url!r} of image {record.image_id} must end in FOLDER/NAME.jpg"
        )
    classes, attributes = (_positions(group) for group in vocabulary.space.groups)
    no_value = attributes[vocabulary.no_value]
    named = {value: position for value, position in attributes.items() if position != no_value}
    instances = tuple(
        (
            classes[instance.object_class],
            next((named[a] for a in instance.attributes if a in named), no_value),
        )
        for instance in record.attributes
        if instance.object_class in classes
    )
    return GenomeImage((parts[-2], parts[-1]), instances)


@lru_cache(maxsize=8)
def _positions(group: FeatureGroup) -> dict[str | None, int]:
    return {value: position for position, value in enumerate(group.values)}


def _changed_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
