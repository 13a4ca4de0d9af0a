"""`--forecast`: what a run will take, after a little of everything it will do has been timed on its machines."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import ray
from rich.console import Console

from frozen.models import describe
from frozen.rates import rates
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
_FEWEST_SAMPLES = 4
_MOST_FLOPS = {"cpu": 1e12, "cuda": 1e15}
"""Of the samples that time a pass, some seconds' worth: a batch of a large model takes a CPU minutes."""
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
        in_half_precision: seconds of extraction and of cells as `auto` would have them; None where it would change
            nothing, or where this machine is not faster in bfloat16.
    """

    extraction_s: float
    training_s: float
    gpu_hours: float
    store_bytes: int
    object_store_bytes: int
    n_places: int
    is_upper_bound: bool
    in_half_precision: tuple[float, float] | None = None

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
    works = _Works(graph, readouts, resources, gpus_per_cell)
    extraction_s, training_s = works.seconds(passes, {cell: cell for cell in cells})
    rounded = {cell: readouts[cell.readout].in_half_precision(cell) for cell in cells}
    half = [_in_half_precision(job) for job in passes]
    is_other = half != passes or any(one != other for one, other in rounded.items())
    return Forecast(
        extraction_s,
        training_s,
        resources.gpus * (extraction_s + training_s) / 3600,
        capture_bytes(cells),
        capture_bytes(cells, pooled=True),
        works.n_places,
        any(readouts[cell.readout].is_upper_bound(cell) for cell in cells),
        works.seconds(half, rounded) if is_other and rates().choice != "float32" else None,
    )


class _Works(NamedTuple):
    """Where passes and cells are timed."""

    graph: Graph
    readouts: Readouts
    resources: Resources
    gpus_per_cell: float

    @property
    def n_places(self) -> int:
        """Cells at a time."""
        cpus, gpus = self.resources.cpus, self.resources.gpus
        return max(min(cpus, int(gpus / self.gpus_per_cell)) if gpus else cpus, 1)

    def seconds(self, passes: Sequence[Pass], cells: Mapping[Cell, Cell]) -> tuple[float, float]:
        """Of extraction, and of all cells; each cell takes as long as the one that it is mapped to."""
        gpus = self.resources.gpus
        extraction_s = _extraction_s(passes, gpus=gpus > 0) / (gpus or self.resources.cpus)
        found = _cells_s(cells, self.graph, self.readouts, self.resources.of_trial(self.gpus_per_cell))
        cell_s = {cell: seconds + _CELL_S for cell, seconds in found.items()}
        return extraction_s, max(makespan_s(cell_s.values(), self.n_places), critical_path_s(cell_s, self.graph))


def _in_half_precision(job: Pass) -> Pass:
    """The pass as `precision: auto` would run it where bfloat16 is faster."""
    backbone = job.backbone
    if backbone.precision != "float32" or backbone.kind in ("control", "activations"):
        return job
    return replace(job, backbone=replace(backbone, precision="bfloat16"))


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
    description, device = describe(job.backbone, job.scene), extractor.device.type
    affordable = int(_MOST_FLOPS[device] // max(description.forward_flops, 1.0))
    whole = min(job.n_samples, _BATCHES * batch_samples(description.most_tokens, device), BLOCK_SAMPLES)
    n_samples = min(whole, max(affordable, _FEWEST_SAMPLES))
    few = replace(job, n_samples=n_samples)
    begin_s = _seconds(lambda: extractor.extract(few, 0))
    again_s = _seconds(lambda: extractor.extract(few, 0))
    return max(begin_s - again_s, 0.0), again_s / n_samples


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _cells_s(
    cells: Mapping[Cell, Cell], graph: Graph, readouts: Readouts, resources: Mapping[str, float]
) -> dict[Cell, float]:
    """Seconds of each cell, measured as the other says; alike to the read-out, they are tried once."""
    timed: Any = ray.remote(time_cell)
    options = {f"num_{name}s": amount for name, amount in resources.items()}
    timed = timed.options(**options)
    kinds = {
        cell: (cell.readout, readouts[cell.readout].forecast_key(other), *graph.sources[cell].sizes.items())
        for cell, other in cells.items()
    }
    seconds = _one_of_each(kinds, lambda cell: timed.remote(cells[cell], dict(graph.sources[cell].sizes)))
    return {cell: seconds[kind] for cell, kind in kinds.items()}


def time_cell(cell: Cell, sizes: Mapping[str, int]) -> float:
    """Seconds of a cell, on the resources that Ray gave this task."""
    return find_readout(cell.readout).forecast_s(cell, sizes, trial_device())


def print_forecast(found: Forecast, console: Console) -> None:
    """Two lines, or three."""
    most = "at most " if found.is_upper_bound else ""
    lines = [
        f"forecast: {most}{duration(found.wall_s)} ({duration(found.extraction_s)} of them extraction), "
        f"{found.n_places} cells at a time, {found.gpu_hours:.2f} GPU-hours",
        f"activations: {human_bytes(found.store_bytes)} on disk, of them {human_bytes(found.object_store_bytes)} "
        "through the object store",
    ]
    if found.in_half_precision is not None:
        half = found._replace(extraction_s=found.in_half_precision[0], training_s=found.in_half_precision[1])
        lines.append(
            f"in bfloat16 (`precision: auto` of backbones, and `auto` where the read-out has it): {most}"
            f"{duration(half.wall_s)} ({duration(half.extraction_s)} of them extraction)"
        )
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)


def makespan_s(seconds: Iterable[float], n_places: int) -> float:
    """When the last of some cells ends, the longest begun first."""
    places = [0.0] * n_places
    for each in sorted(seconds, reverse=True):
        heapq.heapreplace(places, places[0] + each)
    return max(places)
