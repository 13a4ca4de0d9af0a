"""Extraction: every layer and mode that the missing cells need, in one forward pass an image.

A pass is one data set, split and backbone. Its samples are cut into blocks; a block is a call of an
extractor actor, pinned to a GPU where there are any, and gives one table for each layer and mode. Blocks
are deterministic, so that Ray may repeat them, and a run that was killed goes on at the next block.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import cycle
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch

from binding.backbones import Backbone, BackboneConfig, Batch, load
from binding.modes import Mode, read, shape
from binding.scenes import SPLITS, Scene, Split, SplitName
from sweep.cells import Cell
from sweep.progress import Progress
from sweep.store import store_key, to_table

BLOCK_SAMPLES = 512
_BATCH_SAMPLES = {"cpu": 64, "cuda": 256}
_CALLS_AHEAD = 2


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


class Source(NamedTuple):
    """What entries of the store are made of: content of the data and of the weights."""

    fingerprints: Mapping[SplitName, str]
    sizes: Mapping[SplitName, int]
    backbone_identity: str
    weights_digest: str


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
                parts[output.key].append(value.cpu().numpy().astype(job.dtype))
        return {key: to_table({"activations": np.concatenate(values)}) for key, values in parts.items()}

    def _opened(self, job: Pass) -> tuple[Split, Backbone]:
        if self._split is None or self._split[0] != (job.scene, job.split):
            self._split = ((job.scene, job.split), job.scene.open(job.split))
        if self._backbone is None or self._backbone[0] != (job.scene, job.backbone):
            self._backbone = ((job.scene, job.backbone), load(job.backbone, job.scene, self._device))
        return self._split[1], self._backbone[1]


def _assigned_device() -> torch.device:
    """Never a GPU that Ray did not give."""
    import ray

    if ray.get_gpu_ids():
        return torch.device("cuda")
    torch.set_num_threads(1)
    return torch.device("cpu")


def make_batch(split: Split, indices: np.ndarray, *, images: bool) -> Batch:
    """Samples of a split as a backbone sees them; images are rendered only for those that look."""
    codes = split.object_codes[indices]
    pictures = split.images(indices) if images else np.zeros((len(indices), 0, 0, 3), dtype=np.uint8)
    return Batch(indices, pictures, codes, split.space.feature_codes(codes), SPLITS.index(split.name))


def run_passes(passes: Sequence[Pass], store: Any, progress: Progress, *, n_actors: int, gpus: bool) -> None:
    """Extract everything, publishing each pass as it completes.

    Args:
        passes: what to extract.
        store: handle of the `ActivationStore` actor.
        progress: told how many images are done.
        n_actors: extractor actors; each takes one GPU or one CPU.
        gpus: whether they are pinned to GPUs.
    """
    import ray

    remote: Any = ray.remote(Extractor)
    actor = remote.options(num_cpus=1, num_gpus=int(gpus), max_restarts=2, max_task_retries=2)
    extractors = [actor.remote() for _ in range(n_actors)]
    jobs = deque(_blocks_to_do(passes, store, progress))
    left = {number: sum(1 for job in jobs if job.number == number) for number in range(len(passes))}
    flight: dict[Any, _Block] = {}
    turns = cycle(extractors)
    while jobs or flight:
        while jobs and len(flight) < n_actors * _CALLS_AHEAD:
            job = jobs.popleft()
            flight[next(turns).extract.remote(passes[job.number], job.block)] = job
        [done], _ = ray.wait(list(flight), num_returns=1)
        job = flight.pop(done)
        ray.get(store.append.remote(job.block, done))
        progress.advance(job.n_samples)
        left[job.number] -= 1
        if not left[job.number]:
            ray.get(store.publish.remote(passes[job.number]))
    for extractor in extractors:
        ray.kill(extractor)


class _Block(NamedTuple):
    number: int
    block: int
    n_samples: int


def _blocks_to_do(passes: Sequence[Pass], store: Any, progress: Progress) -> Iterator[_Block]:
    """Blocks that no earlier run has left behind; a pass without any is published at once."""
    import ray

    for number, job in enumerate(passes):
        waiting: set[int] = ray.get(store.parts_waiting.remote(job))
        blocks = [block for block in range(job.n_blocks) if block not in waiting]
        progress.advance(sum(_block_samples(job, block) for block in waiting))
        if not blocks:
            ray.get(store.publish.remote(job))
        for block in blocks:
            yield _Block(number, block, _block_samples(job, block))


def _block_samples(job: Pass, block: int) -> int:
    return min(BLOCK_SAMPLES, job.n_samples - block * BLOCK_SAMPLES)


@cache
def count_samples(scene: Scene) -> int:
    """Samples of the three splits; opening a split may take a second, and a plan asks for every layer."""
    return sum(len(scene.open(split)) for split in SPLITS)


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
