"""Labels of splits, made by tasks, once a split."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pyarrow as pa
import ray
from ray.exceptions import RayError, RayTaskError

from frozen.data.spec import DatasetSpec, open_split
from frozen.readout.cells import Cell
from frozen.readout.needs import Labels
from frozen.readout.readout import find_readout
from sweep.engine.needs import Graph
from sweep.store.disk import to_table
from sweep.store.full_disk import full_disk, no_space

_CPUS_A_TASK = 4
"""CPUs of the cluster for each task at a time."""


def make_labels(readout: str, dataset: DatasetSpec, split: str) -> pa.Table:
    """The labels of a split, as a table of one chunk."""
    return to_table(dict(find_readout(readout).labels(open_split(dataset.config, split))))


class LabelMaking:
    """Makes the labels that some cells need and the store lacks; no labels pass through the driver.

    A task at a time, or a few where there are many CPUs: a process that makes labels imports first what data sets
    need, which takes longer than most labels do, and the next task finds it there.

    Args:
        cells: of the run.
        graph: of their needs.
        present: keys of the entries that the store holds.
        store: handle of the `ActivationStore` actor.
        on_arrival: told of keys that are there.
        on_loss: told of keys that could not be made, and why.
        n_cpus: of the cluster.
    """

    def __init__(
        self,
        cells: Iterable[Cell],
        graph: Graph,
        present: set[str],
        store: Any,
        on_arrival: Callable[[set[str]], None],
        on_loss: Callable[[set[str], BaseException], None],
        n_cpus: int,
    ) -> None:
        self._store, self._on_arrival, self._on_loss = store, on_arrival, on_loss
        self._most_calls = max(1, n_cpus // _CPUS_A_TASK)
        wanted: dict[str, tuple[str, Labels]] = {}
        for cell in cells:
            keys = graph.keys(cell)
            wanted |= {keys[name]: (cell.readout, need) for name, need in cell.needs_of(Labels)}
        # without a CPU of their own, because extractors hold them all at first and cells cannot begin without labels
        self._task: Any = ray.remote(num_cpus=0)(make_labels)
        self._waiting = {key: made for key, made in wanted.items() if key not in present}
        self._calls: dict[Any, str] = {}

    @property
    def keys(self) -> list[str]:
        """Keys of what is being made, or will be."""
        return [*self._calls.values(), *self._waiting]

    def step(self) -> None:
        """See which are there, and begin others."""
        self._take()
        while self._waiting and len(self._calls) < self._most_calls:
            key = next(iter(self._waiting))
            name, need = self._waiting.pop(key)
            made = self._task.remote(name, need.dataset, need.split)
            self._calls[self._store.put_table.remote(key, made, {"kind": "labels"})] = key

    def _take(self) -> None:
        if not self._calls:
            return
        ready, _ = ray.wait(list(self._calls), num_returns=len(self._calls), timeout=0)
        for call in ready:
            key = self._calls.pop(call)
            try:
                ray.get(call)
            except RayError as error:
                if no_space(error):
                    raise full_disk(ray.get(self._store.where.remote())) from error
                self._on_loss({key}, error.cause if isinstance(error, RayTaskError) and error.cause else error)
            else:
                self._on_arrival({key})
