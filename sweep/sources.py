"""Opens what cells are made of: data sets and backbones, before anything is written."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from binding.backbones import BackboneConfig, BackboneError, load
from binding.scenes import SPLITS, DataError, Scene, SplitName
from sweep.cells import Cell, backbone_path
from sweep.extract import Source
from sweep.space import Locate, Space, StudyError, StudyProblem

_CHEAP_KINDS = ("control", "shipped")


def open_sources(cells: Iterable[Cell], others: Iterable[Cell], space: Space, locate: Locate) -> dict[Cell, Source]:
    """Content hashes of the data and weights of some cells.

    Args:
        cells: cells to be measured; everything they need is opened.
        others: cells that have a row; they get a source where that costs nothing more.
        space: the study.
        locate: finds the lines of mistakes.

    Raises:
        StudyError: with every data set or backbone that cannot be opened.
    """
    opened: dict[tuple[Scene, BackboneConfig], Source | ValueError] = {}
    fingerprints: dict[Scene, Any] = {}
    sources: dict[Cell, Source] = {}
    problems: dict[StudyProblem, None] = {}
    needed = list(cells)
    for cell in (*needed, *others):
        pair = (cell.dataset.config, cell.backbone)
        if pair not in opened:
            if cell not in needed and cell.backbone.kind not in _CHEAP_KINDS:
                continue
            opened[pair] = _open(*pair, fingerprints)
        source = opened[pair]
        if isinstance(source, ValueError):
            problems[locate(_path(space, cell, source), str(source))] = None
        else:
            sources[cell] = source
    if problems:
        raise StudyError(problems)
    return sources


def _path(space: Space, cell: Cell, error: ValueError) -> tuple[str | int, ...]:
    """Where the study says what cannot be opened."""
    return backbone_path(space, cell.backbone) if isinstance(error, BackboneError) else ("datasets",)


def _open(scene: Scene, backbone: BackboneConfig, fingerprints: dict[Scene, Any]) -> Source | ValueError:
    import torch

    try:
        if scene not in fingerprints:
            if missing := scene.missing():
                return DataError(str(missing))
            splits = {name: scene.open(name) for name in SPLITS}
            fingerprints[scene] = (
                {name: split.fingerprint for name, split in splits.items()},
                {name: len(split) for name, split in splits.items()},
                sum(split.n_skipped for split in splits.values()),
            )
        model = load(backbone, scene, torch.device("cpu"))
    except ValueError as error:
        return error
    prints, sizes, n_skipped = fingerprints[scene]
    return Source(prints, sizes, model.identity, model.weights_digest, n_skipped)


def label_fingerprints(sources: dict[Cell, Source]) -> dict[tuple[Scene, SplitName], str]:
    """Every split that occurs, with its fingerprint."""
    return {
        (cell.dataset.config, name): source.fingerprints[name] for cell, source in sources.items() for name in SPLITS
    }
