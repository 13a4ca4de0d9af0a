"""Extraction: every layer and mode that the missing cells need, in one forward pass an image.

A pass is one data set, split and backbone. Its samples are cut into blocks; a block is a call of an
extractor actor, pinned to a GPU where there are any, and gives one table for each layer and mode. Blocks
are deterministic, so that Ray may repeat them, and a run that was killed goes on at the next block.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch

from binding._allocator import keep_freed_memory
from binding.backbones import Backbone, BackboneConfig, Batch, load
from binding.modes import Mode, read, shape
from binding.scenes import SPLITS, Scene, Split, SplitName
from sweep.cells import Cell
from sweep.store import store_key, to_table

BLOCK_SAMPLES = 512
_BATCH_SAMPLES = {"cpu": 64, "cuda": 256}


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

    def block_samples(self, block: int) -> int:
        """Number of samples of a block; the last one may be shorter."""
        return min(BLOCK_SAMPLES, self.n_samples - block * BLOCK_SAMPLES)


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


class Extractor:
    """An actor that holds the last backbone and split it worked on.

    Args:
        device: where to run; by default the GPU that Ray gave this actor, else one thread of the CPU.
    """

    def __init__(self, device: torch.device | None = None) -> None:
        self._device = device or _assigned_device()
        self._split: tuple[Any, Split] | None = None
        self._backbone: tuple[Any, Backbone] | None = None

    def extract(self, job: Pass, block: int) -> dict[str, pa.Table]:
        """Tables of one block's samples by store key, one column `activations`."""
        split, backbone = self._opened(job)
        indices = np.arange(block * BLOCK_SAMPLES, min((block + 1) * BLOCK_SAMPLES, len(split)))
        batch_samples = _BATCH_SAMPLES[self._device.type]
        parts: dict[str, list[np.ndarray]] = {output.key: [] for output in job.outputs}
        for start in range(0, len(indices), batch_samples):
            batch = make_batch(split, indices[start : start + batch_samples], images=backbone.reads_images)
            tokens = backbone.forward(batch)
            for output in job.outputs:
                value = read(tokens[output.layer], output.mode, backbone.description.layout)
                parts[output.key].append(_stored(value.cpu().numpy(), job.dtype, output))
        return {key: to_table({"activations": np.concatenate(values)}) for key, values in parts.items()}

    def _opened(self, job: Pass) -> tuple[Split, Backbone]:
        if self._split is None or self._split[0] != (job.scene, job.split):
            self._split = ((job.scene, job.split), job.scene.open(job.split))
        if self._backbone is None or self._backbone[0] != (job.scene, job.backbone):
            self._backbone = ((job.scene, job.backbone), load(job.backbone, job.scene, self._device))
        return self._split[1], self._backbone[1]


def _stored(values: np.ndarray, dtype: str, output: Output) -> np.ndarray:
    """Values in the type of the store.

    Raises:
        ValueError: values that are not finite, or that the type cannot hold.
    """
    with np.errstate(over="ignore"):
        stored = values.astype(dtype)
    if not np.isfinite(stored).all():
        largest = np.abs(values).max()
        raise ValueError(
            f"activations of layer {output.layer} are not finite in {dtype} (largest value {largest:.3g}); "
            "set `store: {dtype: float32}`, or leave the layer out"
        )
    return stored


def _assigned_device() -> torch.device:
    """Never a GPU that Ray did not give."""
    import ray

    if ray.get_gpu_ids():
        return torch.device("cuda")
    torch.set_num_threads(1)
    keep_freed_memory()
    return torch.device("cpu")


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
