"""The activation store as an actor: it owns the tables in the object store while a study runs.

Ownership matters: objects put by an extractor would die with it. Pooled activations are put once as one
contiguous table and read by every trial of the node without copying; tokens (mode all) may be larger
than memory and stay memory-mapped files.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from binding.scenes import SplitName
from sweep.extract import Pass
from sweep.readout import SplitData
from sweep.store import DiskStore, Rows, StoreError, to_table


class Entry(NamedTuple):
    """Where to read an entry: in the object store, or else in the store's folder."""

    key: str
    objects: list[Any]
    """One object reference, in a list so that Ray does not resolve it; empty for memory-mapped entries."""


class ActivationStore:
    """Actor in front of a `DiskStore`.

    Args:
        root: the store's folder.
        memory_bytes: how much of the object store activations may take; the least recently used leave first.
    """

    def __init__(self, root: Path, memory_bytes: int) -> None:
        self._disk = DiskStore(root)
        self._memory_bytes = memory_bytes
        self._held: OrderedDict[str, tuple[Any, int]] = OrderedDict()

    def where(self) -> Path:
        """The store's folder."""
        return self._disk.root

    def present(self, keys: list[str]) -> tuple[set[str], list[str]]:
        """Sound entries, and what was wrong with the damaged ones, which are discarded."""
        found, damages = set(), []
        for key in keys:
            if not self._disk.has(key):
                continue
            damage = self._disk.damage(key)
            if damage is None:
                found.add(key)
            else:
                self._disk.discard(key)
                damages.append(damage)
        return found, damages

    def size_bytes(self, keys: list[str]) -> int:
        """Bytes that entries take on disk, those that are there."""
        return sum(self._disk.size_bytes(key) for key in keys if self._disk.has(key))

    def put_labels(self, key: str, labels: Mapping[str, np.ndarray]) -> None:
        """Keep a split's labels."""
        self._disk.write_part(key, 0, to_table(labels))
        self._disk.publish(key, {"kind": "labels"}, contiguous=True)

    def parts_waiting(self, job: Pass) -> set[int]:
        """Blocks that every entry of a pass already has."""
        return set.intersection(*(self._disk.parts_waiting(output.key) for output in job.outputs))

    def append(self, block: int, tables: dict[str, pa.Table]) -> None:
        """Keep one block of a pass."""
        for key, table in tables.items():
            self._disk.write_part(key, block, table)

    def publish(self, job: Pass) -> None:
        """Make complete entries of a pass's blocks; one that another run has published meanwhile stays.

        Raises:
            StoreError: blocks are missing.
        """
        for output in job.outputs:
            if self._disk.has(output.key):
                self._disk.abandon(output.key)
                continue
            if missing := set(range(job.n_blocks)) - self._disk.parts_waiting(output.key):
                raise StoreError(f"blocks {sorted(missing)} of entry {output.key} are missing from the store")
            description = {
                "kind": "activations",
                "backbone": job.backbone.source,
                "split": job.split,
                "layer": output.layer,
                "mode": output.mode,
                "dtype": job.dtype,
            }
            self._disk.publish(output.key, description, contiguous=output.mode != "all")

    def entry(self, key: str, *, in_memory: bool) -> Entry:
        """Where to read an entry; `in_memory` puts it into the object store if it fits the budget."""
        size = self._disk.size_bytes(key)
        if not in_memory or size > self._memory_bytes:
            return Entry(key, [])
        if key not in self._held:
            self._make_room(size)
            self._held[key] = (self._put(key), size)
        self._held.move_to_end(key)
        return Entry(key, [self._held[key][0]])

    def _put(self, key: str) -> Any:
        import ray

        return ray.put(self._disk.open(key))

    def _make_room(self, size: int) -> None:
        while self._held and sum(held for _, held in self._held.values()) + size > self._memory_bytes:
            self._held.popitem(last=False)


def read_split(store: Any, root: Path, keys: Mapping[str, str], *, in_memory: bool) -> SplitData:
    """A split's activations and labels, as read-only views of shared memory.

    Args:
        store: handle of the `ActivationStore` actor.
        root: the store's folder, for entries that are memory-mapped.
        keys: of `activations` and of `labels`.
        in_memory: whether activations should lie in the object store.
    """
    import ray

    def tables(kind: str, *, shared: bool) -> list[pa.Table]:
        entry: Entry = ray.get(store.entry.remote(keys[kind], in_memory=shared))
        return ray.get(entry.objects[0]) if entry.objects else DiskStore(root).open(entry.key)

    labels = tables("labels", shared=True)
    columns = {name: Rows.of(labels, name)[:] for name in labels[0].column_names}
    return SplitData(Rows.of(tables("activations", shared=in_memory), "activations"), columns)


def split_keys(activations: str, labels: str) -> dict[str, str]:
    """The two entries that a split of a cell reads."""
    return {"activations": activations, "labels": labels}


SplitKeys = Mapping[SplitName, Mapping[str, str]]
