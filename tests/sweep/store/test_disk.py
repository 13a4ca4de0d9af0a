"""The store: what comes out is what went in, and nobody can change it."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from sweep.store.disk import DiskStore, Rows, store_key, to_table
from sweep.store.halves import Scaling, to_halves
from tests.sweep.store.entries import CODES, CUTS, KEY, fill, part, read

RNG = np.random.default_rng(0)
SIZES = (3, 2, 6)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8"])
@pytest.mark.parametrize("shape", [(7,), (7, 3), (7, 2, 3), (1, 1), (0,), (0, 3), (0, 2, 3), (4, 0)])
def test_arrays_come_back_bit_by_bit(store: DiskStore, dtype: str, shape: tuple[int, ...]) -> None:
    array = RNG.integers(0, 200, shape).astype(dtype)
    if array.dtype.kind == "f":
        array.flat[:4] = np.array([np.nan, np.inf, -np.inf, -0.0], dtype)[: array.size]
    fill(store, array)
    rows = read(store)
    assert (rows.shape, len(rows), rows[:].dtype) == (shape, shape[0], array.dtype)
    assert rows[:].tobytes() == array.tobytes()


@pytest.mark.parametrize("contiguous", [True, False])
def test_parts_of_no_samples_change_nothing(store: DiskStore, contiguous: bool) -> None:
    fill(store, CODES, (0, 5, 5, 11), contiguous=contiguous)
    np.testing.assert_array_equal(read(store)[:], CODES)


def test_columns_of_a_table_keep_apart(store: DiskStore) -> None:
    vector, bits = RNG.standard_normal(11), RNG.integers(2, size=(11, 3), dtype=np.uint8)
    for number, rows in enumerate(np.split(np.arange(11), CUTS)):
        store.write_part(KEY, number, to_table({"vector": vector[rows], "bits": bits[rows]}))
    store.publish(KEY, {}, contiguous=True)
    tables = store.open(KEY)
    assert tables[0].column_names == ["vector", "bits"]
    np.testing.assert_array_equal(Rows.of(tables, "vector")[:], vector)
    np.testing.assert_array_equal(Rows.of(tables, "bits")[:], bits)


@pytest.mark.parametrize("contiguous", [True, False])
def test_parts_may_be_written_in_any_order(store: DiskStore, contiguous: bool) -> None:
    parts = np.split(CODES, CUTS)
    for number in (2, 0, 3, 1):
        store.write_part(KEY, number, part(parts[number]))
    store.publish(KEY, {}, contiguous=contiguous)
    np.testing.assert_array_equal(read(store)[:], CODES)


def test_more_parts_than_ten_stay_in_order(store: DiskStore) -> None:
    array = np.arange(24.0)
    fill(store, array, tuple(range(2, 24, 2)))
    np.testing.assert_array_equal(read(store)[:], array)


def test_a_contiguous_entry_is_one_chunk(store: DiskStore) -> None:
    folder = fill(store, CODES, CUTS, contiguous=True)
    [table] = store.open(KEY)
    assert table.column("x").num_chunks == 1
    np.testing.assert_array_equal(read(store)[:], CODES)
    [file] = folder.glob("*.arrow")
    assert store.size_bytes(KEY) == file.stat().st_size > CODES.nbytes


def test_other_entries_keep_their_parts(store: DiskStore) -> None:
    folder = fill(store, CODES, CUTS)
    assert [len(table) for table in store.open(KEY)] == [3, 1, 5, 2]
    assert store.size_bytes(KEY) == sum(file.stat().st_size for file in folder.glob("*.arrow"))


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


@pytest.mark.parametrize("cuts", [(), CUTS], ids=["one part", "four parts"])
@pytest.mark.parametrize("choice", CHOICES.values(), ids=CHOICES.keys())
def test_rows_are_those_of_numpy(store: DiskStore, choice: object, cuts: tuple[int, ...]) -> None:
    fill(store, CODES, cuts)
    rows = read(store)[choice]
    np.testing.assert_array_equal(rows, CODES[choice])
    assert rows.dtype == CODES.dtype


@pytest.mark.parametrize("index", [11, -12, np.array([0, 11])])
def test_rows_that_are_not_there_are_refused(store: DiskStore, index: object) -> None:
    fill(store, CODES, CUTS)
    with pytest.raises(IndexError):
        read(store)[index]


@pytest.mark.parametrize("cuts", [(), CUTS], ids=["one part", "four parts"])
@pytest.mark.parametrize("choice", CHOICES.values(), ids=CHOICES.keys())
def test_what_is_handed_out_is_a_copy(store: DiskStore, choice: object, cuts: tuple[int, ...]) -> None:
    fill(store, CODES, cuts)
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


@pytest.mark.parametrize("contiguous", [True, False])
def test_scaled_halves_are_undone_in_a_published_entry(store: DiskStore, contiguous: bool) -> None:
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
        store.write_part(KEY, number, scaling.on(to_table({"x": torch.cat(halves).numpy()}), "x"))
    store.publish(KEY, {}, contiguous=contiguous)
    rows, exact = Rows.of(store.open(KEY), "x"), np.concatenate(parts)
    assert (rows.itemsize, rows.shape, rows[:].dtype) == (2, exact.shape, np.float32)
    np.testing.assert_allclose(rows[:], exact, atol=1e-4)
    for index in (5, slice(2, 9), np.array([9, 0, 4, 0]), -1, exact[:, 0, 0] > 1500):
        np.testing.assert_array_equal(rows[index], rows[:][index])
