"""The extractor: an actor that runs images through a frozen model, and draws the next ones meanwhile."""

from __future__ import annotations

import math
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from frozen.allocator import keep_freed_memory
from frozen.capture.views import Mode, read_all, shape
from frozen.data.scenes import Split
from frozen.models import Backbone, Batch, Reader, TokenLayout, describe, load
from sweep.engine.passes import Output, Pass, make_batch
from sweep.store.disk import to_table
from sweep.store.halves import Scaling, to_halves

_SWITCH_S = 2e-4
"""How soon threads that draw give way to the one that feeds the model; Python's own 5 ms keep a model waiting."""
_MOST_SAMPLES = {"cpu": 64, "cuda": 512}
_MOST_TOKENS = {"cpu": 2**15, "cuda": 2**17}


class Extractor:
    """An actor that holds the last backbone and split it worked on.

    Two calls may be under way at once: one computes while the other has its first batches drawn, so that
    the model never waits for images, not even between blocks.

    Args:
        device: where to run; by default the GPU that Ray gave this actor, else one thread of the CPU.
        render_threads: threads that draw or read images.
    """

    def __init__(self, device: torch.device | None = None, render_threads: int = 1) -> None:
        self.device = device or _assigned_device()
        sys.setswitchinterval(_SWITCH_S)
        self._ahead = render_threads + 1
        self._renderers = ThreadPoolExecutor(render_threads, "render")
        self._opening, self._computing = Lock(), Lock()
        self._split: tuple[Any, Split] | None = None
        self._backbone: tuple[Any, Backbone] | None = None

    def extract(self, job: Pass, block: int) -> dict[str, pa.Table]:
        """Tables of one block's samples by store key, one column `activations`."""
        split = self._opened(job)
        description = describe(job.backbone, job.scene)
        samples = job.samples(block)
        batches = in_batches(samples, description.layout, self.device.type)
        rendered = None if description.is_control else self._rendered(split, batches, images=True)
        with self._computing:
            backbone = self._loaded(job)
            rendered = rendered or self._rendered(split, batches, images=backbone.reads_images)
            block_values = BlockValues(job, description.layout, len(samples), self.device)
            start = 0
            for batch in rendered:
                stop = start + len(batch.indices)
                backbone.forward(batch, block_values.reader(slice(start, stop)))
                start = stop
            block_values.wait()
        return block_values.tables()

    def _rendered(self, split: Split, batches: Sequence[np.ndarray], *, images: bool) -> Ahead:
        makers = [partial(make_batch, split, indices, images=images) for indices in batches]
        return Ahead(self._renderers, makers, self._ahead)

    def _opened(self, job: Pass) -> Split:
        with self._opening:
            if self._split is None or self._split[0] != (job.scene, job.split):
                self._split = ((job.scene, job.split), job.scene.open(job.split))
            return self._split[1]

    def _loaded(self, job: Pass) -> Backbone:
        key = (job.backbone, job.scene if job.backbone.depends_on_scene else None)
        if self._backbone is None or self._backbone[0] != key:
            self._backbone = None  # before the next one is loaded: two large models may not fit
            self._backbone = (key, load(job.backbone, job.scene, self.device))
        return self._backbone[1]


class Ahead:
    """Batches in order, the next ones made in other threads meanwhile; at most `depth` of them at once."""

    def __init__(self, pool: ThreadPoolExecutor, makers: Sequence[Callable[[], Batch]], depth: int) -> None:
        self._pool = pool
        self._makers = deque(makers)
        self._waiting: deque[Future[Batch]] = deque()
        self._depth = depth
        self._fill()

    def _fill(self) -> None:
        while self._makers and len(self._waiting) < self._depth:
            self._waiting.append(self._pool.submit(self._makers.popleft()))

    def __iter__(self) -> Iterator[Batch]:
        while self._waiting:
            batch = self._waiting.popleft().result()
            self._fill()
            yield batch


