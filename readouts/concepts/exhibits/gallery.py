"""The exhibits of the read-out, in the order in which a report shows them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from frozen.data.scenes import Scene


def exhibits(results: Path, rows: Sequence[Mapping[str, Any]], scenes: Mapping[str, Scene]) -> Iterator[Any]:
    """What to show beside the tables and figures that every read-out has."""
    del results, rows, scenes
    yield from ()
