"""The cells of a study, as its read-out makes them."""

from __future__ import annotations

from typing import NamedTuple

from frozen.data.scenes import SPLITS, DataError, Scene
from frozen.problems import did_you_mean
from frozen.readout.cells import Cell, LeftOut, Mistake
from frozen.readout.measures import Dimension
from frozen.readout.readout import Readout
from frozen.readout.study import Study
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
    for made in readout.cells(study):
        if isinstance(made, Mistake):
            problems[locate(made.path, made.message)] = None
        elif isinstance(made, LeftOut):
            left_out[made] = None
        else:
            cells[made] = None
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


def _damage(scene: Scene) -> str | None:
    """What is wrong with what a data set tells of itself before it is opened."""
    if scene.missing():
        return None
    try:
        _ = scene.space
        scene.size(SPLITS[0])
    except DataError as error:
        return str(error)
    return None
