"""Drives extraction: hands blocks to extractor actors and keeps what they return."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import ray
from ray.exceptions import NodeDiedError, ObjectLostError, RayActorError, RayError, RayTaskError

from sweep.extract import Pass
from sweep.extractor import Extractor
from sweep.full_disk import full_disk, no_space
from sweep.live import Monitor

_CALLS_AHEAD = 3
_MOST_LOSSES = 3
_MOST_RENDER_THREADS = 8


class _Block(NamedTuple):
    number: int
    block: int
    n_samples: int


class _Finished(NamedTuple):
    block: _Block
    tables: Any
    """Reference of what the extractor returned, or of its error."""
    lost: bool
    """Whether it was lost with its worker or node."""


class _Extractors:
    """Actors that come and go, and their calls that are under way.

    One that dies is replaced by another rather than restarted by Ray: where its node is gone, a restart waits for
    a place that the others hold until they have done everything, and its calls wait with it.

    Args:
        make: makes an actor; one without a place yet waits for a node.
        n_actors: how many to have.
    """

    def __init__(self, make: Callable[[], Any], n_actors: int) -> None:
        self._make = make
        self._starting: dict[Any, Any] = {}
        self._alive: set[Any] = set()
        self._room: deque[Any] = deque()  # an extractor for each call it may be given
        self._flight: dict[Any, tuple[_Block, Any]] = {}
        for _ in range(n_actors):
            self._start()

    def _start(self) -> None:
        extractor = self._make()
        self._alive.add(extractor)
        self._starting[extractor.__ray_ready__.remote()] = extractor

    @property
    def have_room(self) -> bool:
        """Whether one of them can be given a block."""
        return bool(self._room)

    @property
    def are_busy(self) -> bool:
        """Whether a block is under way."""
        return bool(self._flight)

    def begin(self, job: Pass, block: _Block) -> None:
        """Hand a block to one that has room."""
        extractor = self._room.popleft()
        self._flight[extractor.extract.remote(job, block.block)] = (block, extractor)

    def wait(self) -> _Finished | None:
        """Wait for a block, or for an extractor on a node that has just come; the latter gives None."""
        [done], _ = ray.wait([*self._flight, *self._starting], num_returns=1)
        if done in self._starting:
            self._room.extend([self._starting.pop(done)] * _CALLS_AHEAD)
            return None
        block, extractor = self._flight.pop(done)
        lost = _is_lost(done)
        if lost and extractor in self._alive:
            self._replace(extractor)
        elif extractor in self._alive:
            self._room.append(extractor)
        return _Finished(block, done, lost)

    def _replace(self, extractor: Any) -> None:
        ray.kill(extractor)  # it may only be out of reach
        self._alive.remove(extractor)
        self._room = deque(other for other in self._room if other != extractor)
        self._start()

    def kill(self) -> None:
        """Free their places."""
        for extractor in self._alive:
            ray.kill(extractor)


def _is_lost(reference: Any) -> bool:
    """Whether a finished call's result went with its worker or node; an error of the call itself is a result."""
    try:
        ray.get(reference)
    except (RayActorError, ObjectLostError, NodeDiedError):
        return True
    except RayError:
        return False
    return False


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
    resources = extractor_resources(gpus=gpus)
    actor: Any = ray.remote(Extractor)
    actor = actor.options(**resources, max_concurrency=2)
    extractors = _Extractors(lambda: actor.remote(render_threads=resources["num_cpus"]), n_actors)
    blocks = deque(_blocks_to_do(passes, store, monitor))
    left = Counter(block.number for block in blocks)
    losses: Counter[_Block] = Counter()
    failed: dict[int, BaseException] = {}
    while blocks or extractors.are_busy:
        while blocks and extractors.have_room:
            block = blocks.popleft()
            if block.number not in failed:
                extractors.begin(passes[block.number], block)
        if not blocks and not extractors.are_busy:
            break
        finished = extractors.wait()
        if finished is None:
            continue
        block = finished.block
        losses[block] += finished.lost
        if finished.lost and losses[block] < _MOST_LOSSES:
            blocks.append(block)
            continue
        monitor.extracted(block.n_samples)
        left[block.number] -= 1
        try:
            ray.get(store.append.remote(block.block, finished.tables))
            if not left[block.number] and block.number not in failed:
                _publish(passes[block.number], store)
        except RayError as error:
            if no_space(error):
                raise full_disk(ray.get(store.where.remote())) from error
            cause = error.cause if isinstance(error, RayTaskError) and error.cause else error
            failed.setdefault(block.number, cause)
    extractors.kill()
    return {output.key: error for number, error in failed.items() for output in passes[number].outputs}


def extractor_resources(*, gpus: bool) -> dict[str, int]:
    """What an extractor takes: one CPU, or one GPU and its share of the CPUs for drawing images."""
    return {"num_cpus": _threads_a_gpu() if gpus else 1, "num_gpus": int(gpus)}


def _publish(job: Pass, store: Any) -> None:
    ray.get(store.publish.remote(job.descriptions(), job.n_blocks))


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
        waiting: set[int] = ray.get(store.parts_waiting.remote(list(job.descriptions())))
        blocks = [block for block in range(job.n_blocks) if block not in waiting]
        monitor.extracted(sum(job.block_samples(block) for block in waiting))
        if not blocks:
            _publish(job, store)
        for block in blocks:
            yield _Block(number, block, job.block_samples(block))
