"""Labels of splits, made by tasks of their own, once a split."""

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


def make_labels(readout: str, dataset: DatasetSpec, split: str) -> pa.Table:
    """The labels of a split, as a table of one chunk."""
    return to_table(dict(find_readout(readout).labels(open_split(dataset.config, split))))


class LabelMaking:
    """Makes the labels that some cells need and the store lacks; a task each, and no labels pass through the driver.

    Args:
        cells: of the run.
        graph: of their needs.
        present: keys of the entries that the store holds.
        store: handle of the `ActivationStore` actor.
        on_arrival: told of keys that are there.
        on_loss: told of keys that could not be made, and why.
    """

    def __init__(
        self,
        cells: Iterable[Cell],
        graph: Graph,
        present: set[str],
        store: Any,
        on_arrival: Callable[[set[str]], None],
        on_loss: Callable[[set[str], BaseException], None],
    ) -> None:
        self._store, self._on_arrival, self._on_loss = store, on_arrival, on_loss
        wanted: dict[str, tuple[str, Labels]] = {}
        for cell in cells:
            keys = graph.keys(cell)
            wanted |= {keys[name]: (cell.readout, need) for name, need in cell.needs_of(Labels)}
        # without a CPU of their own, because extractors hold them all at first and cells cannot begin without labels
        task: Any = ray.remote(num_cpus=0)(make_labels)
        self._calls: dict[Any, str] = {}
        for key, (name, need) in wanted.items():
            if key not in present:
                made = task.remote(name, need.dataset, need.split)
                self._calls[store.put_table.remote(key, made, {"kind": "labels"})] = key

    @property
    def keys(self) -> list[str]:
        """Keys of what is being made."""
        return list(self._calls.values())

    def step(self) -> None:
        """See which are there."""
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
