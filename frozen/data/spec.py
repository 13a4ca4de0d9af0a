"""A data set as a study names it."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any, cast

from frozen.data.dataset import Dataset
from frozen.data.readers import READERS
from frozen.data.scenes import SCENES, SPLITS, Scene, SplitName
from frozen.plain import Plain, plain


@dataclass(frozen=True)
class DatasetSpec:
    """One data set; of a grid of data sets, one point."""

    name: str
    """Unique in the study, such as shapes4x4 or shapes[n_colors=2]."""
    scene: str
    """Name of the kind of data set."""
    config: Any
    """Its settings: a `Scene`, whose object codes are known, or another `Dataset`."""

    @property
    def key(self) -> str:
        """The key of a study that says its kind: `scene`, or `data` for one without object codes."""
        return "data" if self.scene in READERS and self.scene not in SCENES else "scene"

    @property
    def entry(self) -> str:
        """Name of the study file's entry that it comes from."""
        return self.name.partition("[")[0]

    @property
    def point(self) -> dict[str, Plain]:
        """Fields in which the data sets of its entry differ, and their values here; empty outside of grids."""
        label = self.name.partition("[")[2].removesuffix("]")
        values = _by_path(plain(self.config))
        named = (part.partition("=")[0] for part in label.split(","))
        return {field: values[field] for field in named if field in values}


def _by_path(value: Plain, prefix: str = "") -> dict[str, Plain]:
    """Values by the dotted path that leads to them."""
    if not isinstance(value, dict):
        return {prefix: value}
    return {
        path: inner
        for name, item in value.items()
        for path, inner in _by_path(item, f"{prefix}.{name}" if prefix else name).items()
    }


def open_split(config: Scene | Dataset, name: str) -> Any:
    """A split of a data set, by a name that the data set knows: a `Split` of a scene, else a `DatasetSplit`.

    Raises:
        DataError: data that is not there or not as it must be.
    """
    return config.open(cast("SplitName", name))


def split_size(config: Scene | Dataset, name: str) -> int | None:
    """Samples of a split as far as known without opening it, or None."""
    return config.size(cast("SplitName", name))


def split_names(config: Scene | Dataset) -> tuple[str, ...]:
    """Names of a data set's splits; those of a scene are train, validation and test."""
    return getattr(config, "splits", SPLITS)


def split_number(name: str) -> int:
    """A number that differs between splits."""
    return SPLITS.index(name) if name in SPLITS else zlib.crc32(name.encode())


def label_names(config: Scene | Dataset) -> tuple[str, ...] | None:
    """Labels that every split has, as far as known without its data; None of most scenes, whose splits say it."""
    return getattr(config, "label_names", None)


def has_object_codes(config: Scene | Dataset) -> bool:
    """Whether it is a scene: a data set that says which objects an image shows."""
    return hasattr(type(config), "space")
