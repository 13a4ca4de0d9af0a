"""All exhibits of a study, in the order of the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from frozen.readout.exhibit import Exhibit
from readouts.text_decomposition.exhibits._ablation import ablations
from readouts.text_decomposition.exhibits._base import Row
from readouts.text_decomposition.exhibits._heads import heads
from readouts.text_decomposition.exhibits._masks import masks
from readouts.text_decomposition.exhibits._pictures import cosines, maps, neighbours
from readouts.text_decomposition.exhibits._spurious import group_bars, spurious


def exhibits(results: Path, rows: Sequence[Row], datasets: Mapping[str, Any]) -> Iterator[Exhibit]:
    """Curves first, then heads, then pictures."""
    yield from ablations(rows)
    yield from heads(rows)
    yield from spurious(rows)
    yield from group_bars(rows)
    yield from cosines(results, rows)
    yield from masks(rows)
    yield from maps(results, rows, datasets)
    yield from neighbours(results, rows, datasets)
