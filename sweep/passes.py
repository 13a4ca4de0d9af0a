"""Drives extraction: hands blocks to extractor actors and keeps what they return."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import ray
from ray.exceptions import RayError, RayTaskError

from sweep.extract import Pass
from sweep.extractor import Extractor
from sweep.full_disk import full_disk, no_space
from sweep.live import Monitor

_CALLS_AHEAD = 3
_MOST_RENDER_THREADS = 8


class _Block(NamedTuple):
    number: int
    block: int
    n_samples: int


def run_passes(
    passes: Sequence[Pass], store: Any, monitor: Monitor, *, n_actors: int, gpus: bool
) -> dict[str, BaseException]:
    """Extract everything, publishing each pass as it completes; a pass that fails does not stop the others.

    Args:
        passes: what to extract.
        store: handle of the `ActivationStore` actor.
        monitor: told how many samples are done.
        n_actors: extractor actors; those without a place yet wait for a node.
        gpus: whether they are pinned to GPUs.

    Returns:
        The error of every entry of the store that could not be made.

    Raises:
        FullDiskError: the store's disk is full.
    """
    remote: Any = ray.remote(Extractor)
    resources = extractor_resources(gpus=gpus)
    actor = remote.options(**resources, max_concurrency=2, max_restarts=2, max_task_retries=2)
    extractors = [actor.remote(render_threads=resources["num_cpus"]) for _ in range(n_actors)]
    starting = {extractor.__ray_ready__.remote(): extractor for extractor in extractors}
    room: deque[Any] = deque()  # an extractor for each call it may be given
    blocks = deque(_blocks_to_do(passes, store, monitor))
    left = Counter(block.number for block in blocks)
    failed: dict[int, BaseException] = {}
    flight: dict[Any, tuple[_Block, Any]] = {}
    while blocks or flight:
        while blocks and room:
            block = blocks.popleft()
            if block.number not in failed:
                extractor = room.popleft()
                flight[extractor.extract.remote(passes[block.number], block.block)] = (block, extractor)
        if not flight and not blocks:
            continue
        [done], _ = ray.wait([*flight, *starting], num_returns=1)
        if done in starting:  # an extractor on a node that has just come is used from now on
            room.extend([starting.pop(done)] * _CALLS_AHEAD)
            continue
        block, extractor = flight.pop(done)
        room.append(extractor)
        monitor.extracted(block.n_samples)
        left[block.number] -= 1
        try:
            ray.get(store.append.remote(block.block, done))
            if not left[block.number]:
                ray.get(store.publish.remote(passes[block.number]))
        except RayError as error:
            if no_space(error):
                raise full_disk(ray.get(store.where.remote())) from error
            failed[block.number] = error.cause if isinstance(error, RayTaskError) and error.cause else error
    for extractor in extractors:
        ray.kill(extractor)
    return {output.key: error for number, error in failed.items() for output in passes[number].outputs}


def extractor_resources(*, gpus: bool) -> dict[str, int]:
    """What an extractor takes: one CPU, or one GPU and its share of the CPUs for drawing images."""
    return {"num_cpus": _threads_a_gpu() if gpus else 1, "num_gpus": int(gpus)}


def _threads_a_gpu() -> int:
    """CPUs that every node has for each of its GPUs, within reason."""
    shares = [
        int(node["Resources"].get("CPU", 1) // node["Resources"]["GPU"])
        for node in ray.nodes()
        if node["Alive"] and node["Resources"].get("GPU")
    ]
    return max(1, min([_MOST_RENDER_THREADS, *shares]))


def _blocks_to_do(passes: Sequence[Pass], store: Any, monitor: Monitor) -> Iterator[_Block]:
    """Blocks that no earlier run has left behind; a pass without any is published at once."""
    for number, job in enumerate(passes):
        waiting: set[int] = ray.get(store.parts_waiting.remote(job))
        blocks = [block for block in range(job.n_blocks) if block not in waiting]
        monitor.extracted(sum(job.block_samples(block) for block in waiting))
        if not blocks:
            ray.get(store.publish.remote(job))
        for block in blocks:
            yield _Block(number, block, job.block_samples(block))
