"""Cells: the points of a study's grid, and their identities."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from binding.backbones import BackboneConfig, Description, describe
from binding.fit import FitConfig
from binding.information import IntervalConfig
from binding.modes import MODES, Mode, refuses
from binding.search import SearchConfig
from sweep.readout import Readout
from sweep.space import DatasetSpec, Layers, LayerStride, Locate, ProbeSpec, Space, StudyError, StudyProblem, plain

SCHEMA_VERSION = 1


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

    @cached_property
    def cell_id(self) -> str:
        """Hash of everything the measurement depends on, as the study file says it; data and weights apart."""
        content = {
            "schema": SCHEMA_VERSION,
            "dataset": plain(self.dataset),
            "backbone": plain(self.backbone),
            "layer": self.layer,
            "mode": self.mode,
            "probe": plain(self.probe),
            "settings": plain(self.settings),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:20]

    @property
    def name(self) -> str:
        """For people: data set, backbone, layer, mode and probe; the id tells apart what differs in settings only."""
        parts = (self.dataset.name, self.backbone.source, self.layer, self.mode, self.probe.family)
        return f"{' · '.join(parts)} ({self.cell_id[:8]})"

    @property
    def is_control(self) -> bool:
        """Whether the answer is known beforehand."""
        return self.description.is_control

    def identity_columns(self) -> dict[str, object]:
        """The columns of a row that say which cell it is."""
        return {
            "cell_id": self.cell_id,
            "schema_version": SCHEMA_VERSION,
            "readout": self.settings.readout,
            "is_control": self.is_control,
            "dataset": self.dataset.name,
            "dataset_parameters": json.dumps(plain(self.dataset.config), sort_keys=True),
            "backbone": self.backbone.name if self.is_control else self.backbone.source,
            "layer": self.layer,
            "layer_index": self.description.layers.index(self.layer) - (not self.is_control),
            "depth_fraction": self.description.depth_fraction(self.layer),
            "mode": self.mode,
            "probe": self.probe.family,
            "feature_probe": (self.probe.feature_probe or self.probe.space).family,
        }


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
        for backbone, layers, modes in _sources(space):
            try:
                description = describe(backbone, dataset.config)
            except ValueError as error:
                problems[locate(backbone_path(space, backbone), str(error))] = None
                continue
            try:
                names = resolve_layers(layers, description)
            except ValueError as error:
                problems[locate(_layers_path(space, backbone), f"{backbone.source}: {error}")] = None
                continue
            for cell in _cells(space, readout, dataset, backbone, description, names, modes):
                (cells if isinstance(cell, Cell) else left_out)[cell] = None  # pyright: ignore
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
    return ("controls", space.controls.index(backbone.name))


def _layers_path(space: Space, backbone: BackboneConfig) -> tuple[str | int, ...]:
    """Where a study names a backbone's layers."""
    path = backbone_path(space, backbone)
    is_own = bool(space.backbone_layers) and space.backbone_layers[int(path[1])] is not None
    return (*path, "layers") if is_own else ("layers",)


def _sources(space: Space) -> Iterator[tuple[BackboneConfig, Layers, tuple[Mode, ...]]]:
    """Backbones with the study's layers and modes; controls have one layer and are read as one vector."""
    modes: tuple[Mode, ...] = tuple(mode for mode in MODES if mode in space.modes)
    for position, backbone in enumerate(space.backbones):
        yield backbone, space.layers_of(position), modes
    for control in space.controls:
        yield BackboneConfig(source=f"control:{control}", seed=space.seed), ("all",), ("cls",)


def resolve_layers(layers: Layers, description: Description) -> list[str]:
    """Names of the layers a study asks for, in order of depth.

    Raises:
        ValueError: a layer the backbone does not have.
    """
    if layers == ("all",):
        return list(description.layers)
    n_blocks = sum(name.isdigit() for name in description.layers)
    if isinstance(layers, LayerStride):
        kept = set(range(n_blocks - 1, -1, -layers.every))
        return [name for name in description.layers if not name.isdigit() or int(name) in kept]
    named = {
        str(layer + n_blocks if isinstance(layer, int) and -n_blocks <= layer < 0 else layer): layer
        for layer in layers
    }
    if missing := [str(layer) for name, layer in named.items() if name not in description.layers]:
        raise ValueError(f"there is no layer {', '.join(missing)}; it has embed, blocks 0 to {n_blocks - 1}, final")
    return [name for name in description.layers if name in named]


def _cells(
    space: Space,
    readout: Readout,
    dataset: DatasetSpec,
    backbone: BackboneConfig,
    description: Description,
    layers: list[str],
    modes: tuple[Mode, ...],
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
    )
    for mode in modes:
        if reason := refuses(mode, description.layout):
            yield LeftOut(f"{backbone.source} · {mode}", reason)
            continue
        for probe in space.probes:
            reason = readout.refuses(probe, mode, dataset.config)
            if reason:
                if not description.is_control or not space.backbones:
                    yield LeftOut(f"{dataset.name} · {mode} · {probe.family}", reason)
                continue
            for layer in layers:
                yield Cell(dataset, backbone, layer, mode, probe, settings, description)
