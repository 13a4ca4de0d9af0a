"""Data sets that are read from disk: what their scenes and splits share (spec of the layouts: docs/data_sets.md)."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, repeat
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from jaxtyping import Float64, Int, UInt8
from pydantic import BaseModel, ValidationError

from frozen.data.rasters import FileRasters
from frozen.data.readable import readable
from frozen.data.scenes._base import SPLITS, DataError, Entropies, Missing, SplitName, fingerprint
from frozen.data.scenes._images import check_present, read_image
from frozen.data.scenes.codes import FeatureSpace
from frozen.git_lfs import lfs_pointer
from frozen.problems import Problem, at_least, at_most_largest_image, refuse

_VERSION = 2
"""Of what is read from files: 2 scales 16 bits, turns by EXIF and puts what is transparent on white."""

IS_PATH = {"is_path": True}
"""Metadata of fields that hold a path; in a study file it is relative to that file."""

AnyDiskScene = TypeVar("AnyDiskScene", bound="DiskScene")


@dataclass(frozen=True, kw_only=True)
class SplitSizes:
    """Consecutive samples: first those of training, then validation, then test."""

    train: int = 32_000
    """Training samples."""
    validation: int = 8_000
    """Validation samples; they pick the epoch and the hyper-parameters."""
    test: int = 5_000
    """Test samples; every reported number is theirs."""

    policy = "contiguous"

    def size(self, split: SplitName) -> int:
        """Number of samples of a split."""
        return getattr(self, split)

    def range(self, split: SplitName) -> range:
        """Positions of a split's samples."""
        start = sum(self.size(name) for name in SPLITS[: SPLITS.index(split)])
        return range(start, start + self.size(split))

    def problems(self) -> Iterator[Problem]:
        """Every broken rule."""
        for name in SPLITS:
            yield from at_least(f"split.{name}", self.size(name), 1)


@dataclass(frozen=True, kw_only=True)
class DiskScene(ABC):
    """A data set in a folder.

    Raises:
        ConfigurationError: settings out of range.
    """

    image_size: int = 224
    """Pixels a side the images are resized to, without cropping; best that of the backbone, so that they are
    resized once."""
    most: int | None = None
    """At most this many samples of each split, the first ones; null takes all."""
    on_bad_image: Literal["raise", "skip"] = "raise"
    """What to do about an image that is missing or cannot be read: stop, or leave it out and count it. To know
    them, skip decodes every image once before the run."""

    def __post_init__(self) -> None:
        refuse(type(self).__name__, self.problems())

    def problems(self) -> Iterator[Problem]:
        """Every broken rule."""
        yield from at_least("image_size", self.image_size, 8)
        yield from at_most_largest_image(self.image_size)
        if self.most is not None:
            yield from at_least("most", self.most, 1)

    def limited(self: AnyDiskScene, n_samples: int) -> AnyDiskScene:
        """The same data set with only the first `n_samples` of each split."""
        return replace(self, most=min(n_samples, self.most or n_samples))

    @property
    @abstractmethod
    def space(self) -> FeatureSpace:
        """Feature groups."""

    @property
    @abstractmethod
    def remedy(self) -> str:
        """How to get the data."""

    @abstractmethod
    def missing(self) -> Missing | None:
        """What is not there."""

    @abstractmethod
    def size(self, name: SplitName) -> int | None:
        """Samples of a split, as far as known."""

    @abstractmethod
    def open(self, name: SplitName) -> DiskSplit:
        """One of the splits; its content is read when it is first asked for."""

    def capped(self, size: int) -> int:
        """A number of samples, no more than `most`."""
        return size if self.most is None else min(size, self.most)


