"""Drawings for the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from frozen.data.scenes import Scene


def exhibits(results: Path, rows: Sequence[Mapping[str, Any]], datasets: Mapping[str, Scene]) -> Iterator[Any]:
    """Drawings of a study's results."""
    del results, rows, datasets
    yield from ()
