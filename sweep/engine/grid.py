"""The cells of a study, as its read-out makes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from frozen.capture.capture import Capture
from frozen.data.dataset import DataError
from frozen.data.spec import AnyDataset, label_names, split_names, split_size
from frozen.models import BACKBONE_CONTROLS
from frozen.problems import did_you_mean
from frozen.readout.cells import Cell, LeftOut, Mistake
from frozen.readout.grid import dataset_path
from frozen.readout.maps import OfferedMap
from frozen.readout.measures import Dimension
from frozen.readout.readout import Readout, Readouts
from frozen.readout.study import Study
from sweep.engine.needs import splits_of
from sweep.results.columns import all_columns
from sweep.study.errors import StudyError, StudyProblem
from sweep.study.load import Locate


class Grid(NamedTuple):
    """The cells of a study, and what was left out of it."""

    cells: tuple[Cell, ...]
    left_out: tuple[LeftOut, ...]
    dimensions: tuple[Dimension, ...] = ()
    """Of the read-out."""


def make_grid(study: Study, readout: Readout, locate: Locate) -> Grid:
    """Every possible cell of a study.

    Raises:
        StudyError: a backbone, layer or column that does not exist, data that is there and not as it must be, or a
            grid in which no cell is possible.
    """
    problems: dict[StudyProblem, None] = {}
    for message in dict.fromkeys(filter(None, (_damage(dataset.config) for dataset in study.datasets))):
        problems[locate(("datasets",), message)] = None
    if problems:  # nothing can be said about cells whose values are unknown
        raise StudyError(problems)
    cells: dict[Cell, None] = {}
    left_out: dict[LeftOut, None] = {}
    mistakes: list[Mistake] = []
    for made in readout.cells(study):
        if isinstance(made, Mistake):
            mistakes.append(made)
        elif isinstance(made, LeftOut):
            left_out[made] = None
        elif unknown := _unknown(made):
            problems[locate(dataset_path(study, made.dataset), unknown)] = None
        else:
            cells[made] = None
    problems |= {locate(one.path, one.message): None for one in _told_once(mistakes, study)}
    columns = all_columns(readout)
    for number, published in enumerate(study.published):
        if published.column not in columns:
            path = ("published", number, "column")
            message = f"no column {published.column!r}; {did_you_mean(published.column, columns)}"
            problems[locate(path, message)] = None
    if not cells and not problems:
        reasons = "; ".join(f"{where}: {reason}" for where, reason in left_out)
        problems[locate((), f"no cell of the grid is possible: {reasons}")] = None
    if problems:
        raise StudyError(problems)
    return Grid(tuple(cells), tuple(left_out), readout.dimensions)


def make_grids(studies: Mapping[str, Study], readouts: Readouts, locates: Mapping[str, Locate]) -> Mapping[str, Grid]:
    """The grid of each of several studies, by its read-out, in their order.

    Read-outs that give maps come before those that may need them.

    Raises:
        StudyError: with the mistakes of all of them, see `make_grid`.
    """
    grids: dict[str, Grid] = {}
    problems: list[StudyProblem] = []
    offered: list[OfferedMap] = []
    for name in sorted(studies, key=lambda name: readouts[name].reads_maps):
        study = replace(studies[name], maps=tuple(offered)) if offered else studies[name]
        try:
            grids[name] = make_grid(study, readouts[name], locates[name])
            offered += readouts[name].maps(grids[name].cells)
        except StudyError as error:
            problems += error.problems
    if problems:
        raise StudyError(problems)
    return {name: grids[name] for name in studies}


def joined(grids: Iterable[Grid]) -> Grid:
    """The grids of several read-outs as one."""
    grids = list(grids)
    dimensions = {one.name: one for grid in reversed(grids) for one in grid.dimensions}
    cells = tuple(cell for grid in grids for cell in grid.cells)
    left_out = dict.fromkeys(one for grid in grids for one in grid.left_out)
    return Grid(cells, tuple(left_out), tuple(dimensions.values()))


def _told_once(mistakes: Sequence[Mistake], study: Study) -> Iterator[Mistake]:
    """Mistakes without those of untrained twins where their backbones have some: the same is amiss with both."""
    of_backbones = any(one.path[:1] == ("backbones",) for one in mistakes)
    twins = {("controls", number) for number, name in enumerate(study.controls) if name in BACKBONE_CONTROLS}
    return (one for one in mistakes if not (of_backbones and one.path[:2] in twins))


def _unknown(cell: Cell) -> str | None:
    """What a cell needs of its data set that such a data set does not have; None where there is nothing to say."""
    config, name = cell.dataset.config, cell.dataset.name
    known, labels = split_names(config), label_names(config)
    for split in splits_of(cell):
        if split not in known:
            return f"{cell.readout} reads the split {split!r} of {name!r}; its splits are {', '.join(known)}"
    for _, need in cell.needs_of(Capture):
        absent = [label for label in need.labels if labels is not None and label.partition("@")[0] not in labels]
        if absent:
            there = f"its labels are {', '.join(labels)}" if labels else "it has none"
            return f"{cell.readout} reads the labels {absent[0]!r} of {name!r}; {there}"
    return None


def _damage(config: AnyDataset) -> str | None:
    """What is wrong with what a data set tells of itself before it is opened."""
    if config.missing():
        return None
    try:
        _ = getattr(config, "space", None)
        split_size(config, split_names(config)[0])
    except DataError as error:
        return str(error)
    return None
