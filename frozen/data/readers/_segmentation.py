"""ImageNet-segmentation: images of ImageNet with the mask of their object, in one HDF5 file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from frozen.data.dataset import DataError, Missing
from frozen.data.pixels import UnreadableImageError
from frozen.data.readers._base import IS_PATH, Listing, PhotoDataset
from frozen.git_lfs import lfs_pointer

_NO_H5PY = "reading .mat files needs h5py; install it with `pip install binding-sweep[mat]`"


@dataclass(frozen=True, kw_only=True)
class ImageNetSegmentation(PhotoDataset):
    """ImageNet-segmentation (gtsegs_ijcv.mat): 4,276 images of ImageNet with the mask of their object."""

    file: str = field(metadata=IS_PATH)
    """The .mat file, which is HDF5."""

    label_meanings: ClassVar[Mapping[str, str]] = {"class_mask": "1 on the object, 0 elsewhere"}

    @property
    def splits(self) -> tuple[str, ...]:
        return ("test",)

    @property
    def remedy(self) -> str:
        return "get gtsegs_ijcv.mat from https://calvin-vision.net/bigstuff/proj-imagenet/data/gtsegs_ijcv.mat"

    def missing(self) -> Missing | None:
        if not Path(self.file).exists():
            return Missing(f"{self.file} is not there", self.remedy)
        try:
            import h5py  # noqa: F401
        except ImportError:
            return Missing(_NO_H5PY.partition(";")[0], _NO_H5PY.partition("; ")[2])
        return None

    def known_size(self, name: str) -> int | None:
        return {"test": 4_276}.get(name)

    def listing(self, name: str) -> Listing:
        del name
        path = Path(self.file)
        file = _opened(path, path.stat().st_mtime_ns)
        sizes = [len(file[key]) for key in ("value/img", "value/gt") if key in file]
        if len(sizes) != 2 or sizes[0] != sizes[1]:
            raise DataError(f"{path}: must have as many value/img as value/gt; {self.remedy}")
        return Listing(MatRasters(path, "img", sizes[0]), masks={"class_mask": MatRasters(path, "gt", sizes[0])})


class MatRasters:
    """Images or masks of the file; it is opened once in each process.

    Args:
        path: of the file.
        part: img, references to [3 width height], or gt, references to references to [width height].
        size: how many there are.
    """

    def __init__(self, path: Path, part: str, size: int) -> None:
        self._path, self._part, self._size = path, part, size

    def name(self, i: int) -> str:
        return f"{self._path}/value/{self._part}[{i}]"

    def identity(self, i: int) -> str:
        return f"{self._part} {i} {self._path.stat().st_size}"

    def state(self, i: int) -> str:
        return f"{self._path.absolute()} {self._path.stat().st_mtime_ns} {self.identity(i)}"

    def read(self, i: int) -> np.ndarray:
        try:
            file = _opened(self._path, self._path.stat().st_mtime_ns)
            found = file[file[f"value/{self._part}"][i, 0]]
            if self._part == "img":
                return np.ascontiguousarray(np.asarray(found, dtype=np.uint8).transpose(2, 1, 0))
            return np.ascontiguousarray(np.asarray(file[found[0, 0]]).T.astype(np.int32))
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise UnreadableImageError(" ".join(str(error).split())) from error

    def __len__(self) -> int:
        return self._size


@lru_cache(maxsize=2)
def _opened(path: Path, changed_at: int) -> Any:
    del changed_at
    try:
        import h5py
    except ImportError:
        raise DataError(_NO_H5PY) from None
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise DataError(f"{path}: {lfs_pointer(path) or f'cannot be read as HDF5 ({error})'}") from error
