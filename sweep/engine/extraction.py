"""Drives extraction: hands blocks to extractor actors and keeps what they return, a step at a time."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import ray
from ray.exceptions import NodeDiedError, ObjectLostError, RayActorError, RayError, RayTaskError

from sweep.engine.extractor import Extractor
from sweep.engine.passes import Pass
from sweep.live import Monitor
from sweep.store.disk import lost_entry
from sweep.store.full_disk import full_disk, no_space

_MOST_CALLS = 2  # one computes, the other has its first images drawn
_MOST_LOSSES = 3
_MOST_STORING = 4
"""Blocks a place for extraction that wait to be written: without a bound they would fill the object store."""
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


class Extractors:
    """Actors that come and go, and their calls that are under way.

    One that dies is replaced by another rather than restarted by Ray: where its node is gone, a restart waits for
    a place that the others hold until they have done everything, and its calls wait with it.

    Args:
        make: makes an actor; one without a place yet waits for a node.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._starting: dict[Any, Any] = {}
        self._n_calls: dict[Any, int] = {}
        self._leaving: set[Any] = set()  # they end what they have begun
        self._flight: dict[Any, tuple[_Block, Any]] = {}

    @property
    def size(self) -> int:
        """How many take blocks, or will."""
        return len(self._starting) + len(self._n_calls) - len(self._leaving)

    @property
    def calls(self) -> list[Any]:
        """References to wait for: of blocks, and of actors that start."""
        return [*self._flight, *self._starting]

    @property
    def are_busy(self) -> bool:
        """Whether a block is under way."""
        return bool(self._flight)

    def resize(self, size: int) -> None:
        """Have so many; those that are too many end what they have begun, and free their places."""
        while self.size < size:
            if self._leaving:
                self._leaving.pop()
            else:
                extractor = self._make()
                self._starting[extractor.__ray_ready__.remote()] = extractor
        while self.size > size:
            if self._starting:
                ray.kill(self._starting.popitem()[1])
            else:
                extractor = min(self._staying(), key=self._n_calls.__getitem__)
                self._leaving.add(extractor)
                self._kill_if_done(extractor)

    def begin(self, job: Pass, block: _Block) -> bool:
        """Hand a block to the one with the fewest; False if none has room."""
        extractor = min(self._staying(), key=self._n_calls.__getitem__, default=None)
        if extractor is None or self._n_calls[extractor] >= _MOST_CALLS:
            return False
        self._n_calls[extractor] += 1
        self._flight[extractor.extract.remote(job, block.block)] = (block, extractor)
        return True

    def take(self, call: Any) -> _Finished | None:
        """What became of one of the `calls` that has ended; None for an actor that has started."""
        if call in self._starting:
            self._n_calls[self._starting.pop(call)] = 0
            return None
        block, extractor = self._flight.pop(call)
        lost = _is_lost(call)
        if extractor in self._n_calls:
            self._n_calls[extractor] -= 1
            if lost:
                self._kill(extractor)  # it may only be out of reach
            else:
                self._kill_if_done(extractor)
        return _Finished(block, call, lost)

    def _staying(self) -> Iterator[Any]:
        return (extractor for extractor in self._n_calls if extractor not in self._leaving)

    def _kill_if_done(self, extractor: Any) -> None:
        if extractor in self._leaving and not self._n_calls[extractor]:
            self._kill(extractor)

    def _kill(self, extractor: Any) -> None:
        ray.kill(extractor)
        del self._n_calls[extractor]
        self._leaving.discard(extractor)


def _is_lost(reference: Any) -> bool:
    """Whether a finished call's result went with its worker or node; an error of the call itself is a result."""
    try:
        ray.get(reference)
    except (RayActorError, ObjectLostError, NodeDiedError):
        return True
    except RayError:
        return False
    return False


