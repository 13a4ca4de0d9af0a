"""What a study file says, as frozen values: every default filled in, every grid of data sets written out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal

from binding.extras import Extra
from binding.fit import FitConfig
from binding.information import IntervalConfig
from binding.search import ProbeSpace, SearchConfig
from frozen.capture.views import Mode
from frozen.data.scenes import Scene
from frozen.models import BackboneConfig
from frozen.problems import Problem, at_least, refuse

Plain = str | int | float | bool | None | list[Any] | dict[str, Any]
"""What JSON can say."""


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


@dataclass(frozen=True)
class ProbeSpec:
    """A probe family, with what is fixed and what is tuned."""

    family: str
    """Name of the family, never an alias."""
    space: ProbeSpace
    """Settings and ranges of the family."""
    feature_probe: ProbeSpace | None = None
    """Another family for the features; None for the same family and settings."""


@dataclass(frozen=True)
class LayerStride:
    """All layers, thinned out."""

    every: int
    """embed, every such block counted back from the last, and final; 1 for all layers."""

    def __post_init__(self) -> None:
        refuse("layers", self.problems())

    def problems(self) -> Iterator[Problem]:
        """Every broken rule."""
        yield from at_least("every", self.every, 1)


Layers = tuple[int | str, ...] | LayerStride
"""embed, final and numbers of blocks; ("all",) for every layer; or a stride."""


@dataclass(frozen=True, kw_only=True)
class StoreConfig:
    """How activations are kept."""

    dtype: Literal["float16", "float32"] = "float16"
    """Type of stored activations; probes compute in float32 either way."""
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
    dataset: str | None = None
    """Only cells of this data set."""
    backbone: str | None = None
    """Only cells of this backbone, as the results name it."""
    layer: str | None = None
    """Only cells of this layer."""
    mode: str | None = None
    """Only cells of this mode."""
    probe: str | None = None
    """Only cells of this probe family."""
    source: str = ""
    """Where it was published."""

    def __post_init__(self) -> None:
        refuse("published", self.problems())

    def problems(self) -> Iterator[Problem]:
        """Every broken rule."""
        yield from at_least("tolerance", self.tolerance, 0)


@dataclass(frozen=True)
class Space:
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
    layers: Layers
    """embed, final and numbers of blocks, negative ones from the end; ("all",) for every layer; or a stride."""
    modes: tuple[Mode, ...]
    """What of a layer's tokens a probe sees."""
    controls: tuple[str, ...]
    """Inputs whose answer is known beforehand, measured like a backbone of one layer."""
    probes: tuple[ProbeSpec, ...]
    """Probe families."""
    fit: FitConfig
    """How a probe is trained."""
    search: SearchConfig
    """How much a cell is tuned."""
    seeds: int
    """Times the best probe of each cell is trained anew."""
    intervals: IntervalConfig
    """Confidence intervals."""
    store: StoreConfig
    """How activations are kept."""
    keep_probes_bytes: int = 10 * 10**6
    """Most bytes of tuned probes kept of each cell."""
    backbone_layers: tuple[Layers | None, ...] = ()
    """Layers of each backbone that names its own, None for the others; empty if none does."""
    published: tuple[Published, ...] = ()
    """Published numbers to hold the results against; no part of any cell's identity."""
    extras: tuple[Extra, ...] = ()
    """Measures made beside, at the cost of more trainings."""
    source: str = field(default="", compare=False, repr=False)
    """Text of the study file."""

    def layers_of(self, position: int) -> Layers:
        """Layers of a backbone, by its place among the backbones."""
        own = self.backbone_layers[position] if self.backbone_layers else None
        return self.layers if own is None else own

    def resolved(self) -> dict[str, Plain]:
        """The study in the form of a study file, nothing left to defaults; equal spaces give equal values."""
        return {
            "name": self.name,
            "readout": self.readout,
            "seed": self.seed,
            "datasets": [{"name": d.name, "scene": d.scene, **_mapping(d.config)} for d in self.datasets],
            "backbones": [self._backbone(position) for position in range(len(self.backbones))],
            "layers": _resolved_layers(self.layers),
            "modes": list(self.modes),
            "controls": list(self.controls),
            "probes": [_resolved_probe(probe) for probe in self.probes],
            "fit": _mapping(self.fit),
            "search": _mapping(self.search),
            "seeds": self.seeds,
            "intervals": _mapping(self.intervals),
            "store": {"dtype": self.store.dtype, "memory": self.store.memory_bytes},
            "keep_probes": self.keep_probes_bytes,
            "extras": list(self.extras),
            "published": [_mapping(number) for number in self.published],
        }

    def _backbone(self, position: int) -> dict[str, Plain]:
        own = self.backbone_layers[position] if self.backbone_layers else None
        found = _mapping(self.backbones[position])
        return found if own is None else {**found, "layers": _resolved_layers(own)}


def _resolved_layers(layers: Layers) -> Plain:
    return "all" if layers == ("all",) else plain(layers)


def _resolved_probe(probe: ProbeSpec) -> dict[str, Plain]:
    other = probe.feature_probe
    return {**_resolved_space(probe.space), "feature_probe": None if other is None else _resolved_space(other)}


def _resolved_space(space: ProbeSpace) -> dict[str, Plain]:
    return {"family": space.family, **{name: plain(setting) for name, setting in space.settings}}


def _mapping(value: object) -> dict[str, Plain]:
    assert is_dataclass(value)
    return {item.name: plain(getattr(value, item.name)) for item in fields(value)}


def _by_path(value: Plain, prefix: str = "") -> dict[str, Plain]:
    """Values by the dotted path that leads to them."""
    if not isinstance(value, dict):
        return {prefix: value}
    return {
        path: inner
        for name, item in value.items()
        for path, inner in _by_path(item, f"{prefix}.{name}" if prefix else name).items()
    }


def plain(value: object) -> Plain:
    """Frozen values as JSON has them: dataclasses become mappings, tuples lists."""
    if value is None or isinstance(value, str | int | float):
        return value
    if is_dataclass(value):
        return _mapping(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    assert isinstance(value, Sequence)
    return [plain(item) for item in value]