class BlockValues:
    """What a block's samples give for every output of a pass, reduced on the device and copied out of it.

    Tokens become halves batch by batch on the device; of pooled values a block is small, and is scaled as a whole.

    Args:
        job: says which layers and modes, and the type of the store.
        layout: of the backbone's tokens.
        n_samples: of the block.
        device: where the backbone computes.
    """

    def __init__(self, job: Pass, layout: TokenLayout, n_samples: int, device: torch.device) -> None:
        self._job, self._layout, self._device = job, layout, device
        self._wanted: dict[str, dict[Mode, Output]] = {}
        for output in job.outputs:
            view = output.reduction
            self._wanted.setdefault(view.layer, {})[view.mode] = output
        self._values = {output: self._empty(output, n_samples) for output in job.outputs}
        self._scales: dict[Output, list[tuple[int, Tensor, Tensor]]] = {output: [] for output in job.outputs}
        self._largest: dict[Output, list[Tensor]] = {output: [] for output in job.outputs}

    def _empty(self, output: Output, n_samples: int) -> Tensor:
        dtype = torch.float16 if self._is_halved_at_once(output) else torch.float32
        is_cuda = self._device.type == "cuda"  # copies into pinned memory do not stop the device
        return torch.empty((n_samples, *shape(output.reduction.mode, self._layout)), dtype=dtype, pin_memory=is_cuda)

    def _is_halved_at_once(self, output: Output) -> bool:
        return not output.reduction.is_pooled and self._job.dtype == "float16"

    def reader(self, rows: slice) -> Reader:
        """Takes what is wanted of the tokens of some of the block's samples, and keeps none of the tokens."""

        def take(layer: str, tokens: Tensor) -> None:
            wanted = self._wanted.get(layer, {})
            for mode, value in read_all(tokens, wanted, self._layout):
                output = wanted[mode]
                if self._is_halved_at_once(output):
                    value, centre, scale = to_halves(value)
                    self._scales[output].append((rows.start, centre, scale))
                    self._largest[output].append(scale.amax())
                else:
                    self._largest[output].append(value.abs().amax())
                self._values[output][rows].copy_(value, non_blocking=True)

        return take

    def wait(self) -> None:
        """Until all copies have arrived."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def tables(self) -> dict[str, pa.Table]:
        """A table of each output by its key.

        Raises:
            ValueError: values that are not finite.
        """
        for output, of_batches in self._largest.items():
            if not torch.stack(of_batches).isfinite().all():
                raise ValueError(_not_finite(self._job, output.reduction.layer))
        return {output.key: self._table(output) for output in self._values}

    def _table(self, output: Output) -> pa.Table:
        values, scales = self._values[output], self._scales[output]
        if self._job.dtype == "float16" and not scales:
            values, centre, scale = to_halves(values)
            scales = [(0, centre, scale)]
        table = to_table({"activations": values.numpy()})
        if not scales:
            return table
        starts, centres, factors = zip(*scales, strict=True)
        scaling = Scaling(
            np.array(starts, dtype=np.int64), torch.stack(centres).cpu().numpy(), torch.stack(factors).cpu().numpy()
        )
        return scaling.on(table, "activations")


def _not_finite(job: Pass, layer: str) -> str:
    """What to do about numbers that no type of the store can hold."""
    backbone = job.backbone
    if backbone.kind == "activations":
        remedy = f"look for them in the file of the split {job.split}"
    elif backbone.precision != "float32":
        remedy = f"set `precision: float32` of the backbone, which is {backbone.precision}"
    else:
        remedy = "look at its weights"
    return (
        f"activations of layer {layer} of {backbone.source} are not finite (NaN, infinite, or beyond float32); "
        f"{remedy}, or leave the layer out"
    )


def in_batches(samples: np.ndarray, layout: TokenLayout, device: str) -> list[np.ndarray]:
    """Samples in batches of nearly one size, small enough for the device's memory whatever the image size."""
    return np.array_split(samples, max(1, math.ceil(len(samples) / batch_samples(layout, device))))


def batch_samples(layout: TokenLayout, device: str) -> int:
    """Most samples of a batch."""
    return max(1, min(_MOST_SAMPLES[device], _MOST_TOKENS[device] // layout.n_tokens))


def _assigned_device() -> torch.device:
    """Never a GPU that Ray did not give."""
    import ray

    if ray.get_gpu_ids():
        return torch.device("cuda")
    torch.set_num_threads(1)
    keep_freed_memory()
    return torch.device("cpu")
