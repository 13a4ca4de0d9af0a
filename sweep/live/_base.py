"""What a log is, and what it is told of a cell."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import pyarrow as pa

from sweep.results.directory import Row


class Finished(NamedTuple):
    """A cell that has its row."""

    name: str
    """For people: data set, backbone, dimensions and the beginning of its id."""
    row: Row
    names: tuple[str, ...] = ()
    """Values of the read-out's dimensions by which cells of one data set and backbone are told apart."""
    depth: float = 0.0
    """Where it lies along the dimension of role depth; 0 where there is none."""
    curves: pa.Table | None = None
    """Learning curves, with a column epoch; None where nothing was trained."""
    suggestions: pa.Table | None = None
    """Hyper-parameters that were tried (`frozen.readout.outcome.SUGGESTIONS`); None where none were."""


@runtime_checkable
class Log(Protocol):
    """A view of a study that grows with every cell."""

    def begin(self) -> None:
        """The run begins, and holds its results: make what the log's tool opens, before any cell is done."""
        ...

    def cell(self, finished: Finished) -> None:
        """Add a cell, in place of what was there of it."""
        ...
