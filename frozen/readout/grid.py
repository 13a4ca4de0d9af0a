"""The part of a grid that all read-outs have: data sets, backbones and their controls, layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from frozen.data.spec import DatasetSpec
from frozen.models import BACKBONE_CONTROLS, BackboneConfig, Description, describe
from frozen.paths import written
from frozen.readout.cells import Mistake, Path
from frozen.readout.layers import Layers, resolve_layers
from frozen.readout.study import Study


@dataclass(frozen=True)
class Reading:
    """A backbone, or a control, on a data set."""

    dataset: DatasetSpec
    backbone: BackboneConfig
    description: Description
    layers: tuple[str, ...]
    """Names of the layers to read, in order of depth."""
    control: str | None = None
    """Control of a backbone: random_init or shuffled."""
    control_of: str | None = None
    """Source of the backbone it is a control of."""


@dataclass(frozen=True)
class _Source:
    backbone: BackboneConfig
    layers: Layers
    control: str | None = None
    control_of: str | None = None


def readings(study: Study, layers: Layers) -> Iterator[Reading | Mistake]:
    """Every data set with every backbone and control, in the order of the study.

    Args:
        study: the study.
        layers: of the backbones that do not name their own.
    """
    for dataset in study.datasets:
        for source in _sources(study, layers):
            try:
                description = describe(source.backbone, dataset.config)
            except ValueError as error:
                yield Mistake(backbone_path(study, source.backbone), str(error))
                continue
            try:
                names = resolve_layers(source.layers, description)
            except ValueError as error:
                path = _layers_path(study, source.backbone)
                yield Mistake(path, f"{written(source.backbone.source)}: {error}")
                continue
            yield Reading(dataset, source.backbone, description, tuple(names), source.control, source.control_of)


def dataset_path(study: Study, dataset: DatasetSpec) -> Path:
    """Where a study names a data set; those of a grid are one entry."""
    entries = list(dict.fromkeys(one.entry for one in study.datasets))
    return ("datasets", entries.index(dataset.entry))


def backbone_path(study: Study, backbone: BackboneConfig) -> Path:
    """Where a study names a backbone or control."""
    if backbone in study.backbones:
        return ("backbones", study.backbones.index(backbone))
    return ("controls", study.controls.index(backbone.name if backbone.kind == "control" else "random_init"))


def _layers_path(study: Study, backbone: BackboneConfig) -> Path:
    """Where a study names a backbone's layers."""
    path = backbone_path(study, backbone)
    is_own = bool(study.backbone_layers) and study.backbone_layers[int(path[1])] is not None
    return (*path, "layers") if is_own else ("layers",)


def _sources(study: Study, layers: Layers) -> Iterator[_Source]:
    """Backbones and their controls; other controls have one layer."""
    trained = [_Source(backbone, study.layers_of(i, layers)) for i, backbone in enumerate(study.backbones)]
    yield from trained
    for control in study.controls:
        if control not in BACKBONE_CONTROLS:
            yield _Source(BackboneConfig(source=f"control:{control}", seed=study.seed), ("all",))
            continue
        for source in trained:
            backbone = source.backbone.untrained(study.seed) if control == "random_init" else source.backbone
            if backbone is not None:
                yield _Source(backbone, source.layers, control, written(source.backbone.source))