class Extraction:
    """Everything a run has to extract; a pass that fails does not stop the others.

    It goes on whenever `step` is called, so that one thread can look after it and the cells alike.

    Args:
        passes: what to extract, in this order.
        store: handle of the `ActivationStore` actor.
        monitor: told how many samples are done.
        on_end: told of each pass that is in the store, or of its error.
        n_actors: extractor actors; those without a place yet wait for a node.
        gpus: whether they are pinned to GPUs.
    """

    def __init__(
        self,
        passes: Sequence[Pass],
        store: Any,
        monitor: Monitor,
        on_end: Callable[[Pass, BaseException | None], None],
        *,
        n_actors: int,
        gpus: bool,
    ) -> None:
        self._passes, self._store, self._monitor, self._on_end = passes, store, monitor, on_end
        self._n_actors = n_actors
        resources = extractor_resources(gpus=gpus)
        actor: Any = ray.remote(Extractor)
        actor = actor.options(**resources, max_concurrency=2)
        self._extractors = Extractors(lambda: actor.remote(render_threads=resources["num_cpus"]))
        self._storing: dict[Any, _Block] = {}
        self._publishing: dict[Any, int] = {}
        self._blocks = deque(self._blocks_to_do())
        self._left = Counter(block.number for block in self._blocks)
        self._losses: Counter[_Block] = Counter()
        self._failed: set[int] = set()

    @property
    def has_ended(self) -> bool:
        """Whether every pass has been told to `on_end`."""
        return not (self._blocks or self._extractors.are_busy or self._storing or self._publishing)

    def step(self, timeout_s: float, *, cells_wait: bool) -> None:
        """Hand out blocks, and take those that are there.

        Args:
            timeout_s: how long to wait for the first of them.
            cells_wait: whether there are cells that could begin; they get half of the extractors' places.

        Raises:
            FullDiskError: the store's disk is full.
            LostEntryError: what was extracted is gone from the store.
        """
        if self.has_ended:
            return
        self._hand_out(-(-self._n_actors // 2) if cells_wait else self._n_actors)
        calls = [*self._extractors.calls, *self._storing, *self._publishing]
        if calls and ray.wait(calls, num_returns=1, timeout=timeout_s)[0]:
            for call in ray.wait(calls, num_returns=len(calls), timeout=0)[0]:
                self._take(call)
        self._drop_failed()
        if self.has_ended:
            self._extractors.resize(0)

    def _blocks_to_do(self) -> Iterator[_Block]:
        """Blocks that no earlier run has left behind; a pass without any is published at once."""
        for number, job in enumerate(self._passes):
            waiting: set[int] = ray.get(self._store.blocks_waiting.remote(list(job.descriptions())))
            blocks = [block for block in range(job.n_blocks) if block not in waiting]
            self._count(job, sum(job.block_samples(block) for block in waiting))
            if not blocks:
                self._publish(number)
            for block in blocks:
                yield _Block(number, block, job.block_samples(block))

    def _count(self, job: Pass, n_samples: int) -> None:
        if job.reads_images:
            self._monitor.extracted(n_samples)

    def _drop_failed(self) -> None:
        if any(block.number in self._failed for block in self._blocks):
            self._blocks = deque(block for block in self._blocks if block.number not in self._failed)

    def _hand_out(self, n_actors: int) -> None:
        self._extractors.resize(min(n_actors, len(self._blocks)))
        if len(self._storing) >= _MOST_STORING * self._n_actors:
            return
        while self._blocks and self._extractors.begin(self._passes[self._blocks[0].number], self._blocks[0]):
            self._blocks.popleft()

    def _take(self, call: Any) -> None:
        if call in self._storing:
            block = self._storing.pop(call)
            if self._succeeded(block.number, call):
                self._left[block.number] -= 1
                if not self._left[block.number]:
                    self._publish(block.number)
        elif call in self._publishing:
            number = self._publishing.pop(call)
            if self._succeeded(number, call):
                self._on_end(self._passes[number], None)
        elif finished := self._extractors.take(call):
            self._keep(finished)

    def _keep(self, finished: _Finished) -> None:
        block = finished.block
        self._losses[block] += finished.lost
        if finished.lost and self._losses[block] < _MOST_LOSSES:
            self._blocks.append(block)
            return
        self._count(self._passes[block.number], block.n_samples)
        if block.number not in self._failed:
            self._storing[self._store.append.remote(block.block, finished.tables)] = block

    def _publish(self, number: int) -> None:
        job = self._passes[number]
        self._publishing[self._store.publish.remote(job.descriptions(), job.n_blocks)] = number

    def _succeeded(self, number: int, call: Any) -> bool:
        """Whether a call of the store did; otherwise its pass has ended with the call's error."""
        try:
            ray.get(call)
        except RayError as error:
            if no_space(error):
                raise full_disk(ray.get(self._store.where.remote())) from error
            if lost := lost_entry(error):
                raise lost from error
            if number not in self._failed:
                self._failed.add(number)
                cause = error.cause if isinstance(error, RayTaskError) and error.cause else error
                self._on_end(self._passes[number], cause)
            return False
        return number not in self._failed


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
