"""The store actor's own logic, called without Ray."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from frozen.capture.reductions import View
from frozen.capture.sites import Site
from frozen.capture.views import Mode
from frozen.data.scenes import ColorShape, SplitPolicy
from frozen.models import BackboneConfig
from sweep.engine.passes import BLOCK_SAMPLES, Output, Pass
from sweep.store import parts
from sweep.store.actor import ActivationStore
from sweep.store.disk import DiskStore, Rows, StoreError, to_table

KEY = "ab" * 32


def published(mode: Mode = "cls") -> tuple[dict[str, dict[str, object]], int]:
    """What a pass of two blocks has published."""
    made = job(mode)
    return made.descriptions(), made.n_blocks


def job(mode: Mode = "cls") -> Pass:
    scene = ColorShape(n_colors=2, n_shapes=2, split=SplitPolicy(train=BLOCK_SAMPLES + 10))
    output = Output(View(Site("final"), mode), KEY)
    return Pass(scene, "train", BackboneConfig(source="control:noise"), (output,), "float16", BLOCK_SAMPLES + 10)


def block(number: int, rows: int) -> dict[str, object]:
    return {KEY: to_table({"activations": np.full((rows, 3), number, dtype=np.float16)})}


def test_a_pass_is_published_when_all_its_blocks_are_there(tmp_path: Path) -> None:
    store = ActivationStore(str(tmp_path), 10**6)
    store.append(1, block(1, 10))  # type: ignore[arg-type]
    assert store.blocks_waiting([KEY]) == {1}
    with pytest.raises(StoreError, match=r"no blocks \[0\] of the unfinished entry"):
        store.publish(*published())
    store.append(0, block(0, BLOCK_SAMPLES))  # type: ignore[arg-type]
    store.publish(*published())
    assert store.present([KEY]) == ({KEY}, [])
    tables = DiskStore(tmp_path).open(KEY)
    assert len(tables) == 1
    np.testing.assert_array_equal(Rows.of(tables, "activations")[:][:, 0], np.repeat([0, 1], [BLOCK_SAMPLES, 10]))


def test_a_large_table_becomes_several_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(0).integers(0, 9, (1000, 16))
    monkeypatch.setattr(parts, "PART_BYTES", rows.nbytes // 4)
    store = ActivationStore(str(tmp_path), 10**6)
    store._disk = DiskStore(tmp_path, rows.nbytes // 4)
    store.put_table(KEY, to_table({"x": rows}), {"kind": "labels"})
    tables = DiskStore(tmp_path).open(KEY)
    assert len(tables) == 4
    np.testing.assert_array_equal(Rows.of(tables, "x")[:], rows)


def test_what_another_run_has_published_meanwhile_stays(tmp_path: Path) -> None:
    slow, fast = ActivationStore(str(tmp_path), 10**6), ActivationStore(str(tmp_path), 10**6)
    slow.append(0, block(0, BLOCK_SAMPLES))  # type: ignore[arg-type]
    fast.append(1, block(1, 10))  # type: ignore[arg-type]
    fast.publish(*published())
    slow.append(1, block(1, 10))  # type: ignore[arg-type]
    slow.publish(*published())
    assert slow.present([KEY]) == ({KEY}, [])
    assert not list(tmp_path.glob("*/*.staging"))


def test_a_damaged_entry_is_named_and_discarded(tmp_path: Path) -> None:
    store = ActivationStore(str(tmp_path), 10**6)
    for number, rows in ((0, BLOCK_SAMPLES), (1, 10)):
        store.append(number, block(number, rows))  # type: ignore[arg-type]
    store.publish(*published())
    [part] = (tmp_path / KEY[:2] / KEY).glob("*.arrow")
    part.write_bytes(part.read_bytes()[:-1])
    present, damages = store.present([KEY])
    assert present == set()
    assert str(part) in damages[0]
    assert not DiskStore(tmp_path).has(KEY)


def test_entries_that_do_not_fit_the_memory_budget_stay_on_disk(tmp_path: Path) -> None:
    store = ActivationStore(str(tmp_path), memory_bytes=10)
    for number, rows in ((0, BLOCK_SAMPLES), (1, 10)):
        store.append(number, block(number, rows))  # type: ignore[arg-type]
    store.publish(*published())
    assert store.entry(KEY, in_memory=True).objects == []


def test_the_actors_that_keep_files_do_without_torch() -> None:
    command = "import sys, sweep.store.actor, sweep.engine.ledger; assert not {'torch', 'binding'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", command], check=True, timeout=120)
