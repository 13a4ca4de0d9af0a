"""What a study file says, as frozen values: every default filled in, every grid of data sets written out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from frozen.data.spec import DatasetSpec
from frozen.intervals import IntervalConfig
from frozen.models import BackboneConfig
from frozen.paths import paths_in
from frozen.plain import Plain, mapping_of
from frozen.problems import Problem, at_least, refuse
from frozen.readout.layers import Layers, resolved_layers
from frozen.readout.maps import OfferedMap


@dataclass(frozen=True, kw_only=True)
class StoreConfig:
    """How activations are kept."""

    dtype: Literal["float16", "float32"] = "float16"
    """Type of stored activations; read-outs compute in float32 either way."""
    memory_bytes: int = 4 * 10**9
    """Shared memory for activations in use."""

    def __post_init__(self) -> None:
        refuse("store", self.problems())

    def problems(self) -> Iterator[Problem]:
        """Every broken rule."""
        yield from at_least("memory", self.memory_bytes, 1)


@dataclass(frozen=True, kw_only=True)
class Published:
    """A published number, held against what the study measures."""

    column: str
    """Column of the results."""
    value: float
    """The published number."""
    tolerance: float
    """Difference that still counts as reproduced."""
    source: str = ""
    """Where it was published."""
    where: tuple[tuple[str, str], ...] = ()
    """Only cells with these values of data set, backbone or a dimension."""

    def __post_init__(self) -> None:
        refuse("published", self.problems())

    def problems(self) -> Iterator[Problem]:
        """Every broken rule."""
        yield from at_least("tolerance", self.tolerance, 0)

    def resolved(self) -> dict[str, Plain]:
        """In the form of a study file."""
        own = {"column": self.column, "value": self.value, "tolerance": self.tolerance, "source": self.source}
        return {**own, **dict(self.where)}


@runtime_checkable
class Keys(Protocol):
    """A read-out's own keys of a study, as frozen values."""

    def resolved(self) -> Mapping[str, Plain]:
        """In the form of a study file, nothing left to defaults."""
        ...


@dataclass(frozen=True)
class Study:
    """A study: the grid of its cells and how each is measured."""

    name: str
    """Results go to a folder of this name."""
    readout: str
    """Name of the read-out that turns activations into rows."""
    seed: int
    """Seed of all that is drawn by chance, unless a data set has its own."""
    datasets: tuple[DatasetSpec, ...]
    """Data sets, grids written out."""
    backbones: tuple[BackboneConfig, ...]
    """Frozen models; without the controls."""
    controls: tuple[str, ...]
    """Inputs and backbones whose answer is known beforehand."""
    intervals: IntervalConfig
    """Confidence intervals."""
    store: StoreConfig
    """How activations are kept."""
    keys: Any
    """The read-out's own keys, see `Keys`."""
    backbone_layers: tuple[Layers | None, ...] = ()
    """Layers of each backbone that names its own, None for the others; empty if none does."""
    published: tuple[Published, ...] = ()
    """Published numbers to hold the results against; no part of any cell's identity."""
    source: str = field(default="", compare=False, repr=False)
    """Text of the study file."""
    folder: Path = field(default=Path(), compare=False)
    """What its relative paths are relative to."""
    maps: tuple[OfferedMap, ...] = field(default=(), compare=False, repr=False)
    """Maps of activations that the other read-outs of its file give."""

    def layers_of(self, position: int, otherwise: Layers) -> Layers:
        """Layers of a backbone, by its place among the backbones."""
        own = self.backbone_layers[position] if self.backbone_layers else None
        return otherwise if own is None else own

    def resolved(self) -> dict[str, Plain]:
        """The study in the form of a study file, nothing left to defaults; equal studies give equal values."""
        return {
            "name": self.name,
            "readout": self.readout,
            "seed": self.seed,
            "datasets": [{"name": d.name, d.key: d.scene, **mapping_of(d.config)} for d in self.datasets],
            "backbones": [self._backbone(position) for position in range(len(self.backbones))],
            "controls": list(self.controls),
            **self.keys.resolved(),
            "intervals": mapping_of(self.intervals),
            "store": {"dtype": self.store.dtype, "memory": self.store.memory_bytes},
            "published": [number.resolved() for number in self.published],
        }

    def resolved_in(self, place: Path | None) -> dict[str, Plain]:
        """The same for a file in another folder, which says what relative paths are relative to, if there are any.

        Args:
            place: the folder; None for one that is elsewhere every time.
        """
        resolved = self.resolved()
        is_fixed = all(path == path.written for path in paths_in((self.datasets, self.backbones)))
        if is_fixed and all(Path(path).expanduser().is_absolute() for path in paths_in(self.keys)):
            return resolved
        folder = str(self.folder) if place is None else os.path.relpath(self.folder, place)
        return {"name": self.name, "folder": folder, **resolved}

    def _backbone(self, position: int) -> dict[str, Plain]:
        own = self.backbone_layers[position] if self.backbone_layers else None
        found = mapping_of(self.backbones[position])
        return found if own is None else {**found, "layers": resolved_layers(own)}
