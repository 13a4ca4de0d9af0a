"""What has to be extracted: everything that the missing cells need, in one forward pass an image.

A pass is one data set, split and backbone. Its samples are cut into blocks; a block is a call of an
extractor actor, pinned to a GPU where there are any, and gives one table for each capture. Blocks
are deterministic, so that Ray may repeat them, and a run that was killed goes on at the next block.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from frozen.capture.captures import Capture, View
from frozen.capture.views import shape
from frozen.data.scenes import SPLITS, Scene, Split
from frozen.models import BackboneConfig, Batch
from frozen.readout.cells import Cell
from sweep.engine.needs import Graph, splits_of

BLOCK_SAMPLES = 512


class Output(NamedTuple):
    """One entry of the store that a pass makes."""

    reduction: View
    key: str


@dataclass(frozen=True)
class Pass:
    """One split of one data set through one backbone."""

    scene: Scene
    split: str
    backbone: BackboneConfig
    outputs: tuple[Output, ...]
    dtype: str
    n_samples: int

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return -(-self.n_samples // BLOCK_SAMPLES)

    def descriptions(self) -> dict[str, dict[str, object]]:
        """What the store notes of each entry, by its key."""
        common = {"backbone": self.backbone.source, "split": self.split, "dtype": self.dtype}
        return {output.key: {**common, **output.reduction.key()} for output in self.outputs}

    @property
    def pooled(self) -> set[str]:
        """Keys of the entries that are small."""
        return {output.key for output in self.outputs if output.reduction.is_pooled}

    def block_samples(self, block: int) -> int:
        """Number of samples of a block; the last one may be shorter."""
        return len(self.samples(block))

    def samples(self, block: int) -> np.ndarray:
        """Indices of a block's samples in the split."""
        return np.arange(block * BLOCK_SAMPLES, min((block + 1) * BLOCK_SAMPLES, self.n_samples))


def plan_passes(cells: Iterable[Cell], graph: Graph, present: set[str]) -> list[Pass]:
    """Passes that make every capture the cells need and the store lacks, each once."""
    claimed = set(present)
    wanted: dict[tuple[Any, ...], dict[Output, None]] = {}
    for cell in cells:
        keys, sizes = graph.keys(cell), graph.sources[cell].sizes
        for name, need in cell.needs_of(Capture):
            key = keys[name]
            if key not in claimed:
                claimed.add(key)
                group = (need.dataset.config, need.split, need.backbone, need.dtype, sizes[need.split])
                wanted.setdefault(group, {})[Output(need.reduction, key)] = None
    return [
        Pass(scene, split, backbone, tuple(outputs), dtype, size)
        for (scene, split, backbone, dtype, size), outputs in wanted.items()
    ]


def make_batch(split: Split, indices: np.ndarray, *, images: bool) -> Batch:
    """Samples of a split as a backbone sees them; images are rendered only for those that look."""
    codes = split.object_codes[indices]
    pictures = split.images(indices) if images else np.zeros((len(indices), 0, 0, 3), dtype=np.uint8)
    return Batch(indices, pictures, codes, split.space.feature_codes(codes), SPLITS.index(split.name))


def count_samples(cell: Cell) -> int:
    """Samples of the splits that a cell needs, as far as they are known while the data may not be there."""
    return sum(cell.dataset.config.size(split) or 0 for split in splits_of(cell))


def capture_bytes(cells: Iterable[Cell], *, pooled: bool = False) -> int:
    """Bytes that the captures of some cells take on disk, each once; or those alone that are read from memory."""
    captures: dict[Capture, Cell] = {need: cell for cell in cells for _, need in cell.needs_of(Capture)}
    total = 0
    for need, cell in captures.items():
        if pooled and not need.reduction.is_pooled:
            continue
        values = int(np.prod(shape(need.reduction.mode, cell.description.layout)))
        total += (need.dataset.config.size(need.split) or 0) * values * np.dtype(need.dtype).itemsize
    return total
