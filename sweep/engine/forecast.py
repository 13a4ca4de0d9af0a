"""`--forecast`: what a run will take, after two batches of everything it will do have been timed on its machines."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import ray
from rich.console import Console

from frozen.models import describe
from frozen.readout.cells import Cell
from frozen.readout.readout import Readouts, find_readout
from sweep.engine.cluster import Resources
from sweep.engine.extraction import extractor_resources
from sweep.engine.extractor import Extractor, batch_samples
from sweep.engine.needs import Graph
from sweep.engine.passes import BLOCK_SAMPLES, Pass, capture_bytes, plan_passes
from sweep.engine.plan import human_bytes
from sweep.engine.trial import trial_device
from sweep.live.progress import duration
from sweep.store.mirror import open_store

_BATCHES = 2
_REST_S = 15.0
"""Starting Ray and its workers, the table and the report: nearly the same in every run."""
_CELL_S = 0.2
"""What a cell takes beside its training: reading activations, messages, writing files."""


class Forecast(NamedTuple):
    """What a run will take.

    Attributes:
        extraction_s: seconds of all images still to be drawn and run through their backbones.
        training_s: seconds of all cells, as many at a time as there are places.
        gpu_hours: hours that GPUs are held.
        store_bytes: activations that will lie on the store's disk.
        object_store_bytes: of them, those that trials read from the object store.
        n_places: cells that train at a time.
        is_upper_bound: whether trainings may stop early, by patience or pruned, which nobody knows before.
    """

    extraction_s: float
    training_s: float
    gpu_hours: float
    store_bytes: int
    object_store_bytes: int
    n_places: int
    is_upper_bound: bool

    @property
    def wall_s(self) -> float:
        """Seconds of the whole run."""
        return _REST_S + self.extraction_s + self.training_s


def forecast(
    cells: Sequence[Cell],
    graph: Graph,
    readouts: Readouts,
    place: str,
    resources: Resources,
    gpus_per_cell: float,
) -> Forecast:
    """Time a little of everything on the running cluster, and sum up; nothing is written.

    Args:
        cells: what the run would measure.
        graph: of their needs.
        readouts: what measures them, by name.
        place: path or URL of the store; what it holds already needs no extraction.
        resources: of the cluster.
        gpus_per_cell: share of a GPU that a trial takes.
    """
    needed = {key for cell in cells for key in graph.keys(cell).values()}
    store = open_store(place)
    passes = plan_passes(cells, graph, {key for key in needed if store.lists(key)})
    n_extractors = resources.gpus or resources.cpus
    extraction_s = _extraction_s(passes, gpus=resources.gpus > 0) / n_extractors
    cell_s = _cells_s(cells, graph, readouts, resources.of_trial(gpus_per_cell))
    n_places = min(resources.cpus, int(resources.gpus / gpus_per_cell)) if resources.gpus else resources.cpus
    training_s = makespan_s((cell_s[cell] + _CELL_S for cell in cells), max(n_places, 1))
    training_s = max(training_s, critical_path_s({cell: cell_s[cell] + _CELL_S for cell in cells}, graph))
    gpu_hours = resources.gpus * (extraction_s + training_s) / 3600
    sizes = (capture_bytes(cells), capture_bytes(cells, pooled=True))
    is_upper_bound = any(readouts[cell.readout].is_upper_bound(cell) for cell in cells)
    return Forecast(extraction_s, training_s, gpu_hours, *sizes, max(n_places, 1), is_upper_bound)


def critical_path_s(seconds: Mapping[Cell, float], graph: Graph) -> float:
    """Seconds of the longest chain of cells of which each needs a product of the one before."""
    ends: dict[Cell, float] = {}

    def end(cell: Cell) -> float:
        if cell not in ends:
            before = (end(giver) for giver in graph.givers(cell) if giver in seconds)
            ends[cell] = max(before, default=0.0) + seconds[cell]
        return ends[cell]

    return max(map(end, seconds), default=0.0)


def _extraction_s(passes: Iterable[Pass], *, gpus: bool) -> float:
    """Seconds one extractor would take for all passes."""
    timed: Any = ray.remote(time_pass)
    timed = timed.options(**extractor_resources(gpus=gpus))
    jobs = list(passes)
    seconds = _one_of_each({job: _kind(job) for job in jobs}, timed.remote)
    begin = sum(begin_s for begin_s, _ in seconds.values())
    return begin + sum(seconds[_kind(job)][1] * job.n_samples for job in jobs)


def _one_of_each(kinds: Mapping[Any, object], begin: Callable[[Any], Any]) -> dict[object, Any]:
    """Begin a task for the first thing of each kind, all at once; their results by kind."""
    chosen: dict[object, Any] = {}
    for thing, kind in kinds.items():
        chosen.setdefault(kind, thing)
    return dict(zip(chosen, ray.get([begin(thing) for thing in chosen.values()]), strict=True))


def _kind(job: Pass) -> object:
    return (job.scene, job.backbone, job.dtype, len(job.outputs))


def time_pass(job: Pass) -> tuple[float, float]:
    """Seconds to begin a pass, and a sample, on the resources that Ray gave this task."""
    cpus = ray.get_runtime_context().get_assigned_resources().get("CPU", 1)
    extractor = Extractor(render_threads=max(1, int(cpus)))
    batch = batch_samples(describe(job.backbone, job.scene).most_tokens, extractor.device.type)
    n_samples = min(job.n_samples, _BATCHES * batch, BLOCK_SAMPLES)
    few = replace(job, n_samples=n_samples)
    begin_s = _seconds(lambda: extractor.extract(few, 0))
    again_s = _seconds(lambda: extractor.extract(few, 0))
    return max(begin_s - again_s, 0.0), again_s / n_samples


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _cells_s(
    cells: Sequence[Cell], graph: Graph, readouts: Readouts, resources: Mapping[str, float]
) -> dict[Cell, float]:
    """Seconds of each cell; cells that the read-out calls alike take equally long, and are tried once."""
    timed: Any = ray.remote(time_cell)
    options = {f"num_{name}s": amount for name, amount in resources.items()}
    timed = timed.options(**options)
    kinds = {
        cell: (cell.readout, readouts[cell.readout].forecast_key(cell), *graph.sources[cell].sizes.items())
        for cell in cells
    }
    seconds = _one_of_each(kinds, lambda cell: timed.remote(cell, dict(graph.sources[cell].sizes)))
    return {cell: seconds[kind] for cell, kind in kinds.items()}


def time_cell(cell: Cell, sizes: Mapping[str, int]) -> float:
    """Seconds of a cell, on the resources that Ray gave this task."""
    return find_readout(cell.readout).forecast_s(cell, sizes, trial_device())


def print_forecast(found: Forecast, console: Console) -> None:
    """Two lines."""
    most = "at most " if found.is_upper_bound else ""
    lines = [
        f"forecast: {most}{duration(found.wall_s)} ({duration(found.extraction_s)} of them extraction), "
        f"{found.n_places} cells at a time, {found.gpu_hours:.2f} GPU-hours",
        f"activations: {human_bytes(found.store_bytes)} on disk, of them {human_bytes(found.object_store_bytes)} "
        "through the object store",
    ]
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)


def makespan_s(seconds: Iterable[float], n_places: int) -> float:
    """When the last of some cells ends, the longest begun first."""
    places = [0.0] * n_places
    for each in sorted(seconds, reverse=True):
        heapq.heapreplace(places, places[0] + each)
    return max(places)
