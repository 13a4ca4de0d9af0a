"""ImageNet (ILSVRC 2012), and ImageNet-S: a part of it with masks of the class."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from frozen.data.dataset import DataError, Missing
from frozen.data.pixels import UnreadableImageError
from frozen.data.rasters import FileRasters, read_channels
from frozen.data.readers._base import IS_PATH, Listing, PhotoDataset, find_root, named_places
from frozen.data.readers._folder import ImageFolder, images_in, read_class_names
from frozen.data.readers._webdataset import read_lines
from frozen.problems import Problem, at_least

MERGED = (
    "n04356056",
    "n04355933",
    "n04493381",
    "n02808440",
    "n03642806",
    "n03832673",
    "n04008634",
    "n03773504",
    "n03887697",
    "n15075141",
)
"""Both sides of the five pairs of classes that ImageNet-S merges, such as sunglass and sunglasses."""
IGNORED = 1000
"""Value of pixels in a mask that may be of the class or not."""
_MAPPING = "LOC_synset_mapping.txt"


@dataclass(frozen=True, kw_only=True)
class ImageNet(ImageFolder):
    """ImageNet: train/WNID/ and val/WNID/, the images of val sorted into folders; classes in the order of WNIDs."""

    folders: tuple[str, ...] = ("train", "val")
    """Splits, NAME or NAME=FOLDER, such as [train, test=val]."""
    class_names: str | None = field(default=None, metadata=IS_PATH)
    """File with a class a line: `WNID NAME, OTHER NAME`, as LOC_synset_mapping.txt, or the name alone in the order of
    the WNIDs, as lists of names for CLIP. null takes ROOT/LOC_synset_mapping.txt, else the WNIDs."""

    @property
    def remedy(self) -> str:
        return "get ILSVRC 2012 from https://image-net.org, val sorted into a folder for each WNID"

    def known_size(self, name: str) -> int | None:
        """Of the whole release; splits by other folders than train and val are not known."""
        return {"train": 1_281_167, "val": 50_000}.get(named_places(self.folders)[name])

    def classes(self, folder: Path) -> dict[str, str]:
        """Names of the classes by WNID."""
        default = Path(self.root) / _MAPPING
        path = Path(self.class_names) if self.class_names else default if default.exists() else None
        if path is None:
            return super().classes(folder)
        lines = read_lines(path)
        if all(_is_wnid(line.partition(" ")[0]) for line in lines):
            return read_class_names(path)
        wnids = _folders(Path(self.root) / place for place in named_places(self.folders).values())
        if len(lines) != len(wnids):
            raise DataError(f"{path}: names {len(lines)} classes, the folders are {len(wnids)}; give one a line")
        return dict(zip(wnids, lines, strict=True))


def _folders(roots: Iterator[Path]) -> list[str]:
    return sorted({path.name for root in roots for path in root.iterdir() if path.is_dir()})


def _is_wnid(text: str) -> bool:
    return len(text) == 9 and text[0] == "n" and text[1:].isdecimal()


@dataclass(frozen=True, kw_only=True)
class ImageNetS(PhotoDataset):
    """ImageNet-S 919: validation and test images of ImageNet in 919 classes, validation with masks of the class.

    Sorted by WNID and file name. Classes have their numbers among the 1,000 of ImageNet, so that they are
    those of a classifier; masks number the 919 from 1.
    """

    root: str = field(metadata=IS_PATH)
    """The folder of ImageNetS919 and data/categories/ImageNetS_categories_im919.txt."""
    masks: bool = True
    """Whether masks are read; test images have none, so that the only split is then validation."""
    originals: str | None = field(default=None, metadata=IS_PATH)
    """Folder of ImageNet's own validation images, to read those by `mapping`; null reads ImageNetS919/validation."""
    mapping: str | None = field(default=None, metadata=IS_PATH)
    """ImageNetS_im919_mapping_validation.txt: lines `FILE WNID/FILE`, which say where ImageNet-S has an image of
    `originals`, and thereby its class."""
    exclude_merged: bool = True
    """Whether both sides of the five merged pairs of classes are left out."""
    least_per_class: int | None = None
    """Classes with fewer images are left out; null keeps all."""

    label_meanings: ClassVar[Mapping[str, str]] = {
        "class": "number among the 1,000 classes of ImageNet",
        "mask": "0 other, 1..919 the class by its place among the sorted WNIDs, 1000 either",
        "class_mask": "1 on the image's own class, 0 elsewhere",
    }

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        if (self.originals is None) != (self.mapping is None):
            yield Problem("mapping", "is for `originals`, and `originals` for `mapping`: give both or none")
        if self.least_per_class is not None:
            yield from at_least("least_per_class", self.least_per_class, 1)

    @property
    def splits(self) -> tuple[str, ...]:
        return ("validation",) if self.masks or self.originals else ("validation", "test")

    @property
    def label_names(self) -> tuple[str, ...]:
        """The class, and the masks where they are read."""
        return ("class", "mask", "class_mask") if self.masks else ("class",)

    @property
    def remedy(self) -> str:
        return "get ImageNet-S 919 from https://github.com/LUSSeg/ImageNet-S and LOC_synset_mapping.txt beside it"

    @property
    def folder(self) -> Path:
        """Where images and masks are."""
        return Path(self.root) / "ImageNetS919"

    @property
    def categories(self) -> Path:
        """The list of the 919 classes."""
        return Path(self.root) / "data" / "categories" / "ImageNetS_categories_im919.txt"

    def missing(self) -> Missing | None:
        needed = [f"ImageNetS919/{_MAPPING}", "data/categories/ImageNetS_categories_im919.txt"]
        needed += ["ImageNetS919/validation-segmentation"] * self.masks
        needed += [] if self.originals else [f"ImageNetS919/{name}" for name in self.splits]
        for path in (self.originals, self.mapping):
            if path and not Path(path).exists():
                return Missing(f"{path} is not there", self.remedy)
        return find_root(self.root, needed, self.remedy)

    def known_size(self, name: str) -> int | None:
        """Of the whole validation split; with classes left out nobody knows before the data is there."""
        whole = self.per_class is None and self.least_per_class is None and not self.exclude_merged
        return {"validation": 12_419}.get(name) if whole else None

    def listing(self, name: str) -> Listing:
        names = read_class_names(self.folder / _MAPPING)
        wnids = sorted(read_lines(self.categories))
        excluded = set(MERGED) if self.exclude_merged else set()
        images, files, own = self._images(name, [wnid for wnid in wnids if wnid not in excluded])
        numbers = {wnid: number for number, wnid in enumerate(names)}
        if strange := sorted(set(own) - set(numbers)):
            raise DataError(f"{self.folder / _MAPPING}: has no line for {strange[0]}; {self.remedy}")
        classes = np.array([numbers[wnid] for wnid in own], dtype=np.int64)
        found = dict[str, FileRasters | _ClassMasks]()
        if self.masks:
            folder = self.folder / "validation-segmentation"
            places = {wnid: place for place, wnid in enumerate(wnids, start=1)}
            masks = [f"{Path(file).with_suffix('.png')}" for file in files]
            found["mask"] = FileRasters(folder, masks, read_mask)
            found["class_mask"] = _ClassMasks(FileRasters(folder, masks, read_mask), [places[wnid] for wnid in own])
        return Listing(images, {"class": classes}, {"class": tuple(names.values())}, found)

    def _images(self, name: str, wnids: Sequence[str]) -> tuple[FileRasters, list[str], list[str]]:
        """Images, their names WNID/FILE as ImageNet-S has them, and their WNIDs; sorted by these names."""
        sources: dict[str, str] = {}
        if self.originals and self.mapping:
            root = Path(self.originals)
            for line in read_lines(Path(self.mapping)):
                source, _, wanted = line.partition(" ")
                wanted = "/".join(Path(wanted or source).parts[-2:])
                sources[wanted] = source
        else:
            root = self.folder / name
            sources = {f"{wnid}/{file}": f"{wnid}/{file}" for wnid in wnids for file in images_in(root / wnid)}
        by_wnid: dict[str, list[str]] = {wnid: [] for wnid in wnids}
        for file in sorted(sources):
            if (wnid := file.partition("/")[0]) in by_wnid:
                by_wnid[wnid].append(file)
        kept = [wnid for wnid in by_wnid if len(by_wnid[wnid]) >= (self.least_per_class or 1)]
        files = [file for wnid in kept for file in by_wnid[wnid]]
        own = [wnid for wnid in kept for _ in by_wnid[wnid]]
        return FileRasters(root, [sources[file] for file in files]), files, own

    def list_hash(self, name: str) -> str:
        """sha256 of the names of a split's samples, a line each: which images were the first of their class."""
        split = self.open(name)
        images = split.listing.images
        text = "\n".join(Path(images.name(place)).name for place in split.kept)
        return hashlib.sha256(text.encode()).hexdigest()


def read_mask(path: Path) -> np.ndarray:
    """A mask of ImageNet-S, int32 [height width]: red + 256 * green.

    Raises:
        FileNotFoundError: no such file.
        UnreadableImageError: no image in colours.
    """
    channels = read_channels(path)
    if channels.ndim != 3:
        raise UnreadableImageError("a mask of ImageNet-S has three channels, this one is grey")
    return channels[..., 0].astype(np.int32) + 256 * channels[..., 1].astype(np.int32)


class _ClassMasks:
    """Where each image shows its own class."""

    def __init__(self, masks: FileRasters, own: Sequence[int]) -> None:
        self._masks, self._own = masks, own

    def name(self, i: int) -> str:
        return self._masks.name(i)

    def identity(self, i: int) -> str:
        return f"{self._masks.identity(i)} {self._own[i]}"

    def state(self, i: int) -> str:
        return self._masks.state(i)

    def read(self, i: int) -> np.ndarray:
        return (self._masks.read(i) == self._own[i]).astype(np.int32)

    def __len__(self) -> int:
        return len(self._masks)
