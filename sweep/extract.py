"""What has to be extracted: every layer and mode that the missing cells need, in one forward pass an image.

A pass is one data set, split and backbone. Its samples are cut into blocks; a block is a call of an
extractor actor, pinned to a GPU where there are any, and gives one table for each layer and mode. Blocks
are deterministic, so that Ray may repeat them, and a run that was killed goes on at the next block.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from binding.backbones import BackboneConfig, Batch
from binding.modes import Mode, shape
from binding.scenes import SPLITS, Scene, Split, SplitName
from sweep.cells import Cell
from sweep.store import store_key

BLOCK_SAMPLES = 512


class Output(NamedTuple):
    """One entry of the store that a pass makes."""

    layer: str
    mode: Mode
    key: str


@dataclass(frozen=True)
class Pass:
    """One split of one data set through one backbone."""

    scene: Scene
    split: SplitName
    backbone: BackboneConfig
    outputs: tuple[Output, ...]
    dtype: str
    n_samples: int

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
        common = {"kind": "activations", "backbone": self.backbone.source, "split": self.split, "dtype": self.dtype}
        return {output.key: {**common, "layer": output.layer, "mode": output.mode} for output in self.outputs}

    def block_samples(self, block: int) -> int:
        """Number of samples of a block; the last one may be shorter."""
        return len(self.samples(block))

    def samples(self, block: int) -> np.ndarray:
        """Indices of a block's samples in the split."""
        return np.arange(block * BLOCK_SAMPLES, min((block + 1) * BLOCK_SAMPLES, self.n_samples))


class Source(NamedTuple):
    """What entries of the store are made of: content of the data and of the weights."""

    fingerprints: Mapping[SplitName, str]
    sizes: Mapping[SplitName, int]
    backbone_identity: str
    weights_digest: str
    n_skipped: int = 0
    """Samples that the three splits leave out."""


def activation_key(cell: Cell, source: Source, split: SplitName) -> str:
    """Key of the activations a cell reads."""
    return store_key(
        kind="activations",
        backbone=source.backbone_identity,
        weights=source.weights_digest,
        data=source.fingerprints[split],
        layer=cell.layer,
        mode=cell.mode,
        dtype=cell.settings.store_dtype,
    )


def plan_passes(cells: Iterable[Cell], sources: Mapping[Cell, Source], present: set[str]) -> list[Pass]:
    """Passes that make every entry the cells need and the store lacks, each once."""
    claimed = set(present)
    wanted: dict[tuple[Any, ...], dict[Output, None]] = {}
    for cell in cells:
        for split in SPLITS:
            key = activation_key(cell, sources[cell], split)
            if key not in claimed:
                claimed.add(key)
                group = (
                    cell.dataset.config,
                    split,
                    cell.backbone,
                    cell.settings.store_dtype,
                    sources[cell].sizes[split],
                )
                wanted.setdefault(group, {})[Output(cell.layer, cell.mode, key)] = None
    return [
        Pass(scene, split, backbone, tuple(outputs), dtype, size)
        for (scene, split, backbone, dtype, size), outputs in wanted.items()
    ]


def make_batch(split: Split, indices: np.ndarray, *, images: bool) -> Batch:
    """Samples of a split as a backbone sees them; images are rendered only for those that look."""
    codes = split.object_codes[indices]
    pictures = split.images(indices) if images else np.zeros((len(indices), 0, 0, 3), dtype=np.uint8)
    return Batch(indices, pictures, codes, split.space.feature_codes(codes), SPLITS.index(split.name))


def count_samples(scene: Scene) -> int:
    """Samples of the three splits, as far as they are known while the data may not be there."""
    return sum(scene.size(split) or 0 for split in SPLITS)


def activation_bytes(cells: Iterable[Cell]) -> int:
    """Bytes that the activations of some cells take on disk, each layer and mode once."""
    entries = {
        (cell.dataset, cell.backbone, cell.layer, cell.mode, cell.settings.store_dtype): cell for cell in cells
    }
    total = 0
    for cell in entries.values():
        samples = count_samples(cell.dataset.config)
        values = int(np.prod(shape(cell.mode, cell.description.layout)))
        total += samples * values * np.dtype(cell.settings.store_dtype).itemsize
    return total
