"""Everything that one run needs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from rich.console import Console

from frozen.readout.cells import Cell
from frozen.readout.readout import Readouts
from sweep.engine.cluster import Resources
from sweep.engine.needs import Graph
from sweep.results.directory import ResultsDirectory

_actors = count(1)


@dataclass(frozen=True)
class Run:
    """Everything one run needs.

    Attributes:
        study: name of the study.
        git_commit: commit of the project.
        readouts: what is measured, by name.
        cells: what to measure, givers of products before those that need them.
        graph: needs of the study's cells.
        results: where rows go.
        store: path or URL of the activation store.
        store_memory_bytes: how much of the object store activations may take.
        resources: of the cluster.
        gpus_per_cell: share of a GPU that a trial takes.
        logs: names of the logs to keep beside the rows, of `sweep.run.LOGS`.
        console: where progress is shown.
        n_done: cells of the study that earlier runs have done.
        n_held_back: cells of the study that this run leaves for later.
    """

    study: str
    git_commit: str
    readouts: Readouts
    cells: Sequence[Cell]
    graph: Graph
    results: ResultsDirectory
    store: str
    store_memory_bytes: int
    resources: Resources
    gpus_per_cell: float
    logs: Sequence[str]
    console: Console
    n_done: int = 0
    n_held_back: int = 0

    def say(self, line: str) -> None:
        """Print a line as it is; a terminal that is gone ends no run."""
        with suppress(OSError, ValueError):
            self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def on_this_node(self, actor: type, *arguments: Any) -> Any:
        """An actor on the driver's node, which is where its files are; named for the dashboard."""
        name = f"{actor.__name__} of {self.study}, driver {os.getpid()}, {next(_actors)}"
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        remote: Any = ray.remote(actor)
        return remote.options(name=name, num_cpus=0, scheduling_strategy=here).remote(*arguments)
