"""The exhibits of a study, in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from frozen.data.scenes import Scene
from frozen.readout.readout import Exhibit


def exhibits(results: Path, rows: Sequence[Mapping[str, Any]], datasets: Mapping[str, Scene]) -> Iterator[Exhibit]:
    """Of every data set and backbone."""
    del results, rows, datasets
    yield from ()
