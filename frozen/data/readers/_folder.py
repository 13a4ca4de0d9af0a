"""Folders of images, one a class."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np

from frozen.data.dataset import DataError, Missing
from frozen.data.rasters import FileRasters
from frozen.data.readers._base import IS_PATH, Listing, PhotoDataset, find_root, named_places, split_problems
from frozen.problems import Problem

ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


@dataclass(frozen=True, kw_only=True)
class ImageFolder(PhotoDataset):
    """A folder for each split, in it a folder for each class, in that the images: ROOT/train/cat/1.jpg."""

    root: str = field(metadata=IS_PATH)
    """The folder."""
    folders: tuple[str, ...] = ("train", "val")
    """Splits, NAME or NAME=FOLDER, such as [train, test=val]; all=. has the classes in the root itself."""
    class_names: str | None = field(default=None, metadata=IS_PATH)
    """File with a line `FOLDER NAME` for each class, in the order of their numbers, such as
    LOC_synset_mapping.txt; of several names with commas between them the first counts. null names classes by
    their folders, sorted."""

    label_meanings: ClassVar[Mapping[str, str]] = {"class": "number of the image's folder"}

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        yield from split_problems("folders", self.folders)

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(named_places(self.folders))

    @property
    def remedy(self) -> str:
        return "put a folder of images for each class there, or change `root` and `folders`"

    def missing(self) -> Missing | None:
        if self.class_names and not Path(self.class_names).exists():
            return Missing(f"{self.class_names} is not there", "put it there, or leave `class_names` out")
        return find_root(self.root, tuple(named_places(self.folders).values()), self.remedy)

    def listing(self, name: str) -> Listing:
        folder = Path(self.root) / named_places(self.folders)[name]
        return self.in_folder(folder, self.classes(folder))

    def classes(self, folder: Path) -> dict[str, str]:
        """Readable names of the classes by their folder, in the order of their numbers."""
        if self.class_names is not None:
            return read_class_names(Path(self.class_names))
        folders = {Path(self.root) / place for place in named_places(self.folders).values()} | {folder}
        found = sorted({entry.name for one in folders for entry in os.scandir(one) if entry.is_dir()})
        return {name: name for name in found}

    def in_folder(self, folder: Path, classes: Mapping[str, str]) -> Listing:
        """The images of a folder with a folder for each class."""
        names, numbers = list[str](), list[int]()
        for number, wanted in enumerate(classes):
            files = images_in(folder / wanted)
            names += [f"{wanted}/{file}" for file in files]
            numbers += [number] * len(files)
        if strange := sorted({entry.name for entry in os.scandir(folder) if entry.is_dir()} - set(classes)):
            raise DataError(
                f"{folder / strange[0]}: no class of {self.class_names}; add a line, or remove the folder"
            )
        return Listing(
            FileRasters(folder, names), {"class": np.array(numbers, np.int64)}, {"class": tuple(classes.values())}
        )


def images_in(folder: Path) -> Sequence[str]:
    """Names of the images in a folder and the folders below it, sorted; none where there is no folder."""
    try:
        return _images_in(folder, folder.stat().st_mtime_ns)
    except FileNotFoundError:
        return ()


@lru_cache(maxsize=4096)
def _images_in(folder: Path, changed_at: int) -> Sequence[str]:
    del changed_at
    found = [path.relative_to(folder).as_posix() for path in folder.rglob("*")]
    return tuple(sorted(name for name in found if name.lower().endswith(ENDINGS)))


def read_class_names(path: Path) -> dict[str, str]:
    """Names of classes by their folder, from lines `FOLDER NAME, OTHER NAME`.

    Raises:
        DataError: no such file, or a folder that stands there twice.
    """
    try:
        lines = [line.split(None, 1) for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); put the list of classes there") from error
    found = {folder: (rest[0].partition(",")[0].strip() if rest else folder) for folder, *rest in lines}
    if len(found) < len(lines):
        raise DataError(f"{path}: names a folder twice; each line must name another one")
    return found
