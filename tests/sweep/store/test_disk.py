"""The store: what comes out is what went in, and nobody can change it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from sweep.store.disk import DiskStore, Rows, store_key, to_table
from sweep.store.halves import Scaling, to_halves
from sweep.store.parts import write_ipc
from tests.sweep.store.entries import CODES, CUTS, KEY, fill, part, read

RNG = np.random.default_rng(0)
SIZES = (3, 2, 6)
PART_BYTES = pytest.mark.parametrize("part_bytes", [1, 2**27], ids=["parts", "one part"])
"""Every block a part of its own, or all of them one."""


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8", "uint16", "int64"])
@pytest.mark.parametrize("shape", [(7,), (7, 3), (7, 2, 3), (1, 1), (0,), (0, 3), (0, 2, 3), (4, 0)])
def test_arrays_come_back_bit_by_bit(store: DiskStore, dtype: str, shape: tuple[int, ...]) -> None:
    array = RNG.integers(0, 200, shape).astype(dtype)
    if array.dtype.kind == "f":
        array.flat[:4] = np.array([np.nan, np.inf, -np.inf, -0.0], dtype)[: array.size]
    fill(store, array)
    rows = read(store)
    assert (rows.shape, len(rows), rows[:].dtype) == (shape, shape[0], array.dtype)
    assert rows[:].tobytes() == array.tobytes()


@PART_BYTES
def test_blocks_of_no_samples_change_nothing(store: DiskStore) -> None:
    fill(store, CODES, (0, 5, 5, 11))
    np.testing.assert_array_equal(read(store)[:], CODES)


def test_columns_of_a_table_keep_apart(store: DiskStore) -> None:
    vector, bits = RNG.standard_normal(11), RNG.integers(2, size=(11, 3), dtype=np.uint8)
    for number, rows in enumerate(np.split(np.arange(11), CUTS)):
        store.write_block(KEY, number, to_table({"vector": vector[rows], "bits": bits[rows]}))
    store.publish(KEY, {})
    tables = store.open(KEY)
    assert tables[0].column_names == ["vector", "bits"]
    np.testing.assert_array_equal(Rows.of(tables, "vector")[:], vector)
    np.testing.assert_array_equal(Rows.of(tables, "bits")[:], bits)


@PART_BYTES
def test_blocks_may_be_written_in_any_order(store: DiskStore) -> None:
    parts = np.split(CODES, CUTS)
    for number in (2, 0, 3, 1):
        store.write_block(KEY, number, part(parts[number]))
    store.publish(KEY, {})
    np.testing.assert_array_equal(read(store)[:], CODES)


@PART_BYTES
def test_more_blocks_than_ten_stay_in_order(store: DiskStore) -> None:
    array = np.arange(24.0)
    fill(store, array, tuple(range(2, 24, 2)))
    np.testing.assert_array_equal(read(store)[:], array)


def test_a_small_entry_is_one_part_of_one_chunk(store: DiskStore) -> None:
    folder = fill(store, CODES, CUTS)
    [table] = store.open(KEY)
    assert table.column("x").num_chunks == 1
    [file] = folder.glob("*.arrow")
    assert file.name == "part-00000-00003.arrow"
    assert store.size_bytes(KEY) == file.stat().st_size > CODES.nbytes


@pytest.mark.parametrize("order", [range(8), (7, 1, 0, 3, 2, 4, 6, 5), range(7, -1, -1)])
def test_a_large_entry_is_parts_of_one_chunk_whatever_the_order_of_its_blocks(tmp_path: Path, order: range) -> None:
    """Two blocks and a half are what a part has to be: three blocks make one, and the last one is smaller."""
    array = RNG.standard_normal((16, 512))
    blocks, block_bytes = np.split(array, 8), array.nbytes // 8
    store = DiskStore(tmp_path, part_bytes=int(2.5 * block_bytes))
    for number in order:
        store.write_block(KEY, number, part(blocks[number]))
        staged = sum(file.stat().st_size for file in tmp_path.glob("*/*.staging/*"))
        assert staged < (len(store.blocks_waiting(KEY)) + 1) * 1.2 * block_bytes  # nothing stays twice
    assert store.blocks_waiting(KEY) == set(range(8))
    store.publish(KEY, {})
    assert [(len(table), table.column("x").num_chunks) for table in store.open(KEY)] == [(6, 1), (6, 1), (4, 1)]
    np.testing.assert_array_equal(read(store)[:], array)
    assert store.damage(KEY) is None
    names = sorted(file.name for file in tmp_path.glob("*/*/*"))
    joined = ["part-00000-00002.arrow", "part-00003-00005.arrow", "part-00006-00007.arrow"]
    assert names == ["meta.json", *joined]


def test_strings_lists_and_numbers_keep_their_types_when_blocks_are_joined(store: DiskStore) -> None:
    lists = pa.array([[1, 2], [], None, [3]], pa.list_(pa.int16()))
    whole = pa.table({"text": ["a", None, "", "ü"], "ids": lists, "is": [True, False, None, True]})
    for number in range(4):
        store.write_block(KEY, number, whole.slice(number, 1))
    store.publish(KEY, {})
    [table] = store.open(KEY)
    assert table.schema == whole.schema
    assert table.to_pylist() == whole.to_pylist()


def test_entries_of_older_versions_are_read(store: DiskStore) -> None:
    """One file of any name, or one a block."""
    for names in (["whole.arrow"], ["part-00000.arrow", "part-00001.arrow"]):
        folder = store.root / KEY[:2] / KEY
        folder.mkdir(parents=True, exist_ok=True)
        for name, rows in zip(names, np.array_split(CODES, len(names)), strict=True):
            write_ipc(part(rows), folder / name)
        meta = {"parts": {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}}
        (folder / "meta.json").write_text(json.dumps(meta))
        assert store.damage(KEY) is None
        np.testing.assert_array_equal(read(store)[:], CODES)


CHOICES = {
    "everything": slice(None),
    "slice over parts": slice(2, 10),
    "slice past the end": slice(8, 99),
    "empty slice": slice(5, 5),
    "backwards": slice(None, None, -2),
    "shuffled": np.array([10, 0, 3, 9, 4, 2]),
    "negative": np.array([-1, 0, -11, 5]),
    "repeated": np.array([4, 4, 0, 4, 10, 10]),
    "none": np.array([], dtype=np.int64),
    "mask": np.arange(11) % 3 == 1,
    "one": 4,
    "the last": -1,
}


@PART_BYTES
@pytest.mark.parametrize("choice", CHOICES.values(), ids=CHOICES.keys())
def test_rows_are_those_of_numpy(store: DiskStore, choice: object) -> None:
    fill(store, CODES, CUTS)
    rows = read(store)[choice]
    np.testing.assert_array_equal(rows, CODES[choice])
    assert rows.dtype == CODES.dtype


@PART_BYTES
@pytest.mark.parametrize("index", [11, -12, np.array([0, 11])])
def test_rows_that_are_not_there_are_refused(store: DiskStore, index: object) -> None:
    fill(store, CODES, CUTS)
    with pytest.raises(IndexError):
        read(store)[index]


@PART_BYTES
@pytest.mark.parametrize("choice", CHOICES.values(), ids=CHOICES.keys())
def test_what_is_handed_out_is_a_copy(store: DiskStore, choice: object) -> None:
    fill(store, CODES, CUTS)
    mine, others = read(store), read(store)
    torch.from_numpy(mine[choice]).fill_(7)
    for rows in (mine, others, read(store)):
        np.testing.assert_array_equal(rows[:], CODES)
    assert store.damage(KEY) is None


INGREDIENTS = {"backbone": "vit 64px", "data": "f00d", "layer": "final", "mode": "cls", "dtype": "float16"}


def test_keys_differ_with_every_ingredient() -> None:
    changed = [store_key(**(INGREDIENTS | {name: f"{value}x"})) for name, value in INGREDIENTS.items()]
    fewer = [store_key(**{k: v for k, v in INGREDIENTS.items() if k != name}) for name in INGREDIENTS]
    assert len({store_key(**INGREDIENTS), *changed, *fewer}) == 1 + 2 * len(INGREDIENTS)


def test_keys_are_the_same_in_any_order_and_process() -> None:
    key = store_key(**INGREDIENTS)
    assert store_key(**dict(reversed(INGREDIENTS.items()))) == key
    code = "import json, sys; from sweep.store.disk import store_key; print(store_key(**json.loads(sys.argv[1])))"
    command = [sys.executable, "-c", code, json.dumps(INGREDIENTS)]
    assert subprocess.run(command, capture_output=True, text=True, timeout=60).stdout.strip() == key


@PART_BYTES
def test_scaled_halves_are_undone_in_a_published_entry(store: DiskStore) -> None:
    """Every part has groups of its own, which stay those of its rows when parts are joined."""
    rng = np.random.default_rng(0)
    parts = [
        (1e3 * number + 1e-2 * rng.standard_normal((size, 4, 3))).astype(np.float32)
        for number, size in enumerate(SIZES)
    ]
    for number, array in enumerate(parts):
        scaled = [to_halves(torch.from_numpy(array[rows])) for rows in (slice(0, 1), slice(1, None))]
        halves, centres, scales = zip(*scaled, strict=True)
        scaling = Scaling(np.array([0, 1]), torch.stack(centres).numpy(), torch.stack(scales).numpy())
        store.write_block(KEY, number, scaling.on(to_table({"x": torch.cat(halves).numpy()}), "x"))
    store.publish(KEY, {})
    rows, exact = Rows.of(store.open(KEY), "x"), np.concatenate(parts)
    assert (rows.itemsize, rows.shape, rows[:].dtype) == (2, exact.shape, np.float32)
    np.testing.assert_allclose(rows[:], exact, atol=1e-4)
    for index in (5, slice(2, 9), np.array([9, 0, 4, 0]), -1, exact[:, 0, 0] > 1500):
        np.testing.assert_array_equal(rows[index], rows[:][index])
