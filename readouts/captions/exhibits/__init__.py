"""The exhibits of the captions read-out, in the order in which a report shows them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from frozen.data.spec import AnyDataset
from frozen.readout.exhibit import Exhibit
from readouts.captions.exhibits._curves import curves, orders
from readouts.captions.exhibits._ladder import ladders
from readouts.captions.exhibits._objects import objects
from readouts.captions.exhibits._pairs import pairs
from readouts.captions.exhibits._search import search
from readouts.captions.exhibits._shares import shares


def exhibits(results: Path, rows: Sequence[Mapping[str, Any]], scenes: Mapping[str, AnyDataset]) -> Iterator[Exhibit]:
    """What to show beside the tables and figures that every read-out has.

    Args:
        results: the folder of a study's results; `samples/` holds a file a cell.
        rows: result rows, of done and failed cells.
        scenes: the data sets of the study by name, scenes and photos.
    """
    yield from ladders(results, rows, scenes)
    yield from curves(rows)
    yield from orders(results, rows)
    yield from pairs(results, rows, scenes)
    yield from objects(rows)
    yield from shares(rows)
    yield from search(results, rows)
