"""Labelled images on disk: what their data sets and splits share."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar, Literal, TypeVar

import numpy as np
from jaxtyping import Int, Int32, UInt8

from frozen.data.dataset import DataError, Missing, fingerprint
from frozen.data.pixels import UnreadableImageError
from frozen.data.rasters import Rasters
from frozen.data.readers._listing import Listing, chosen, digest, sound_places
from frozen.data.transform import Transform
from frozen.problems import Problem, at_least, did_you_mean, refuse

_VERSION = 1
"""Of what is read from files."""

AnyPhotoDataset = TypeVar("AnyPhotoDataset", bound="PhotoDataset")


@dataclass(frozen=True, kw_only=True)
class PhotoDataset(ABC):
    """A data set of labelled images on disk.

    Raises:
        ConfigurationError: settings out of range.
    """

    transform: Transform = field(default_factory=Transform)
    """How images and their masks are resized and cropped."""
    most: int | None = None
    """At most this many samples of each split, the first ones; null takes all."""
    per_class: int | None = None
    """At most this many samples of each class, the first ones in the order of their names; null takes all."""
    on_bad_image: Literal["raise", "skip"] = "raise"
    """What to do about an image that is missing or cannot be read: stop, or leave it out and count it. To know
    them, skip decodes every image once before the run."""

    label_meanings: ClassVar[Mapping[str, str]] = {}
    """Labels that data sets of this kind have, and what each is."""

    def __post_init__(self) -> None:
        refuse(type(self).__name__, self.problems())

    def problems(self) -> Iterator[Problem]:
        """Every broken rule."""
        yield from self.transform.problems()
        for name in ("most", "per_class"):
            if (value := getattr(self, name)) is not None:
                yield from at_least(name, value, 1)
        if self.per_class is not None and "class" not in self.label_names:
            yield Problem("per_class", "is for data sets with classes, and this one has none")

    @property
    def image_size(self) -> int:
        """Pixels a side, after the transform."""
        return self.transform.size

    @property
    def label_names(self) -> tuple[str, ...]:
        """Kinds of labels that every split has."""
        return tuple(self.label_meanings)

    @property
    @abstractmethod
    def splits(self) -> tuple[str, ...]:
        """Names of the splits."""

    @property
    @abstractmethod
    def remedy(self) -> str:
        """How to get the data."""

    @abstractmethod
    def missing(self) -> Missing | None:
        """What is not there."""

    @abstractmethod
    def listing(self, name: str) -> Listing:
        """Images and labels of a split, before any is left out.

        Raises:
            DataError: data that is not there or not as it must be.
        """

    def known_size(self, name: str) -> int | None:
        """Samples of a split as published, for as long as the data is not there; None where nobody knows."""
        del name

    def size(self, name: str) -> int | None:
        """Samples of a split, as far as known without decoding images."""
        if not self.missing():
            return len(chosen(self.listing(name), self.most, self.per_class))
        known = self.known_size(name)
        return known if known is None or self.most is None else min(known, self.most)

    def limited(self: AnyPhotoDataset, n_samples: int) -> AnyPhotoDataset:
        """The same data set with only the first `n_samples` of each split."""
        return replace(self, most=min(n_samples, self.most or n_samples))

    def open(self, name: str) -> PhotoSplit:
        """One of the splits.

        Raises:
            DataError: data that is not there or not as it must be.
            ValueError: no such split.
        """
        if name not in self.splits:
            raise ValueError(f"no split {name!r}; {did_you_mean(name, self.splits)}")
        if missing := self.missing():
            raise DataError(str(missing))
        return PhotoSplit(self, name)


class PhotoSplit:
    """One split of labelled images; which samples it has is decided in the order of the listing."""

    def __init__(self, dataset: PhotoDataset, name: str) -> None:
        self.dataset, self.name = dataset, name

    @cached_property
    def listing(self) -> Listing:
        """All that the split could have."""
        return self.dataset.listing(self.name)

    @cached_property
    def _chosen(self) -> tuple[list[int], int]:
        """Places of the samples, and how many could not be read on the way to the last of them."""
        listing, asked = self.listing, list[bool]()
        sound = None
        if self.dataset.on_bad_image == "skip":
            sound = _noted(sound_places(listing), asked)
        kept = chosen(listing, self.dataset.most, self.dataset.per_class, sound)
        if not kept:
            n_bad = asked.count(False)
            reason = f"all {n_bad} of its images cannot be read" if n_bad else "it lists no image"
            raise DataError(f"the split {self.name!r} has no sample: {reason}; {self.dataset.remedy}")
        return kept, asked.count(False)

    @property
    def kept(self) -> list[int]:
        """Places in the listing that are samples."""
        return self._chosen[0]

    @property
    def n_skipped(self) -> int:
        """Images that were left out."""
        return self._chosen[1]

    @cached_property
    def fingerprint(self) -> str:
        """Hash of labels, transform, and names and sizes of the images; their pixels are not read for it."""
        listing = self.listing
        return fingerprint(
            kind=type(self.dataset).__name__,
            version=_VERSION,
            split=self.name,
            transform=self.dataset.transform,
            images=self._identities(listing.images),
            masks={name: self._identities(masks) for name, masks in listing.masks.items()},
            labels={name: digest(values[self.kept]) for name, values in listing.labels.items()},
            names={name: list(names) for name, names in listing.names.items()},
        )

    def _identities(self, rasters: Rasters) -> str:
        """Digest of the images or masks that are samples.

        Raises:
            DataError: some are not there; the message names the first and counts them.
        """
        total, first, n_bad = hashlib.sha256(), "", 0
        for place in self.kept:
            try:
                total.update(f"{rasters.identity(place)}\n".encode())
            except (FileNotFoundError, UnreadableImageError) as error:
                reason = "no such file" if isinstance(error, FileNotFoundError) else str(error)
                first = first or f"{rasters.name(place)}: {reason}"
                n_bad += 1
        if n_bad:
            raise DataError(
                f"{first} (so it is with {n_bad} of {len(self.kept)}); {self.dataset.remedy}, "
                "or set `on_bad_image: skip`"
            )
        return total.hexdigest()

    def pixels(self, index: int) -> UInt8[np.ndarray, "height width 3"]:
        """One image at its own size, before the transform."""
        return self._read(self.listing.images, index)

    def images(self, indices: Int[np.ndarray, " batch"]) -> UInt8[np.ndarray, "batch size size 3"]:
        """The images of the given samples, after the transform."""
        side, change = self.dataset.image_size, self.dataset.transform
        images = np.empty((len(indices), side, side, 3), dtype=np.uint8)
        for image, index in zip(images, np.asarray(indices).tolist(), strict=True):
            image[:] = change.image(self._read(self.listing.images, index))
        return images

    def _masks(self, rasters: Rasters, indices: Int[np.ndarray, " batch"]) -> Int32[np.ndarray, "batch size size"]:
        side, change = self.dataset.image_size, self.dataset.transform
        masks = np.empty((len(indices), side, side), dtype=np.int32)
        for mask, index in zip(masks, np.asarray(indices).tolist(), strict=True):
            mask[:] = change.mask(self._read(rasters, index))
        return masks

    def _read(self, rasters: Rasters, index: int) -> np.ndarray:
        place = self.kept[index]
        try:
            return rasters.read(place)
        except FileNotFoundError:
            raise DataError(
                f"{rasters.name(place)}: no such file; put it there, or set `on_bad_image: skip`"
            ) from None
        except UnreadableImageError as error:
            raise DataError(
                f"{rasters.name(place)}: cannot be read as an image ({error}); get the file again, or set "
                "`on_bad_image: skip`"
            ) from error

    @property
    def label_names(self) -> tuple[str, ...]:
        """The kinds of labels there are."""
        return self.dataset.label_names

    def labels(self, name: str, indices: Int[np.ndarray, " batch"]) -> np.ndarray:
        """Labels of one kind, one a sample; masks are int32 [batch size size], through the images' transform.

        A name such as caption@4 asks for those of the sample four places further on, the first ones coming again
        after the last.

        Raises:
            ValueError: a kind of label that the data set does not have.
            DataError: a mask that cannot be read.
        """
        name, _, step = name.partition("@")
        if step:
            indices = (np.asarray(indices) + int(step)) % len(self)
        if name in self.listing.masks:
            return self._masks(self.listing.masks[name], indices)
        if name not in self.listing.labels:
            raise ValueError(f"no labels {name!r}; there are {', '.join(self.label_names)}")
        return self.listing.labels[name][np.asarray(self.kept)[np.asarray(indices)]]

    def value_names(self, name: str) -> tuple[str, ...]:
        """Readable names of the values 0, 1, .. of a label; empty where it has none."""
        return self.listing.names.get(name, ())

    @property
    def class_names(self) -> tuple[str, ...]:
        """Readable names of the classes."""
        return self.value_names("class")

    def __len__(self) -> int:
        return len(self.kept)


def _noted(flags: Iterator[bool], into: list[bool]) -> Iterator[bool]:
    for flag in flags:
        into.append(flag)
        yield flag
