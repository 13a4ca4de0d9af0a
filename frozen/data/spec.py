"""A data set as a study names it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from frozen.data.scenes import Scene, Split, SplitName
from frozen.plain import Plain, plain


@dataclass(frozen=True)
class DatasetSpec:
    """One data set; of a grid of data sets, one point."""

    name: str
    """Unique in the study, such as shapes4x4 or shapes[n_colors=2]."""
    scene: str
    """Name of the kind of data set."""
    config: Scene
    """Its settings."""

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


def open_split(config: Scene, name: str) -> Split:
    """A split of a data set, by a name that the data set knows.

    Raises:
        DataError: data that is not there or not as it must be.
    """
    return config.open(cast("SplitName", name))


def split_size(config: Scene, name: str) -> int | None:
    """Samples of a split as far as known without opening it, or None."""
    return config.size(cast("SplitName", name))
