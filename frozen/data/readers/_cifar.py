"""CIFAR-10 and CIFAR-100 in the layout of their authors, read without running what a pickle may hold."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import UInt8

from frozen.data.dataset import DataError, Missing
from frozen.data.readers._base import IS_PATH, Listing, PhotoDataset, find_root
from frozen.git_lfs import lfs_pointer

_ALLOWED = {(f"{package}.multiarray", "_reconstruct") for package in ("numpy.core", "numpy._core")} | {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}
"""What arrays are made of; a pickle that names anything else is refused."""


class ArrayRasters:
    """Images in memory."""

    def __init__(self, place: str, images: UInt8[np.ndarray, "images height width 3"]) -> None:
        self._place, self._images = place, images

    def name(self, i: int) -> str:
        return f"{self._place}[{i}]"

    def identity(self, i: int) -> str:
        return hashlib.sha256(self._images[i].tobytes()).hexdigest()

    def state(self, i: int) -> str:
        return self.identity(i)

    def read(self, i: int) -> np.ndarray:
        return self._images[i]

    def __len__(self) -> int:
        return len(self._images)


@dataclass(frozen=True, kw_only=True)
class Cifar10(PhotoDataset):
    """CIFAR-10: 50,000 and 10,000 images of 32 px in 10 classes, as the authors' Python version."""

    root: str = field(metadata=IS_PATH)
    """The folder cifar-10-batches-py."""

    label_meanings: ClassVar[Mapping[str, str]] = {"class": "number of the class"}
    files: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "train": tuple(f"data_batch_{number}" for number in range(1, 6)),
        "test": ("test_batch",),
    }
    names_file: ClassVar[str] = "batches.meta"
    keys: ClassVar[Mapping[str, tuple[bytes, bytes]]] = {"class": (b"labels", b"label_names")}
    url: ClassVar[str] = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(self.files)

    @property
    def remedy(self) -> str:
        return f"unpack {self.url} and set `root` to the folder in it"

    def missing(self) -> Missing | None:
        return find_root(self.root, [*sum(self.files.values(), ()), self.names_file], self.remedy)

    def known_size(self, name: str) -> int | None:
        return {"train": 50_000, "test": 10_000}[name]

    def listing(self, name: str) -> Listing:
        folder = Path(self.root)
        parts = [_contents(folder / file) for file in self.files[name]]
        names = _contents(folder / self.names_file)
        try:
            data = np.concatenate([np.asarray(part[b"data"], np.uint8).reshape(-1, 3, 32, 32) for part in parts])
            labels = {
                label: np.array([number for part in parts for number in part[key]], dtype=np.int64)
                for label, (key, _) in self.keys.items()
            }
            found = {label: tuple(text.decode() for text in names[key]) for label, (_, key) in self.keys.items()}
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise DataError(f"{folder}: not of the layout of CIFAR ({error!r}); {self.remedy}") from error
        return Listing(ArrayRasters(str(folder / name), data.transpose(0, 2, 3, 1)), labels, found)


@dataclass(frozen=True, kw_only=True)
class Cifar100(Cifar10):
    """CIFAR-100: 50,000 and 10,000 images of 32 px in 100 classes, as the authors' Python version."""

    label_meanings: ClassVar[Mapping[str, str]] = {
        "class": "number of the fine class",
        "superclass": "number of the coarse class",
    }
    files: ClassVar[Mapping[str, tuple[str, ...]]] = {"train": ("train",), "test": ("test",)}
    names_file: ClassVar[str] = "meta"
    keys: ClassVar[Mapping[str, tuple[bytes, bytes]]] = {
        "class": (b"fine_labels", b"fine_label_names"),
        "superclass": (b"coarse_labels", b"coarse_label_names"),
    }
    url: ClassVar[str] = "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that makes containers, texts, numbers and arrays, and calls nothing else."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if (module_name, global_name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}, which no table of images needs")
        return super().find_class(module_name.replace("numpy.core", "numpy._core"), global_name)


def _contents(path: Path) -> Mapping[bytes, Any]:
    return _read(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=16)
def _read(path: Path, changed_at: int) -> Mapping[bytes, Any]:
    """A pickled mapping.

    Raises:
        DataError: a file that is damaged, or that asks for more than arrays.
    """
    del changed_at
    try:
        with path.open("rb") as file:
            found = _ArraysOnly(file, encoding="bytes").load()
    except Exception as error:  # a damaged pickle may raise anything
        reason = lfs_pointer(path) or f"cannot be read as a pickled table ({error})"
        raise DataError(f"{path}: {reason}") from error
    if not isinstance(found, dict):
        raise DataError(f"{path}: holds no mapping but {type(found).__name__}")
    return {key.encode() if isinstance(key, str) else key: value for key, value in found.items()}
