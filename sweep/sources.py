"""Opens what cells are made of: data sets and backbones, before anything is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from binding.backbones import BackboneConfig, BackboneError, Identity, UnavailableError, identify
from binding.scenes import SPLITS, DataError, Scene, Split, SplitName, fingerprint
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
    contents = _Contents()
    sources: dict[Cell, Source] = {}
    problems: dict[StudyProblem, None] = {}
    needed = dict.fromkeys(cells)
    for cell in (*needed, *others):
        pair = (cell.dataset.config, cell.backbone)
        if pair not in opened:
            if cell not in needed and cell.backbone.kind not in _CHEAP_KINDS:
                continue
            opened[pair] = contents.source(*pair)
        source = opened[pair]
        if isinstance(source, ValueError):
            problems[locate(_path(space, cell, source), str(source))] = None
        else:
            sources[cell] = source
    if any(isinstance(source, UnavailableError | MissingDataError) for source in opened.values()):
        message = "with --available, what can be had is measured, and the rest of the cells is left missing"
        problems[locate((), message)._replace(line=None)] = None
    if problems:
        raise StudyError(problems)
    return sources


class MissingDataError(DataError):
    """A data set that this machine does not have."""


def unavailable(cells: Iterable[Cell]) -> dict[Cell, tuple[str, ...]]:
    """Those of some cells whose data or backbone cannot be had here, with what is missing and how to get it."""
    contents = _Contents()
    found: dict[tuple[Scene, BackboneConfig], tuple[str, ...]] = {}
    absent: dict[Cell, tuple[str, ...]] = {}
    for cell in cells:
        pair = (cell.dataset.config, cell.backbone)
        if pair not in found:
            found[pair] = contents.missing(*pair)
        if found[pair]:
            absent[cell] = found[pair]
    return absent


def _path(space: Space, cell: Cell, error: ValueError) -> tuple[str | int, ...]:
    """Where the study says what cannot be opened."""
    return backbone_path(space, cell.backbone) if isinstance(error, BackboneError) else ("datasets",)


class _Data(NamedTuple):
    """What is known of a data set's three splits."""

    fingerprints: Mapping[SplitName, str]
    sizes: Mapping[SplitName, int]
    n_skipped: int


class _Contents:
    """Content hashes, each made once: of data sets, and of backbones whatever the number of data sets."""

    def __init__(self) -> None:
        self._data: dict[Scene, _Data] = {}
        self._weights: dict[tuple[BackboneConfig, Scene | None], Identity] = {}

    def source(self, scene: Scene, backbone: BackboneConfig) -> Source | ValueError:
        """Of a data set and a backbone, or why one of them cannot be opened."""
        try:
            data, weights = self._data_of(scene), self._weights_of(backbone, scene)
        except ValueError as error:
            return error
        return Source(data.fingerprints, data.sizes, weights.name, weights.weights_digest, data.n_skipped)

    def missing(self, scene: Scene, backbone: BackboneConfig) -> tuple[str, ...]:
        """What of a data set and a backbone cannot be had; other faults are left for `source` to find."""
        absent = scene.missing()
        lines = [] if absent is None else [str(absent)]
        if absent is None or not backbone.depends_on_scene:
            try:
                self._weights_of(backbone, scene)
            except UnavailableError as error:
                lines.append(str(error))
            except ValueError:
                pass
        return tuple(lines)

    def _data_of(self, scene: Scene) -> _Data:
        if scene not in self._data:
            if missing := scene.missing():
                raise MissingDataError(str(missing))
            splits: dict[SplitName, Split] = {name: scene.open(name) for name in SPLITS}
            fingerprints: dict[SplitName, str] = {name: split.fingerprint for name, split in splits.items()}
            sizes: dict[SplitName, int] = {name: len(split) for name, split in splits.items()}
            self._data[scene] = _Data(fingerprints, sizes, sum(split.n_skipped for split in splits.values()))
        return self._data[scene]

    def _weights_of(self, backbone: BackboneConfig, scene: Scene) -> Identity:
        key = (backbone, scene if backbone.depends_on_scene else None)
        if key not in self._weights:
            self._weights[key] = identify(backbone, scene)
        return self._weights[key]


def data_fingerprint(source: Source) -> str:
    """One hash of the three splits."""
    return fingerprint(**source.fingerprints)


def label_fingerprints(sources: dict[Cell, Source]) -> dict[tuple[Scene, SplitName], str]:
    """Every split that occurs, with its fingerprint."""
    return {
        (cell.dataset.config, name): source.fingerprints[name] for cell, source in sources.items() for name in SPLITS
    }
