"""The exhibits of a study, in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from frozen.data.scenes import Scene
from frozen.readout.exhibit import Exhibit
from readouts.class_embedding.exhibits._depth import depth_exhibits
from readouts.class_embedding.exhibits._heads import head_exhibits
from readouts.class_embedding.exhibits._images import image_exhibits
from readouts.class_embedding.exhibits._inspection import inspection_exhibits
from readouts.class_embedding.exhibits._removal import removal_exhibits


def exhibits(results: Path, rows: Sequence[Mapping[str, Any]], datasets: Mapping[str, Scene]) -> Iterator[Exhibit]:
    """Of every data set and backbone: curves over depth, conditions and deletion, drawings on images."""
    yield from depth_exhibits(rows)
    yield from removal_exhibits(results, rows)
    yield from image_exhibits(results, rows, datasets)
    yield from head_exhibits(results, rows, datasets)
    yield from inspection_exhibits(results, rows, datasets)
