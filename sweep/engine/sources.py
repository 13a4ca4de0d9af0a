"""Opens what cells are made of: data sets and backbones, before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, NamedTuple, TypeVar

import torch

from frozen.capture.capture import Capture
from frozen.data.dataset import DataError, fingerprint
from frozen.data.spec import AnyDataset, open_split
from frozen.models import BackboneConfig, BackboneError, Identity, UnavailableError, describe, identify, load
from frozen.readout.cells import Cell
from frozen.readout.grid import backbone_path
from frozen.readout.study import Study
from sweep.engine.needs import Source, absent_files, splits_of
from sweep.results.columns import identity_columns
from sweep.study.errors import StudyError, StudyProblem
from sweep.study.load import Locate

T = TypeVar("T")
_CHEAP_KINDS = ("control", "shipped")
_LIGHT_KINDS = ("control", "shipped", "activations")
_LARGE_PARAMETERS = 50_000_000
"""A smaller model takes less than 200 MB, and less time than a process takes to start."""


def open_sources(cells: Iterable[Cell], others: Iterable[Cell], study: Study, locate: Locate) -> dict[Cell, Source]:
    """Content hashes of the data and weights of some cells.

    Args:
        cells: cells to be measured; everything they need is opened.
        others: cells that have a row; they get a source where that costs nothing more.
        study: the study.
        locate: finds the lines of mistakes.

    Raises:
        StudyError: with every data set or backbone that cannot be opened.
    """
    opened: dict[_MadeOf, Source | ValueError] = {}
    sources: dict[Cell, Source] = {}
    problems: dict[StudyProblem, None] = {}
    needed = dict.fromkeys(cells)
    with _Contents() as contents:
        for cell in (*needed, *others):
            made_of = _made_of(cell)
            is_cheap = all(backbone.kind in _CHEAP_KINDS for backbone in backbones_of(cell))
            if made_of not in opened and (cell in needed or is_cheap):
                opened[made_of] = contents.source(*made_of)
    for cell in (*needed, *others):
        if (source := opened.get(_made_of(cell))) is None:
            continue
        if isinstance(source, ValueError):
            problems[locate(_path(study, cell, source), str(source))] = None
        else:
            sources[cell] = source
    absent = absent_files(needed)
    problems |= {locate((), line)._replace(line=None): None for line in absent}
    if absent or any(isinstance(source, UnavailableError | MissingDataError) for source in opened.values()):
        message = "with --available, what can be had is measured, and the rest of the cells is left missing"
        problems[locate((), message)._replace(line=None)] = None
    if problems:
        raise StudyError(problems)
    return sources


class _Parts(NamedTuple):
    """A backbone, and whether it is needed with its classifier and its caption decoder."""

    backbone: BackboneConfig
    head: bool
    decoder: bool


_MadeOf = tuple[AnyDataset, tuple[str, ...], tuple[_Parts, ...]]


def backbones_of(cell: Cell) -> tuple[BackboneConfig, ...]:
    """A cell's own backbone, then others that its captures read."""
    return tuple(dict.fromkeys((cell.backbone, *(need.backbone for _, need in cell.needs_of(Capture)))))


def _made_of(cell: Cell) -> _MadeOf:
    needs = [need for _, need in cell.needs_of(Capture)]
    parts = [
        _Parts(
            backbone,
            any(need.needs_head for need in needs if need.backbone == backbone),
            any(need.needs_decoder for need in needs if need.backbone == backbone),
        )
        for backbone in backbones_of(cell)
    ]
    return cell.dataset.config, splits_of(cell), tuple(parts)


def open_all(
    cells: Sequence[Cell], others: Sequence[Cell], studies: Mapping[str, Study], locates: Mapping[str, Locate]
) -> dict[Cell, Source]:
    """The same for the cells of several studies, by their read-outs.

    Raises:
        StudyError: with the mistakes of all of them.
    """
    sources: dict[Cell, Source] = {}
    problems: list[StudyProblem] = []
    for name, study in studies.items():
        own, more = ([cell for cell in some if cell.readout == name] for some in (cells, others))
        try:
            sources |= open_sources(own, more, study, locates[name])
        except StudyError as error:
            problems += error.problems
    if problems:
        raise StudyError(problems)
    return sources


class MissingDataError(DataError):
    """A data set that this machine does not have."""


def unavailable(cells: Iterable[Cell]) -> dict[Cell, tuple[str, ...]]:
    """Those of some cells whose data, backbone or files are not here, with what is missing and how to get it."""
    found: dict[tuple[AnyDataset, BackboneConfig], tuple[str, ...]] = {}
    absent: dict[Cell, tuple[str, ...]] = {}
    with _Contents() as contents:
        for cell in cells:
            lines: dict[str, None] = {}
            for pair in ((cell.dataset.config, backbone) for backbone in backbones_of(cell)):
                if pair not in found:
                    found[pair] = contents.missing(*pair)
                lines |= dict.fromkeys(found[pair])
            lines |= dict.fromkeys(map(str, cell.absent))
            if lines:
                absent[cell] = tuple(lines)
    return absent


