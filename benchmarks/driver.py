"""Cells a second that the driver starts and ends while thousands of trials run: Tune's workers are pretended.

    python benchmarks/driver.py [--places 8 1000 8000] [--cells 6000] [--save driver]

Everything that the driver does for a cell is real: the engine's search and callbacks, Tune's own bookkeeping, the
progress line, the logs, and waiting for as many references as there are trials. Only the workers are none: a trial
begins as soon as there is a place, and the one that began first ends as soon as all places are taken. Each number of
places runs in a process of its own. `ledger` is how many rows a second the actor that writes them takes besides, each
with the samples of a small cell.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from measuring import alone, machine, save
from rich.console import Console
from scale import CELLS_A_DATASET, STUDY

from frozen.readout.readout import find_readout
from sweep.engine.grid import make_grid
from sweep.engine.needs import Graph, Source, splits_of
from sweep.results.columns import IDENTITY_COLUMNS, identity_columns
from sweep.results.directory import ResultsDirectory
from sweep.study.load import load_study, locate_in

_ROWS = 300


class Endless:
    """An actor whose calls never end: what Tune waits for while its trials run."""

    async def train(self) -> None:
        import asyncio

        await asyncio.Event().wait()

    async def get_auto_filled_metrics(self, *, debug_metrics_only: bool) -> dict[str, object]:
        """What Tune asks of each worker that begins with a trial."""
        del debug_metrics_only
        return {}


class PretendedActors:
    """In the place of Tune's manager of actors: its workers take no time.

    Attributes:
        places: trials that run at the same time.
        cell_ids: of the jobs, by number.
    """

    places = 0
    cell_ids: tuple[str, ...] = ()

    def __init__(self, resource_manager: object) -> None:
        import ray
        from ray.air.execution._internal.tracked_actor import TrackedActor

        del resource_manager
        self._tracked = TrackedActor
        actor: Any = ray.remote(Endless)
        self._endless = actor.options(num_cpus=0, max_concurrency=self.places + 1).remote()
        self._references = [self._endless.train.remote() for _ in range(self.places)]
        self._pending: dict[Any, Mapping[str, Any]] = {}
        self._live_actors_to_ray_actors_resources: dict[Any, tuple[Any, None]] = {}
        self._job: dict[Any, int] = {}
        self._told: set[Any] = set()
        self._events: deque[tuple[Callable[..., object], Any, object]] = deque()

    def next(self, timeout: float | None = None) -> bool:
        """Let the next thing happen."""
        import ray

        live = self._live_actors_to_ray_actors_resources
        ray.wait(self._references[: len(live)] or self._references, num_returns=1, timeout=0)
        if self._pending and len(live) < self.places:
            actor, arguments = next(iter(self._pending.items()))
            del self._pending[actor]
            live[actor] = (self._endless, None)
            self._job[actor] = arguments["config"]["job"]["number"]
            actor._on_start(actor)
        elif self._events:
            call, actor, result = self._events.popleft()
            call(actor, result)
        else:
            time.sleep(timeout or 0)
            return False
        return True

    def add_actor(
        self, cls: object, kwargs: Mapping[str, Any], resource_request: object, **calls: Callable[..., object]
    ) -> Any:
        """An actor that waits for a place."""
        del cls, resource_request
        actor = self._tracked(uuid.uuid4().int, **calls)  # pyright: ignore[reportArgumentType]
        self._pending[actor] = kwargs
        return actor

    def schedule_actor_task(
        self,
        tracked_actor: Any,
        method_name: str,
        args: tuple[Any, ...] | None = None,
        kwargs: object = None,
        on_result: Callable[..., object] | None = None,
        on_error: object = None,
        _return_future: bool = False,
    ) -> object:
        """What a worker would do, done at once; its end waits for the ends of those before."""
        del kwargs, on_error
        result: object = True
        if method_name == "reset" and args:
            self._job[tracked_actor] = args[0]["job"]["number"]
        elif method_name == "train":
            result = self._result(tracked_actor)
        if on_result is not None:
            self._events.append((on_result, tracked_actor, result))
        return object() if _return_future else None

    def _result(self, actor: Any) -> dict[str, object]:
        """What Tune is told of a trial of one cell: its row is there; then that it has ended."""
        number = self._job[actor]
        told = {
            "cell_id": self.cell_ids[number],
            "failed": 0,
            "notes": [],
            "steps": 100,
            "training_iteration": 1,
            "time_total_s": 1.0,
            **{f"number_{k}": float(k) for k in range(60)},
        }
        if actor in self._told:
            self._told.discard(actor)
            return {**told, "done": True, "__duplicate__": True}
        self._told.add(actor)
        return {**told, "done": False}

    def remove_actor(self, tracked_actor: Any, kill: bool = False, stop_future: object = None) -> bool:
        """Its place is free."""
        del kill, stop_future
        self._pending.pop(tracked_actor, None)
        if self._live_actors_to_ray_actors_resources.pop(tracked_actor, None) is None:
            return False
        self._events.append((lambda actor, _: actor._on_stop and actor._on_stop(actor), tracked_actor, None))
        return True

    def is_actor_started(self, tracked_actor: Any) -> bool:
        """Whether it has a place."""
        return tracked_actor in self._live_actors_to_ray_actors_resources

    def is_actor_failed(self, tracked_actor: Any) -> bool:
        """None does."""
        del tracked_actor
        return False

    def clear_actor_task_futures(self, tracked_actor: Any) -> None:
        """There are none."""

    def cleanup(self) -> None:
        """Nothing is left."""

    @property
    def num_live_actors(self) -> int:
        """Those with a place."""
        return len(self._live_actors_to_ray_actors_resources)

    @property
    def num_pending_actors(self) -> int:
        """Those without."""
        return len(self._pending)

    @property
    def num_total_actors(self) -> int:
        """Both."""
        return self.num_live_actors + self.num_pending_actors

    @property
    def num_actor_tasks(self) -> int:
        """Calls whose end is not told yet."""
        return len(self._events)

    def get_live_actors_resources(self) -> dict[str, float]:
        """A core each."""
        return {"CPU": float(self.num_live_actors)}


def driven(places: int, n_timed: int) -> dict[str, object]:
    """One run of the driver: cells a second while all places are taken, its processor time and memory."""
    import ray
    from ray.tune.execution import tune_controller

    from sweep.engine.cluster import Resources, ray_session
    from sweep.engine.measuring import _jobs, _monitor, longest_first
    from sweep.engine.run import Run
    from sweep.engine.tuner import run_trials
    from sweep.engine.work import Work
    from sweep.live.progress import progress
    from sweep.store.actor import ActivationStore

    n_cells = n_timed + places  # the last ones leave places empty
    with tempfile.TemporaryDirectory() as scratch, ray_session(None, dashboard=False):
        study, readout = Path(scratch) / "scale.yaml", find_readout("binding")
        seeds = ", ".join(map(str, range(max(1, -(-n_cells // CELLS_A_DATASET)))))
        study.write_text(STUDY.format(seeds=seeds), encoding="utf-8")
        cells = make_grid(load_study(study, [], None), readout, locate_in(study, [])).cells[:n_cells]
        sources = {cell: pretended_source(cell.dataset.name, splits_of(cell)) for cell in cells}
        graph = Graph(cells, sources, {"binding": readout})
        results = ResultsDirectory(Path(scratch) / "results")
        results.root.mkdir()
        resources = Resources(places, 0, "")
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(resources.most_waiting(0.25))
        console = Console(file=Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        place = str(Path(scratch) / "store")
        logs = ("tensorboard", "optuna")
        run = Run(
            "scale", "", {"binding": readout}, cells, graph, results, place, 10**8, resources, 0.25, logs, console
        )
        costs = longest_first(run)
        jobs = _jobs(run, list(costs))
        store = run.on_this_node(ActivationStore, place, 10**8)
        present = {key for cell in cells for key in graph.keys(cell).values()}
        ends: list[float] = []
        with progress(console, "scale", list(costs.values()), n_done=0, n_held_back=0) as line:
            work = Work(run, jobs, costs, store, present, _monitor(run, line, None))
            measured = work.measured

            def noted(cell_id: str, *, failed: bool, steps: int) -> None:
                ends.append(time.perf_counter())
                measured(cell_id, failed=failed, steps=steps)

            work.measured = noted
            PretendedActors.places = places
            PretendedActors.cell_ids = tuple(job.tasks[0].cell.cell_id for job in jobs)
            tune_controller.RayActorManager = PretendedActors
            began, busy = peak_mb(), time.process_time()
            assert run_trials(run, jobs, store, work)
        assert len(ends) == len(cells)
        first, last = n_timed // 10, n_timed - 1
        ledger = rows_a_second(work.ledger, cells[0], readout.columns)
        ray.kill(work.ledger)
    return {
        "places": places,
        "cells": len(cells),
        "cells_a_second": round((last - first) / (ends[last] - ends[first]), 1),
        "processor_ms_a_cell": round(1e3 * (time.process_time() - busy) / len(cells), 2),
        "more_mb": round(peak_mb() - began),
        "ledger_rows_a_second": round(ledger),
    }


def pretended_source(name: str, splits: tuple[str, ...]) -> Source:
    """Content that no data has."""
    return Source(dict.fromkeys(splits, name), dict.fromkeys(splits, 100), "pretended", "pretended")


def rows_a_second(ledger: Any, cell: Any, columns: Any) -> float:
    """How many rows the actor writes that keeps them, one after the other."""
    import ray

    samples = pa.table({"loss_bits": np.zeros(1_000, dtype=np.float32)})
    row = {**dict.fromkeys(IDENTITY_COLUMNS), **identity_columns(cell), **dict.fromkeys(columns, 0.5), "flags": []}
    start = time.perf_counter()
    for number in range(_ROWS):
        ray.get(ledger.write.remote({**row, "cell_id": f"{number:064x}", "status": "done"}, samples))
    return _ROWS / (time.perf_counter() - start)


def peak_mb() -> float:
    """Of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def main() -> None:
    """Print a line for each number of places."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--places", type=int, nargs="*", default=[8, 1_000, 8_000])
    parser.add_argument("--cells", type=int, default=2_000, help="how many end while all places are taken")
    parser.add_argument("--save", metavar="NAME", help="write results/NAME.json")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(driven(arguments.one, arguments.cells)))
        return
    rows = list(alone(__file__, (("--one", places, "--cells", arguments.cells) for places in arguments.places)))
    if arguments.save:
        save(arguments.save, machine(torch.device("cpu")), rows)


if __name__ == "__main__":
    main()
