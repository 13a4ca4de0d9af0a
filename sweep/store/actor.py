"""The activation store as an actor: it owns the tables in the object store while a study runs.

Ownership matters: objects put by an extractor would die with it. Pooled activations are put once, part by part, and
read by every trial of the node without copying; tokens (mode all) and what exceeds the budget may be larger
than memory and stay memory-mapped files. The actor knows keys and tables only: its process does without
torch, which would cost it seconds and hundreds of megabytes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from sweep.store.disk import Rows, lost
from sweep.store.mirror import open_store
from sweep.store.parts import cut

if TYPE_CHECKING:
    from frozen.readout.needs import Columns


PRODUCT = "content"
"""The one column of a product's entry."""


class Entry(NamedTuple):
    """Where to read an entry: in the object store, or else in the store's folder."""

    key: str
    objects: list[Any]
    """One object reference, in a list so that Ray does not resolve it; empty for memory-mapped entries."""


class ActivationStore:
    """Actor in front of a `DiskStore`.

    Args:
        place: path or URL of the store.
        memory_bytes: how much of the object store activations may take; the least recently used leave first.
    """

    def __init__(self, place: str, memory_bytes: int) -> None:
        self._disk = open_store(place)
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

    def put_table(self, key: str, table: pa.Table, description: Mapping[str, object]) -> None:
        """Keep a table as an entry of its own."""
        for number, piece in enumerate(cut(table)):
            self._disk.write_block(key, number, piece)
        self._disk.publish(key, description)

    def put_product(self, key: str, content: bytes, description: Mapping[str, object]) -> None:
        """Keep a product, in place of one that is there."""
        if self._disk.has(key):
            self._disk.discard(key)
        self._disk.write_block(key, 0, pa.table({PRODUCT: pa.array([content], pa.large_binary())}))
        self._disk.publish(key, {"kind": "product", **description})

    def blocks_waiting(self, keys: list[str]) -> set[int]:
        """Blocks that every one of some entries already has."""
        return set.intersection(*(self._disk.blocks_waiting(key) for key in keys))

    def append(self, block: int, tables: dict[str, pa.Table]) -> None:
        """Keep one block of each of some entries."""
        for key, table in tables.items():
            self._disk.write_block(key, block, table)

    def publish(self, descriptions: Mapping[str, Mapping[str, object]], n_blocks: int) -> None:
        """Make complete entries of their blocks; one that another run has published meanwhile stays.

        Args:
            descriptions: what each entry is, by its key.
            n_blocks: that each of them must have.

        Raises:
            LostEntryError: blocks are missing.
        """
        for key, description in descriptions.items():
            if self._disk.has(key):
                self._disk.abandon(key)
                continue
            if missing := set(range(n_blocks)) - self._disk.blocks_waiting(key):
                raise lost(self._disk.root, f"blocks {sorted(missing)} of the unfinished entry {key}")
            self._disk.publish(key, description)

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


def read_columns(store: Any, place: str, key: str, *, in_memory: bool) -> Columns:
    """The columns of an entry, as read-only views of shared memory or of memory-mapped files.

    Args:
        store: handle of the `ActivationStore` actor.
        place: path or URL of the store, for entries that are memory-mapped.
        key: of the entry.
        in_memory: whether it should lie in the object store.
    """
    import ray

    entry: Entry = ray.get(store.entry.remote(key, in_memory=in_memory))
    tables = ray.get(entry.objects[0]) if entry.objects else open_store(place).open(entry.key)
    return {name: Rows.of(tables, name) for name in tables[0].column_names}


def read_product(place: str, key: str) -> bytes:
    """The bytes of a product."""
    return open_store(place).open(key)[0][PRODUCT].chunk(0)[0].as_py()
