"""Cells: the points of a study's grid, and their identities."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from binding.extras import Extra
from binding.fit import FitConfig
from binding.information import IntervalConfig
from binding.search import SearchConfig
from frozen.capture.views import MODES, Mode, refuses
from frozen.models import BackboneConfig, Description, describe
from frozen.readout.readout import Readout
from sweep.results.directory import IDENTITY_COLUMNS
from sweep.study.errors import did_you_mean
from sweep.study.load import (
    DatasetSpec,
    Layers,
    LayerStride,
    Locate,
    Plain,
    ProbeSpec,
    Space,
    StudyError,
    StudyProblem,
    plain,
)

SCHEMA_VERSION = 2


@dataclass(frozen=True)
class Settings:
    """What all cells of a study share."""

    readout: str
    readout_version: int
    fit: FitConfig
    search: SearchConfig
    seed: int
    n_seeds: int
    intervals: IntervalConfig
    store_dtype: str
    extras: tuple[Extra, ...] = ()

    def content(self) -> dict[str, Plain]:
        """What of them is part of identities: extras only where there are some, so that other cells keep theirs."""
        content = plain(self)
        assert isinstance(content, dict)
        return content if self.extras else {name: value for name, value in content.items() if name != "extras"}


@dataclass(frozen=True)
class Cell:
    """One measurement: a data set, a backbone, a layer, a mode and a probe family."""

    dataset: DatasetSpec
    backbone: BackboneConfig
    layer: str
    mode: Mode
    probe: ProbeSpec
    settings: Settings
    description: Description
    control: str | None = None
    """Control of a backbone: random_init or shuffled."""
    control_of: str | None = None
    """Source of the backbone it is a control of."""

    @cached_property
    def cell_id(self) -> str:
        """Hash of everything the measurement depends on, as the study file says it; data and weights apart."""
        content = {
            "schema": str(SCHEMA_VERSION),
            "dataset": _json(self.dataset),
            "backbone": _json(self.backbone),
            "layer": json.dumps(self.layer),
            "mode": json.dumps(self.mode),
            "probe": _json(self.probe),
            "settings": _json(self.settings),
        }
        if self.control is not None:
            content |= {"control": json.dumps(self.control), "control_of": json.dumps(self.control_of)}
        text = ", ".join(f"{json.dumps(name)}: {content[name]}" for name in sorted(content))
        return hashlib.sha256(f"{{{text}}}".encode()).hexdigest()[:20]

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        """Of names only, once: grids have many cells, and hashing all their settings again and again takes long.

        The same in every process, because it travels with the cell.
        """
        return zlib.crc32(
            "|".join((self.dataset.name, self.label, self.layer, self.mode, self.probe.family)).encode()
        )

    @property
    def name(self) -> str:
        """For people: data set, backbone, layer, mode and probe; the id tells apart what differs in settings only."""
        parts = (self.dataset.name, self.label, self.layer, self.mode, self.probe.family)
        return f"{' · '.join(parts)} ({self.cell_id[:8]})"

    @property
    def is_control(self) -> bool:
        """Whether it is a control: of a backbone, or an input whose answer is known beforehand."""
        return self.control is not None or self.description.is_control

    @property
    def label(self) -> str:
        """The backbone's source, the control's name, or both."""
        if self.control is not None:
            return f"{self.control}:{self.control_of}"
        return self.backbone.name if self.description.is_control else self.backbone.source

    def identity_columns(self) -> dict[str, object]:
        """The columns of a row that say which cell it is."""
        return {
            "cell_id": self.cell_id,
            "schema_version": SCHEMA_VERSION,
            "readout": self.settings.readout,
            "is_control": self.is_control,
            "control": self.control or (self.backbone.name if self.description.is_control else None),
            "control_of": self.control_of,
            "dataset": self.dataset.name,
            "dataset_entry": self.dataset.entry,
            "dataset_point": json.dumps(self.dataset.point),
            "dataset_parameters": _json(self.dataset.config),
            "backbone": self.label,
            "layer": self.layer,
            "layer_index": self.description.layer_number(self.layer),
            "depth_fraction": self.description.depth_fraction(self.layer),
            "mode": self.mode,
            "probe": self.probe.family,
            "feature_probe": (self.probe.feature_probe or self.probe.space).family,
        }


_texts: dict[int, tuple[object, str]] = {}


def _json(part: object) -> str:
    """JSON of a part of a cell, made once: thousands of cells share their parts.

    Parts are told apart by identity, because hashing one takes as long as writing it; they are kept, so that
    no other can take a part's place.
    """
    if id(part) not in _texts:
        content = part.content() if isinstance(part, Settings) else plain(part)
        _texts[id(part)] = (part, json.dumps(content, sort_keys=True))
    return _texts[id(part)][1]


class LeftOut(NamedTuple):
    """Cells of the grid that cannot be measured, and why."""

    where: str
    reason: str


class Grid(NamedTuple):
    """The cells of a study, and what was left out of it."""

    cells: tuple[Cell, ...]
    left_out: tuple[LeftOut, ...]


def make_grid(space: Space, readout: Readout, locate: Locate) -> Grid:
    """Every possible cell of a study, data set by data set, backbone by backbone.

    Raises:
        StudyError: a backbone or layer that does not exist, or a grid in which no cell is possible.
    """
    problems: dict[StudyProblem, None] = {}
    cells: dict[Cell, None] = {}
    left_out: dict[LeftOut, None] = {}
    for dataset in space.datasets:
        for source in _sources(space):
            backbone = source.backbone
            try:
                description = describe(backbone, dataset.config)
            except ValueError as error:
                problems[locate(backbone_path(space, backbone), str(error))] = None
                continue
            try:
                names = resolve_layers(source.layers, description)
            except ValueError as error:
                problems[locate(_layers_path(space, backbone), f"{backbone.source}: {error}")] = None
                continue
            for cell in _cells(space, readout, dataset, source, description, names):
                (cells if isinstance(cell, Cell) else left_out)[cell] = None  # pyright: ignore
    columns = (*IDENTITY_COLUMNS, *readout.columns)
    for number, published in enumerate(space.published):
        if published.column not in columns:
            path = ("published", number, "column")
            problems[locate(path, f"no column {published.column!r}; {did_you_mean(published.column, columns)}")] = (
                None
            )
    if not cells and not problems:
        reasons = "; ".join(f"{where}: {reason}" for where, reason in left_out)
        problems[locate((), f"no cell of the grid is possible: {reasons}")] = None
    if problems:
        raise StudyError(problems)
    return Grid(tuple(cells), tuple(left_out))


def backbone_path(space: Space, backbone: BackboneConfig) -> tuple[str | int, ...]:
    """Where a study names a backbone or control."""
    if backbone in space.backbones:
        return ("backbones", space.backbones.index(backbone))
    return ("controls", space.controls.index(backbone.name if backbone.kind == "control" else "random_init"))


def _layers_path(space: Space, backbone: BackboneConfig) -> tuple[str | int, ...]:
    """Where a study names a backbone's layers."""
    path = backbone_path(space, backbone)
    is_own = bool(space.backbone_layers) and space.backbone_layers[int(path[1])] is not None
    return (*path, "layers") if is_own else ("layers",)


