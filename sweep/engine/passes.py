"""What has to be extracted: everything that the missing cells need, in one forward pass an image.

A pass is one data set, split and backbone. Its samples are cut into blocks; a block is a call of an
extractor actor, pinned to a GPU where there are any, and gives one table for each capture. Blocks
are deterministic, so that Ray may repeat them, and a run that was killed goes on at the next block.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from frozen.capture.capture import Capture
from frozen.capture.conditions import PLAIN, Condition
from frozen.capture.reductions import TEXT, Reduction
from frozen.data.spec import AnyDataset, AnySplit, split_number, split_size
from frozen.models import BackboneConfig, Batch
from frozen.paths import written
from frozen.readout.cells import Cell
from sweep.engine.needs import Graph, splits_of

BLOCK_SAMPLES = 512


class Output(NamedTuple):
    """One entry of the store that a pass makes."""

    reduction: Reduction
    key: str


@dataclass(frozen=True)
class Pass:
    """One split of one data set through one backbone under one condition."""

    scene: AnyDataset
    split: str
    backbone: BackboneConfig
    outputs: tuple[Output, ...]
    dtype: str
    n_samples: int
    condition: Condition = PLAIN
    needs_head: bool = False
    """Whether the backbone is needed with its classifier."""
    needs_decoder: bool = False
    """Whether the backbone is needed with its caption decoder."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of what condition and reductions have to know of every sample."""
        names = {*self.condition.labels}.union(*(output.reduction.labels for output in self.outputs))
        return tuple(sorted(names))

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return -(-self.n_samples // BLOCK_SAMPLES)

    @property
    def reads_images(self) -> bool:
        """Whether images go through a model: controls are made of codes, and files of activations are read."""
        return self.backbone.kind not in ("control", "activations")

    def descriptions(self) -> dict[str, dict[str, object]]:
        """What the store notes of each entry, by its key."""
        common: dict[str, object] = {
            "kind": "activations",
            "backbone": written(self.backbone.source),
            "split": self.split,
            "dtype": self.dtype,
        }
        if condition := self.condition.key():
            common["condition"] = condition
        return {output.key: {**common, **output.reduction.key()} for output in self.outputs}

    def block_samples(self, block: int) -> int:
        """Number of samples of a block; the last one may be shorter."""
        return len(self.samples(block))

    def samples(self, block: int) -> np.ndarray:
        """Indices of a block's samples in the split."""
        return np.arange(block * BLOCK_SAMPLES, min((block + 1) * BLOCK_SAMPLES, self.n_samples))


def plan_passes(cells: Iterable[Cell], graph: Graph, present: set[str]) -> list[Pass]:
    """Passes that make every capture the cells need and the store lacks, each once.

    Those that read no images come first: they take a moment, and the cells of controls begin while images are read.
    """
    claimed = set(present)
    wanted: dict[tuple[Any, ...], dict[Output, None]] = {}
    for cell in cells:
        keys, sizes = graph.keys(cell), graph.sources[cell].sizes
        for name, need in cell.needs_of(Capture):
            key = keys[name]
            if key not in claimed:
                claimed.add(key)
                size = sizes[need.split]
                group = (
                    need.dataset.config,
                    need.split,
                    need.backbone,
                    need.dtype,
                    size,
                    need.condition,
                    need.needs_head,
                    need.needs_decoder,
                )
                wanted.setdefault(group, {})[Output(need.reduction, key)] = None
    passes = [
        Pass(scene, split, backbone, tuple(outputs), dtype, size, condition, *parts)
        for (scene, split, backbone, dtype, size, condition, *parts), outputs in wanted.items()
    ]
    return sorted(passes, key=lambda job: job.reads_images)


def make_batch(split: AnySplit, indices: np.ndarray, *, images: bool, labels: Mapping[str, np.ndarray] = {}) -> Batch:
    """Samples of a split as a backbone sees them; images are rendered only for those that look."""
    pictures = split.images(indices) if images else np.zeros((len(indices), 0, 0, 3), dtype=np.uint8)
    scene: Any = split if hasattr(split, "object_codes") else None  # controls of scenes read their codes
    codes = scene.object_codes[indices] if scene is not None else np.zeros((len(indices), 0), np.uint8)
    features = scene.space.feature_codes(codes) if scene is not None else codes
    return Batch(indices, pictures, codes, features, split_number(split.name), labels)


def count_samples(cells: Iterable[Cell]) -> int:
    """Samples of the splits that some cells need, each once, as far as known while the data may not be there."""
    splits = dict.fromkeys((cell.dataset.config, split) for cell in cells for split in splits_of(cell))
    return sum(split_size(config, split) or 0 for config, split in splits)


def capture_bytes(cells: Iterable[Cell], *, pooled: bool = False) -> int:
    """Bytes that the captures of some cells take on disk, each once; or those alone that are read from memory."""
    captures: dict[Capture, None] = {need: None for cell in cells for _, need in cell.needs_of(Capture)}
    total = 0
    for need in captures:
        if pooled and not need.is_pooled:
            continue
        fixed = [column for column in need.columns() if column.shape is not None and column.dtype != TEXT]
        a_sample = sum(
            math.prod(column.shape or ()) * np.dtype(column.dtype or need.dtype).itemsize for column in fixed
        )
        total += (split_size(need.dataset.config, need.split) or 0) * a_sample
    return total
