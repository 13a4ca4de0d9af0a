"""The contract between the engine and a read-out: what a measurement says of itself, and does.

A read-out is found by name (`readout: binding` in the study file) among the entry points of the group
`sweep.readouts`. The engine knows cells, needs, captures, products and rows; what they mean is the read-out's.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from frozen.paths import StudyPath
from frozen.readout.cells import Cell, LeftOut, Mistake, Path
from frozen.readout.exhibit import Exhibit, ShownSample
from frozen.readout.forms import Border
from frozen.readout.maps import OfferedMap
from frozen.readout.measures import DepthColumn, DepthCurve, Dimension, Expectation, Headline, Measure
from frozen.readout.needs import Inputs
from frozen.readout.outcome import Outcome, PerImage
from frozen.readout.study import Study

if TYPE_CHECKING:
    import pyarrow as pa
    import torch
    from pydantic import TypeAdapter

    from frozen.intervals import Estimate, IntervalConfig

LabelArrays = Mapping[str, np.ndarray]
"""What a read-out wants to know of every sample of a split, one array a name, samples first."""


@runtime_checkable
class StudyReader(Protocol):
    """Reads each part of a study by itself, so that a mistake in one part does not hide those in another."""

    def raw(self, key: str, otherwise: Any) -> Any:
        """A value as the file has it, lists as tuples."""
        ...

    def section(self, key: str, adapter: TypeAdapter) -> Any | None:
        """A section that fits its form, by default an empty mapping; None if nothing can be said about it."""
        ...

    def entries(self, key: str, adapter: TypeAdapter) -> Iterator[tuple[Path, Any]]:
        """The entries of a list and their paths, without those that nothing can be said about."""
        ...

    def note(self, path: Path, message: str) -> None:
        """Add to what is wrong."""
        ...

    def make(self, path: Path, making: Any) -> Any | None:
        """What `making` returns, or None if it raises ConfigurationError, which is noted."""
        ...

    def path(self, text: str) -> StudyPath:
        """A path of the study, which is relative to the study's folder."""
        ...

    @property
    def study(self) -> Any:
        """The file's values as their form has them; None if one of them does not fit."""
        ...


class Method(NamedTuple):
    """How cells are measured, for the methods section of a paper."""

    text: str
    """Sentences, plain text."""
    bibtex: tuple[str, ...]
    """Entries of what is to be cited."""


class Difference(NamedTuple):
    """A measure of one cell minus that of another, on the same samples."""

    one: str
    """Name of the first cell."""
    other: str
    """Name of the second cell."""
    column: str
    """The measure."""
    values: tuple[float, float]
    """Of the two cells."""
    difference: Estimate
    """With its paired interval."""
    p_value: float
    """Two-sided, that the difference is 0."""