def _path(study: Study, cell: Cell, error: ValueError) -> tuple[str | int, ...]:
    """Where the study says what cannot be opened."""
    return backbone_path(study, cell.backbone) if isinstance(error, BackboneError) else ("datasets",)


class _Data(NamedTuple):
    """What is known of a split."""

    fingerprint: str
    size: int
    n_skipped: int


class _Contents:
    """Content hashes, each made once: of data sets, and of backbones whatever the number of data sets.

    A large backbone is loaded by a process of its own, which ends with the block: its weights may be gigabytes, and
    the process that drives a run lives long.
    """

    def __init__(self) -> None:
        self._loader: ProcessPoolExecutor | None = None
        self._data: dict[tuple[AnyDataset, str], _Data] = {}
        self._weights: dict[tuple[BackboneConfig, AnyDataset | None], Identity] = {}
        self._heads: dict[tuple[BackboneConfig, AnyDataset | None], str] = {}
        self._decoders: dict[tuple[BackboneConfig, AnyDataset | None], str] = {}

    def __enter__(self) -> _Contents:
        return self

    def __exit__(self, *error: object) -> None:
        if self._loader is not None:
            self._loader.shutdown()

    def _loaded(self, hash_of: Callable[[BackboneConfig, AnyDataset], T], config: BackboneConfig, scene: Any) -> T:
        """A hash for which the backbone has to be loaded."""
        if config.kind in _LIGHT_KINDS or describe(config, scene).parameters < _LARGE_PARAMETERS:
            return hash_of(config, scene)
        if self._loader is None:
            self._loader = ProcessPoolExecutor(1, get_context("spawn"))
        return self._loader.submit(hash_of, config, scene).result()

    def source(
        self, scene: AnyDataset, splits: tuple[str, ...], backbones: tuple[_Parts, ...]
    ) -> Source | ValueError:
        """Of some splits of a data set and some backbones, the first the cell's; or why one cannot be opened."""
        try:
            own, *others = (self._of_backbone(scene, splits, one) for one in backbones)
        except ValueError as error:
            return error
        pairs = zip((one.backbone for one in backbones[1:]), others, strict=True)
        return own._replace(others=tuple(pairs))

    def _of_backbone(self, scene: AnyDataset, splits: tuple[str, ...], parts: _Parts) -> Source:
        data = {name: self._data_of(scene, name) for name in splits}
        weights = self._weights_of(parts.backbone, scene)
        head = self._head_of(parts.backbone, scene) if parts.head else ""
        decoder = self._decoder_of(parts.backbone, scene) if parts.decoder else ""
        return Source(
            {name: one.fingerprint for name, one in data.items()},
            {name: one.size for name, one in data.items()},
            weights.name,
            weights.weights_digest,
            sum(one.n_skipped for one in data.values()),
            head,
            decoder,
        )

    def missing(self, scene: AnyDataset, backbone: BackboneConfig) -> tuple[str, ...]:
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

    def _data_of(self, scene: AnyDataset, name: str) -> _Data:
        if (scene, name) not in self._data:
            if missing := scene.missing():
                raise MissingDataError(str(missing))
            split = open_split(scene, name)
            self._data[scene, name] = _Data(split.fingerprint, len(split), split.n_skipped)
        return self._data[scene, name]

    def _weights_of(self, backbone: BackboneConfig, scene: AnyDataset) -> Identity:
        key = (backbone, scene if backbone.depends_on_scene else None)
        if key not in self._weights:
            self._weights[key] = self._loaded(identify, backbone, scene)
        return self._weights[key]

    def _head_of(self, backbone: BackboneConfig, scene: AnyDataset) -> str:
        key = (backbone, scene if backbone.depends_on_scene else None)
        if key not in self._heads:
            self._heads[key] = self._loaded(_head_digest, backbone, scene)
        return self._heads[key]

    def _decoder_of(self, backbone: BackboneConfig, scene: AnyDataset) -> str:
        key = (backbone, scene if backbone.depends_on_scene else None)
        if key not in self._decoders:
            self._decoders[key] = self._loaded(_decoder_digest, backbone, scene)
        return self._decoders[key]


def _head_digest(backbone: BackboneConfig, scene: AnyDataset) -> str:
    head = load(backbone, scene, torch.device("cpu"), head=True).head
    return "" if head is None else head.weights_digest


def _decoder_digest(backbone: BackboneConfig, scene: AnyDataset) -> str:
    decoder = load(backbone, scene, torch.device("cpu"), decoder=True).decoder
    return "" if decoder is None else decoder.weights_digest


def known_columns(cell: Cell, source: Source) -> dict[str, object]:
    """The columns of a row that are known before its cell is measured: its identity, and what it is made of."""
    return {
        **identity_columns(cell),
        "data_fingerprint": data_fingerprint(source),
        "n_skipped": source.n_skipped,
        "weights_digest": source.weights_digest,
    }


def data_fingerprint(source: Source) -> str:
    """One hash of the splits."""
    return fingerprint(**source.fingerprints)