class _Source(NamedTuple):
    """What cells of one backbone or control have in common."""

    backbone: BackboneConfig
    layers: Layers
    modes: tuple[Mode, ...]
    control: str | None = None
    control_of: str | None = None


def _sources(space: Space) -> Iterator[_Source]:
    """Backbones with the study's layers and modes, and their controls; other controls have one layer and mode."""
    modes: tuple[Mode, ...] = tuple(mode for mode in MODES if mode in space.modes)
    trained = [_Source(backbone, space.layers_of(i), modes) for i, backbone in enumerate(space.backbones)]
    yield from trained
    for control in space.controls:
        if control == "random_init":
            for source in trained:
                if untrained := source.backbone.untrained(space.seed):
                    yield source._replace(backbone=untrained, control=control, control_of=source.backbone.source)
        elif control == "shuffled":
            for source in trained:
                yield source._replace(control=control, control_of=source.backbone.source)
        else:
            yield _Source(BackboneConfig(source=f"control:{control}", seed=space.seed), ("all",), ("cls",))


def resolve_layers(layers: Layers, description: Description) -> list[str]:
    """Names of the layers a study asks for, in order of depth.

    Raises:
        ValueError: a layer the backbone does not have.
    """
    if layers == ("all",):
        return list(description.layers)
    blocks = [name for name in description.layers if name.isdigit()]
    if isinstance(layers, LayerStride):
        kept = set(blocks[:: -layers.every])
        return [name for name in description.layers if not name.isdigit() or name in kept]
    named = {
        blocks[layer] if isinstance(layer, int) and -len(blocks) <= layer < 0 else str(layer): layer
        for layer in layers
    }
    if missing := [str(layer) for name, layer in named.items() if name not in description.layers]:
        raise ValueError(f"there is no layer {', '.join(missing)}; it has {_layers_text(description, blocks)}")
    return [name for name in description.layers if name in named]


def _layers_text(description: Description, blocks: list[str]) -> str:
    if description.layers == ("embed", *map(str, range(len(blocks))), "final"):
        return f"embed, blocks 0 to {len(blocks) - 1}, final"
    return ", ".join(description.layers)


def _cells(
    space: Space,
    readout: Readout,
    dataset: DatasetSpec,
    source: _Source,
    description: Description,
    layers: list[str],
) -> Iterator[Cell | LeftOut]:
    settings = Settings(
        space.readout,
        readout.version,
        space.fit,
        space.search,
        space.seed,
        space.seeds,
        space.intervals,
        space.store.dtype,
        space.extras,
    )
    backbone, control, control_of = source.backbone, source.control, source.control_of
    for mode in source.modes:
        if reason := refuses(mode, description.layout):
            yield LeftOut(f"{backbone.source} · {mode}", reason)
            continue
        for probe in space.probes:
            reason = readout.refuses(probe, mode, dataset.config)
            if reason:
                if not description.is_control or not space.backbones:
                    yield LeftOut(f"{dataset.name} · {mode} · {probe.family}", reason)
                continue
            # permuted samples tell nothing at any depth: one layer is enough
            for layer in layers[-1:] if control == "shuffled" else layers:
                yield Cell(dataset, backbone, layer, mode, probe, settings, description, control, control_of)