@runtime_checkable
class Readout(Protocol):
    """A measurement that the engine can sweep."""

    @property
    def version(self) -> int:
        """Raised when equal inputs give other numbers; part of every cell's identity."""
        ...

    @property
    def keys(self) -> type[Border]:
        """The read-out's own keys of a study file; field docstrings are their documentation."""
        ...

    @property
    def dimensions(self) -> tuple[Dimension, ...]:
        """Directions of its grid, beside data set and backbone; at most one of them has the role depth."""
        ...

    @property
    def measures(self) -> tuple[Measure, ...]:
        """Headline measures, the most important first."""
        ...

    @property
    def headline(self) -> Headline:
        """What a report says first of each backbone."""
        ...

    @property
    def extra_measures(self) -> tuple[Measure, ...]:
        """Measures that rows have only where their study asked for them."""
        ...

    @property
    def depth_curves(self) -> tuple[DepthCurve, ...]:
        """What the joint report of several read-outs shows by depth; empty where nothing has a depth."""
        ...

    @property
    def depth_columns(self) -> tuple[DepthColumn, ...]:
        """What its table of layers shows beside the curves' measures."""
        ...

    @property
    def columns(self) -> Mapping[str, str]:
        """The columns of a row that its outcome fills, in order, with their meaning."""
        ...

    @property
    def grid_columns(self) -> Mapping[str, str]:
        """The columns of a row that its cell fills (`Cell.columns`), in order, with their meaning."""
        ...

    @property
    def choices(self) -> Mapping[str, str]:
        """Columns of a row that hold settings chosen for the cell, as JSON objects, and their headings."""
        ...

    @property
    def products(self) -> Mapping[str, str]:
        """Kinds of products that its cells give, with their meaning; empty for read-outs of one stage."""
        ...

    @property
    def files(self) -> Mapping[str, str]:
        """Files that the results hold of a cell beside its row, with their content; what samples and curves hold."""
        ...

    @property
    def flag_meanings(self) -> Mapping[str, str]: ...

    @property
    def mild_flags(self) -> frozenset[str]:
        """Flags that say how a number could be better; all others change how it may be read."""
        ...

    @property
    def control_meanings(self) -> Mapping[str, str]:
        """What each control that a study may name is, and what it must give, for readers who do not know it."""
        ...

    @property
    def expectations(self) -> tuple[Expectation, ...]:
        """What controls must give; a report begins with whether they did."""
        ...

    @property
    def control_aliases(self) -> Mapping[str, str]:
        """Other names of some controls."""
        ...

    @property
    def column_kinds(self) -> Mapping[str, str]:
        """What each of these columns holds in a row, by which damaged rows are told.

        One of text, truth, whole, number, list, texts (a list of them), object (JSON as text); with a question mark
        behind it where the column may be empty.
        """
        ...

    @property
    def parts(self) -> Mapping[str, Callable[[str | None], Iterator[str]]]:
        """What of its own a study can name, by kind: given a pattern of names or None, a line each."""
        ...

    def read(self, reader: StudyReader) -> Any | None:
        """The read-out's keys as frozen values (see `study.Keys`); None if they have mistakes, which are noted."""
        ...

    def cells(self, study: Study) -> Iterable[Cell | LeftOut | Mistake]:
        """Every cell of a study, data set by data set, backbone by backbone."""
        ...

    def maps(self, cells: Sequence[Cell]) -> Iterable[OfferedMap]:
        """Maps of activations that cells of a study give, for the other read-outs of its file."""
        ...

    @property
    def reads_maps(self) -> bool:
        """Whether its cells may need maps of other read-outs, so that its grid is made after theirs."""
        ...

    def resolved(self, cells: Sequence[Cell]) -> Iterable[str]:
        """What a plan tells of settings that follow from the data, such as steps a training; a line each."""
        ...

    def warnings(self, cells: Sequence[Cell]) -> Iterable[str]:
        """What a plan says of cells that can be measured and may not be worth it."""
        ...

    def bundle(self, cell: Cell) -> Hashable:
        """Cells of equal value are measured together, in one trial; None for a cell by itself."""
        ...

    def labels(self, split: Any) -> LabelArrays:
        """What is stored once a split, beside the captures.

        Args:
            split: a `Split` of a scene, else a `DatasetSplit`; what they lack, `cells` has refused.
        """
        ...

    def cost(self, cell: Cell, sizes: Mapping[str, int]) -> float:
        """About how long a cell takes, in any unit; the longest begin first.

        Args:
            cell: the cell.
            sizes: samples of each split that it needs.
        """
        ...

    def forecast_key(self, cell: Cell) -> Hashable:
        """Cells of equal value on splits of equal size take equally long, and one of them is tried."""
        ...

    def forecast_s(self, cell: Cell, sizes: Mapping[str, int], device: torch.device) -> float:
        """Seconds that a cell will take on this device, found by doing a little of its work on random data."""
        ...

    def is_upper_bound(self, cell: Cell) -> bool:
        """Whether a forecast says the most that a cell can take, because its trainings may stop early."""
        ...

    def in_half_precision(self, cell: Cell) -> Cell:
        """The cell as `auto` would measure it where bfloat16 is faster: for a forecast of what that saves."""
        ...

    def measure(self, cells: Mapping[Cell, Inputs], device: torch.device) -> Iterator[tuple[Cell, Outcome]]:
        """Measure the cells of a bundle, in any order; each is written as soon as it is there."""
        ...

    def has_samples(self, row: Mapping[str, Any]) -> bool:
        """Whether a done cell has per-sample results, from which it can be recomputed and compared."""
        ...

    def per_image(self, column: str, samples: pa.Table) -> PerImage | None:
        """A measure that bounds something (`DepthColumn.bounds`) image by image; None where that is not known.

        Args:
            column: of the measure.
            samples: per-sample results of a cell.
        """
        ...

    def recompute(self, row: Mapping[str, Any], samples: pa.Table) -> Mapping[str, object]:
        """The columns of a row that follow from its per-sample results, without measuring again.

        Raises:
            ValueError: the table is not complete.
        """
        ...

    def compare(
        self,
        cells: Mapping[str, tuple[Mapping[str, Any], pa.Table]],
        pairs: Iterable[tuple[str, str]],
        columns: Iterable[str],
        config: IntervalConfig,
        *,
        seed: int,
    ) -> Sequence[Difference]:
        """Paired differences between cells, each given as its row and per-sample results.

        Raises:
            ValueError: cells that were not measured on the same samples.
        """
        ...

    def exhibits(
        self, results: FilePath, rows: Sequence[Mapping[str, Any]], datasets: Mapping[str, Any]
    ) -> Iterable[Exhibit]:
        """What the report shows beside the tables and figures that every read-out has.

        Args:
            results: the folder of the study's results, with a file a cell in `samples/` and `curves/`.
            rows: result rows, of done and failed cells.
            datasets: the study's data sets by name, a `Scene` or a `Dataset` each.
        """
        ...

    def shown_samples(
        self, results: FilePath, row: Mapping[str, Any], datasets: Mapping[str, Any]
    ) -> Iterable[ShownSample]:
        """A few test samples of a cell, the worst first, for the cell's story in the report; none by default.

        Args:
            results: the folder of the study's results.
            row: the row of a done cell.
            datasets: the study's data sets by name.
        """
        ...

    def method(self, study: Study, rows: Sequence[Mapping[str, Any]]) -> Method:
        """What a paper says of the measurement: data sets, settings, measures, intervals.

        Args:
            study: the study.
            rows: result rows, of done and failed cells.
        """
        ...


Readouts = Mapping[str, Readout]
"""Read-outs by name."""


def measured(readout: Readout, rows: Iterable[Mapping[str, Any]]) -> tuple[Measure, ...]:
    """The headline and extra measures that some row has; all headline ones where none has any."""
    known = list(rows)
    every = (*readout.measures, *readout.extra_measures)
    return tuple(one for one in every if any(row.get(one.column) is not None for row in known)) or readout.measures


def readout_names() -> list[str]:
    """Names of the installed read-outs."""
    return sorted(_offered())


def find_readout(name: str) -> Readout:
    """The read-out of a name.

    Raises:
        ValueError: no installed package offers it.
    """
    offered = _offered()
    if name not in offered:
        raise ValueError(f"no read-out {name!r} is installed; there is {', '.join(sorted(offered)) or 'none'}")
    return offered[name].load()()


@cache
def _offered() -> dict[str, EntryPoint]:
    """Read once: it takes a hundredth of a second, and a study of several read-outs asks dozens of times."""
    return {point.name: point for point in entry_points(group="sweep.readouts")}
