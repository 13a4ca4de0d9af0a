"""What the engine knows of a measurement: a read-out turns a cell's activations into one row.

The engine never sees colours, shapes or codes. A read-out is found by name (`readout: binding` in the
study file) among the entry points of the group `sweep.readouts`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa
    import torch

    from frozen.data.scenes import Scene, Split, SplitName
    from frozen.intervals import IntervalConfig
    from frozen.models import TokenLayout
    from frozen.rows import ArrayRows
    from sweep.engine.grid import Cell
    from sweep.study.load import ProbeSpec, Space


@runtime_checkable
class Measure(Protocol):
    """A measured quantity of a row, as tables and figures show it.

    The row's columns `column`, `column_low` and `column_high` hold the estimate and its interval.
    """

    @property
    def column(self) -> str: ...

    @property
    def label(self) -> str: ...

    @property
    def symbol(self) -> str: ...

    @property
    def unit(self) -> Literal["bits", "ratio"]: ...

    @property
    def meaning(self) -> str: ...


Labels = Mapping[str, np.ndarray]
"""What a read-out wants to know of every sample of a split, one array a name, samples first."""


class SplitData(NamedTuple):
    """One split of a cell: stored activations (read-only) and labels, in the order of the samples."""

    activations: ArrayRows
    labels: Labels


@runtime_checkable
class Outcome(Protocol):
    """What a read-out makes of a cell."""

    @property
    def row(self) -> Mapping[str, object]:
        """Values of the read-out's columns; plain numbers, strings, lists, None."""
        ...

    @property
    def samples(self) -> pa.Table:
        """Per-sample results, enough to recompute every aggregate without training."""
        ...

    @property
    def curves(self) -> pa.Table:
        """Learning curves of everything that was tried."""
        ...

    def files(self, known: Mapping[str, object], most_probe_bytes: int) -> Mapping[str, bytes]:
        """What else is kept of the cell, by folder and suffix: `details.parquet` becomes details/CELL.parquet.

        Args:
            known: the cell's identity and digests, as its row says them.
            most_probe_bytes: how large trained probes may be; larger ones are left out.
        """
        ...


@runtime_checkable
class Exhibit(Protocol):
    """A titled drawing that a read-out adds to the report."""

    @property
    def title(self) -> str: ...

    @property
    def caption(self) -> str: ...

    @property
    def alternative(self) -> str:
        """What the drawing shows, for readers who cannot see it."""
        ...

    def draw(self) -> Any:
        """A matplotlib figure, a Vega-Lite specification (a mapping), or a PNG (bytes).

        Where the values of a specification have the fields dataset, backbone, mode or probe, the report's filters
        apply to them. Anything raised becomes a note in the report, which is written all the same.
        """
        ...


@runtime_checkable
class Method(Protocol):
    """How cells are measured, for the methods section of a paper."""

    @property
    def text(self) -> str:
        """Sentences, plain text."""
        ...

    @property
    def bibtex(self) -> tuple[str, ...]:
        """Entries of what is to be cited."""
        ...


@runtime_checkable
class Difference(Protocol):
    """A measure of one cell minus that of another, on the same samples."""

    @property
    def one(self) -> str: ...

    @property
    def other(self) -> str: ...

    @property
    def column(self) -> str: ...

    @property
    def values(self) -> tuple[float, float]: ...

    @property
    def difference(self) -> tuple[float, float, float]:
        """Value, and the bounds of its paired interval."""
        ...

    @property
    def p_value(self) -> float: ...


@runtime_checkable
class Readout(Protocol):
    """A measurement that the engine can sweep."""

    @property
    def version(self) -> int:
        """Raised when equal inputs give other numbers; part of every cell's identity."""
        ...

    @property
    def measures(self) -> tuple[Measure, ...]:
        """Headline measures, the most important first."""
        ...

    @property
    def extra_measures(self) -> tuple[Measure, ...]:
        """Measures that rows have only where their study asked for them."""
        ...

    @property
    def flag_meanings(self) -> Mapping[str, str]: ...

    @property
    def control_meanings(self) -> Mapping[str, str]:
        """What each control is, and what it must give, for readers who do not know it."""
        ...

    def refuses(self, probe: ProbeSpec, mode: str, scene: Scene) -> str | None:
        """Why a cell is impossible, or None."""
        ...

    @property
    def columns(self) -> Mapping[str, str]:
        """The read-out's columns of a row, in order, with their meaning."""
        ...

    def labels(self, split: Split) -> Labels:
        """What is stored once a split, beside the activations."""
        ...

    def cost(self, cell: Cell, sample_shape: tuple[int, ...], n_train: int) -> float:
        """About how long a cell takes, in any unit; the longest begin first."""
        ...

    def forecast_s(
        self,
        cell: Cell,
        sample_shape: tuple[int, ...],
        sizes: Mapping[SplitName, int],
        layout: TokenLayout,
        device: torch.device,
    ) -> float:
        """Seconds that a cell will take on this device, found by doing a little of its work on random data."""
        ...

    def measure(
        self,
        cell: Cell,
        data: Mapping[SplitName, SplitData],
        layout: TokenLayout,
        device: torch.device,
    ) -> Outcome:
        """Measure one cell."""
        ...

    def recompute(self, row: Mapping[str, Any], samples: pa.Table) -> Mapping[str, object]:
        """The columns of a row that follow from its per-sample results, without training.

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
        self, results: Path, rows: Sequence[Mapping[str, Any]], scenes: Mapping[str, Scene]
    ) -> Iterable[Exhibit]:
        """What the report shows beside the tables and figures that every read-out has.

        Args:
            results: the folder of the study's results, with a file a cell in `samples/` and `curves/`.
            rows: result rows, of done and failed cells.
            scenes: the study's data sets by name.
        """
        ...

    def method(self, plan: Space, rows: Sequence[Mapping[str, Any]]) -> Method:
        """What a paper says of the measurement: data sets, probes, tuning, measures, intervals.

        Args:
            plan: the study.
            rows: result rows, of done and failed cells.
        """
        ...


def measured(readout: Readout, rows: Iterable[Mapping[str, Any]]) -> tuple[Measure, ...]:
    """The headline measures, and those of the extra ones that some row has."""
    known = list(rows)
    extra = (one for one in readout.extra_measures if any(row.get(one.column) is not None for row in known))
    return (*readout.measures, *extra)


def find_readout(name: str) -> Readout:
    """The read-out of a name.

    Raises:
        ValueError: no installed package offers it.
    """
    offered = {point.name: point for point in entry_points(group="sweep.readouts")}
    if name not in offered:
        raise ValueError(f"no read-out {name!r} is installed; there is {', '.join(sorted(offered)) or 'none'}")
    return offered[name].load()()
