"""What most read-outs declare alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from frozen.readout.cells import Cell
from frozen.readout.exhibit import ShownSample
from frozen.readout.maps import OfferedMap
from frozen.readout.measures import DepthColumn, DepthCurve, Expectation, Measure
from frozen.readout.outcome import PerImage

if TYPE_CHECKING:
    import pyarrow as pa


class ReadoutDefaults:
    """A base for read-outs: nothing optional is declared or offered, no training stops early, cells have samples."""

    extra_measures: ClassVar[tuple[Measure, ...]] = ()
    depth_curves: ClassVar[tuple[DepthCurve, ...]] = ()
    depth_columns: ClassVar[tuple[DepthColumn, ...]] = ()
    choices: ClassVar[Mapping[str, str]] = {}
    products: ClassVar[Mapping[str, str]] = {}
    files: ClassVar[Mapping[str, str]] = {}
    mild_flags: ClassVar[frozenset[str]] = frozenset()
    expectations: ClassVar[tuple[Expectation, ...]] = ()
    control_aliases: ClassVar[Mapping[str, str]] = {}
    parts: ClassVar[Mapping[str, Callable[[str | None], Iterator[str]]]] = {}
    reads_maps: ClassVar[bool] = False

    def maps(self, cells: Sequence[Cell]) -> Iterable[OfferedMap]:
        """None."""
        del cells
        return ()

    def resolved(self, cells: Sequence[Cell]) -> Iterable[str]:
        """None."""
        del cells
        return ()

    def warnings(self, cells: Sequence[Cell]) -> Iterable[str]:
        """None."""
        del cells
        return ()

    def bundle(self, cell: Cell) -> Any:
        """Every cell is a trial of its own."""
        del cell

    def is_upper_bound(self, cell: Cell) -> bool:
        """No: nothing stops early."""
        del cell
        return False

    def in_half_precision(self, cell: Cell) -> Cell:
        """The same: nothing is rounded."""
        return cell

    def has_samples(self, row: Mapping[str, Any]) -> bool:
        """Every cell has them."""
        del row
        return True

    def per_image(self, column: str, samples: pa.Table) -> PerImage | None:
        """None."""
        del column, samples

    def shown_samples(
        self, results: Path, row: Mapping[str, Any], datasets: Mapping[str, Any]
    ) -> Iterable[ShownSample]:
        """None."""
        del results, row, datasets
        return ()
