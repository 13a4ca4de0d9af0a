"""The extractor: an actor that runs images through a frozen model, and draws the next ones meanwhile."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from frozen.allocator import keep_freed_memory
from frozen.capture.capture import in_batches
from frozen.capture.forward import run_batch
from frozen.data.spec import AnySplit, open_split
from frozen.models import Backbone, Batch, describe, load
from sweep.engine.block_values import BlockValues
from sweep.engine.passes import Pass, make_batch

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
        self._split: tuple[Any, AnySplit] | None = None
        self._backbone: tuple[Any, Backbone] | None = None

    def extract(self, job: Pass, block: int) -> dict[str, pa.Table]:
        """Tables of one block's samples by store key."""
        split = self._opened(job)
        description = describe(job.backbone, job.scene, head=job.needs_head)
        samples = job.samples(block)
        labels = {name: np.asarray(split.labels(name, samples)) for name in job.labels}  # pyright: ignore
        size = batch_samples(description.most_tokens, self.device.type)
        places = list(in_batches(len(samples), size, job.condition, labels, description.layout))
        rendered = None if description.is_control else self._rendered(split, samples, places, labels, images=True)
        with self._computing:
            backbone = self._loaded(job)
            rendered = rendered or self._rendered(split, samples, places, labels, images=backbone.reads_images)
            columns = {output: output.reduction.columns(description, job.condition) for output in job.outputs}
            values = BlockValues(job, columns, len(samples), self.device)
            reductions = [output.reduction for output in job.outputs]
            for rows, batch in zip(places, rendered, strict=True):
                values.put(rows, run_batch(backbone, batch, reductions, job.condition))
            return values.tables()

    def _rendered(
        self,
        split: AnySplit,
        samples: np.ndarray,
        places: Sequence[np.ndarray],
        labels: Mapping[str, np.ndarray],
        *,
        images: bool,
    ) -> Ahead:
        def maker(rows: np.ndarray) -> Callable[[], Batch]:
            own = {name: values[rows] for name, values in labels.items()}
            return partial(make_batch, split, samples[rows], images=images, labels=own)

        return Ahead(self._renderers, [maker(rows) for rows in places], self._ahead)

    def _opened(self, job: Pass) -> AnySplit:
        with self._opening:
            if self._split is None or self._split[0] != (job.scene, job.split):
                self._split = ((job.scene, job.split), open_split(job.scene, job.split))
            return self._split[1]

    def _loaded(self, job: Pass) -> Backbone:
        parts = {"head": job.needs_head, "decoder": job.needs_decoder}
        key = (job.backbone, job.scene if job.backbone.depends_on_scene else None, *parts.values())
        if self._backbone is None or self._backbone[0] != key:
            self._backbone = None  # before the next one is loaded: two large models may not fit
            self._backbone = (key, load(job.backbone, job.scene, self.device, **parts))
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


def batch_samples(n_tokens: int, device: str) -> int:
    """Most samples of a batch, of so many tokens each."""
    return max(1, min(_MOST_SAMPLES[device], _MOST_TOKENS[device] // n_tokens))


def _assigned_device() -> torch.device:
    """Never a GPU that Ray did not give."""
    import ray

    if ray.get_gpu_ids():
        return torch.device("cuda")
    torch.set_num_threads(1)
    keep_freed_memory()
    return torch.device("cpu")
