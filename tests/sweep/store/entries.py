"""Entries of a store, as tests of it write and read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from sweep.store.disk import DiskStore, Rows, store_key, to_table

KEY = store_key(kind="test")
CODES = np.random.default_rng(0).standard_normal((11, 4)).astype(np.float16)
CUTS = (3, 4, 9)


def part(array: np.ndarray) -> pa.Table:
    return to_table({"x": array})


def fill(store: DiskStore, array: np.ndarray, cuts: tuple[int, ...] = ()) -> Path:
    """Publish an array in blocks; returns the folder of the entry."""
    for number, rows in enumerate(np.split(array, cuts)):
        store.write_block(KEY, number, part(rows))
    store.publish(KEY, {"kind": "test"})
    return store.root / KEY[:2] / KEY


def read(store: DiskStore) -> Rows:
    return Rows.of(store.open(KEY), "x")