class DiskSplit(ABC):
    """One split of a data set on disk; which samples it has is decided in the order of the disk."""

    def __init__(self, scene: DiskScene, name: SplitName) -> None:
        self.name: SplitName = name
        self.disk = scene
        self.space = scene.space

    @abstractmethod
    def candidates(self) -> Sequence[Path]:
        """Image of every sample the split could have."""

    def admits(self, candidate: int) -> bool:
        """Whether a sample is kept, its image apart."""
        del candidate
        return True

    @abstractmethod
    def read_codes(self, kept: Sequence[int]) -> UInt8[np.ndarray, "samples objects"]:
        """Object codes of some candidates."""

    @property
    @abstractmethod
    def prior_identity(self) -> object:
        """Plain values that say which prior the labels follow."""

    @property
    @abstractmethod
    def entropies(self) -> Entropies | None:
        """Exact entropies, or None where the prior has no such form."""

    @abstractmethod
    def conditional_entropy_bits(self) -> Float64[np.ndarray, " samples"]:
        """H(O | F = f_i) in bits of every sample."""

    @abstractmethod
    def prior_log_odds(self) -> Float64[np.ndarray, "samples objects"] | None:
        """Log-odds (nats) of o_k given o_<k and F."""

    @cached_property
    def _chosen(self) -> tuple[list[int], int]:
        """Candidates that are kept, and how many were left out on the way to the last of them."""
        paths = self.candidates()
        rasters = FileRasters(Path(), list(map(str, paths)))
        sound = readable(rasters, range(len(paths))) if self.disk.on_bad_image == "skip" else repeat(True)
        kept: list[int] = []
        n_left_out = 0
        wanted = self.disk.capped(len(paths))
        for candidate, is_sound in zip(range(len(paths)), sound, strict=False):
            if len(kept) == wanted:
                break
            if is_sound and self.admits(candidate):
                kept.append(candidate)
            else:
                n_left_out += 1
        if not kept:
            reason = f"all {n_left_out} of its images were left out" if n_left_out else "it lists no image"
            raise DataError(f"the {self.name} split has no sample: {reason}; {self.disk.remedy}")
        return kept, n_left_out

    @property
    def kept(self) -> list[int]:
        """Candidates that are samples."""
        return self._chosen[0]

    @property
    def n_skipped(self) -> int:
        """Candidates that were left out."""
        return self._chosen[1]

    @cached_property
    def paths(self) -> list[Path]:
        """Image of every sample."""
        candidates = self.candidates()
        return [candidates[i] for i in self.kept]

    @cached_property
    def object_codes(self) -> UInt8[np.ndarray, "samples objects"]:
        """Object codes, read-only."""
        codes = self.read_codes(self.kept)
        codes.setflags(write=False)
        return codes

    @cached_property
    def fingerprint(self) -> str:
        """Hash of labels, prior, and names and sizes of the images: 50,000 files are not read for it."""
        sizes = check_present(self.paths, self.disk.remedy)
        files = chain.from_iterable(zip((path.name for path in self.paths), map(str, sizes), strict=True))
        return fingerprint(
            kind=type(self.disk).__name__,
            version=_VERSION,
            split=self.name,
            groups=[[group.name, *group.values] for group in self.space.groups],
            image_size=self.disk.image_size,
            prior=self.prior_identity,
            images=hashlib.sha256("\n".join(files).encode()).hexdigest(),
            codes=hashlib.sha256(np.packbits(self.object_codes, axis=1).tobytes()).hexdigest(),
        )

    def images(self, indices: Int[np.ndarray, " batch"]) -> UInt8[np.ndarray, "batch height width 3"]:
        side = self.disk.image_size
        images = np.empty((len(indices), side, side, 3), dtype=np.uint8)
        for image, index in zip(images, indices, strict=True):
            image[:] = read_image(self.paths[index], side)
        return images

    def __len__(self) -> int:
        return len(self.kept)


def find_folder(given: str | None, variable: str, contents: Sequence[str], remedy: str) -> Path | Missing:
    """A data set's folder, or what is not there of it.

    Args:
        given: the folder; None takes the environment variable.
        variable: name of the variable.
        contents: files and folders that must be in it.
        remedy: how to get them.
    """
    text = given or os.environ.get(variable, "")
    if not text:
        return Missing(f"the environment variable {variable} is not set", f"set it or `root` to the folder; {remedy}")
    root = Path(text).expanduser()
    for path in (root, *(root / name for name in contents)):
        if not path.exists():
            return Missing(f"{path} is not there", remedy)
    return root


def found(place: Path | Missing) -> Path:
    """The folder.

    Raises:
        DataError: it is not there.
    """
    if isinstance(place, Missing):
        raise DataError(str(place))
    return place


Model = TypeVar("Model", bound=BaseModel)


def read_json(path: Path, model: type[Model], remedy: str) -> Model:
    """A JSON file of a known shape.

    Raises:
        DataError: a file that is missing, no JSON, or of another shape.
    """
    try:
        return model.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; {remedy}") from None
    except ValidationError as error:
        raise DataError(f"{path}: {lfs_pointer(path) or _first_complaint(error)}; {remedy}") from None


def _first_complaint(error: ValidationError) -> str:
    details: Any = error.errors(include_url=False)[0]
    place = ".".join(map(str, details["loc"])) or "the file"
    return f"not of the expected shape, at {place}: {details['msg']}"
