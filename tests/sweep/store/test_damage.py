"""The store after a kill, a full disk or a flipped bit: half an entry never counts, and damage is named."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from sweep.store import disk as store_module
from sweep.store import parts as parts_module
from sweep.store.disk import DiskStore, LostEntryError, StoreError, lost_entry
from tests.sweep.store.entries import CODES, CUTS, KEY, fill, part, read


def test_an_entry_appears_only_when_it_is_complete(store: DiskStore) -> None:
    parts = np.split(CODES, CUTS)
    assert store.blocks_waiting(KEY) == set()
    for number in (0, 2, 3):
        store.write_block(KEY, number, part(parts[number]))
    assert not store.has(KEY)
    assert store.blocks_waiting(KEY) == {0, 2, 3}
    with pytest.raises(LostEntryError, match=r"has no entry .* the same folder on every node"):
        store.open(KEY)
    with pytest.raises(LostEntryError, match=r"has no blocks \[1\] of the unfinished entry"):
        store.publish(KEY, {})
    store.write_block(KEY, 1, part(parts[1]))
    store.publish(KEY, {})
    assert store.has(KEY)
    assert store.blocks_waiting(KEY) == set()


KILLED_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
import numpy as np
from sweep.store.disk import LostEntryError, lost_entry, DiskStore, to_table
store = DiskStore(Path(sys.argv[1]))
table = to_table({"x": np.ones((3, 2))})
store.write_block(sys.argv[2], 0, table)
store.write_block(sys.argv[2], 1, table)
Path.replace = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)
store.write_block(sys.argv[2], 2, table)
"""


def test_a_killed_writer_leaves_its_whole_parts_only(store: DiskStore) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_WHILE_WRITING, str(store.root), KEY], capture_output=True, timeout=60
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not store.has(KEY)
    assert store.blocks_waiting(KEY) == {0, 1}
    store.write_block(KEY, 2, part(np.zeros((3, 2))))
    store.publish(KEY, {})
    np.testing.assert_array_equal(read(store)[:], np.repeat([1.0, 1.0, 0.0], 3)[:, None] * np.ones((1, 2)))


class KilledError(BaseException):
    """Stands for the end of the process."""


def killed(*arguments: object, **options: object) -> None:
    raise KilledError


@pytest.mark.parametrize("survived", range(4))
def test_a_run_killed_while_it_joins_goes_on_without_doing_a_block_again(
    store: DiskStore, monkeypatch: pytest.MonkeyPatch, survived: int
) -> None:
    """Killed after the blocks were joined, when `survived` of them are gone."""
    unlink, gone = Path.unlink, []

    def unlink_some(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".arrow":
            if len(gone) == survived:
                raise KilledError
            gone.append(path)
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink_some)
    with pytest.raises(KilledError):
        fill(store, CODES, CUTS)
    monkeypatch.undo()
    assert not store.has(KEY)
    again = DiskStore(store.root)
    assert again.blocks_waiting(KEY) == set(range(4))
    again.publish(KEY, {})
    np.testing.assert_array_equal(read(again)[:], CODES)
    assert [file.name for file in store.root.rglob("*.arrow")] == ["part-00000-00003.arrow"]


@pytest.mark.parametrize("step", ["write_ipc", "_joined"])
def test_a_run_killed_before_a_part_is_there_keeps_its_blocks(
    store: DiskStore, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    for number, rows in enumerate(np.split(CODES, CUTS)):
        store.write_block(KEY, number, part(rows))
    monkeypatch.setattr(parts_module, step, killed)
    with pytest.raises(KilledError):
        store.publish(KEY, {})
    monkeypatch.undo()
    again = DiskStore(store.root)
    assert again.blocks_waiting(KEY) == set(range(4))
    again.publish(KEY, {})
    np.testing.assert_array_equal(read(again)[:], CODES)


@pytest.mark.parametrize("step", ["checksums", "META"])
def test_a_publication_cut_short_before_it_appears_keeps_its_parts(
    store: DiskStore, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr(store_module, step, killed)  # what is no name of a file ends the process as well
    with pytest.raises((KilledError, TypeError)):
        fill(store, CODES, CUTS)
    monkeypatch.undo()
    assert not store.has(KEY)
    again = DiskStore(store.root)
    assert again.blocks_waiting(KEY) == set(range(4))
    again.publish(KEY, {})
    np.testing.assert_array_equal(read(again)[:], CODES)


def test_a_run_killed_between_parts_does_only_what_is_left(tmp_path: Path) -> None:
    array = np.random.default_rng(1).standard_normal((14, 512))
    blocks = np.split(array, 7)
    store = DiskStore(tmp_path, part_bytes=2 * blocks[0].nbytes)
    for number in (0, 1, 2, 3, 4):
        store.write_block(KEY, number, part(blocks[number]))
    parts = {path.name: path.stat().st_ino for path in tmp_path.rglob("part-*-*.arrow")}
    assert set(parts) == {"part-00000-00001.arrow", "part-00002-00003.arrow"}
    again = DiskStore(tmp_path, part_bytes=2 * blocks[0].nbytes)
    assert again.blocks_waiting(KEY) == {0, 1, 2, 3, 4}
    for number in (5, 6):
        again.write_block(KEY, number, part(blocks[number]))
    again.publish(KEY, {})
    np.testing.assert_array_equal(read(again)[:], array)
    left = {path.name: path.stat().st_ino for path in tmp_path.rglob("part-*.arrow")}
    assert set(left) == {*parts, "part-00004-00005.arrow", "part-00006.arrow"}
    assert parts.items() <= left.items()  # they were not even written again


def test_a_block_made_again_after_it_was_joined_changes_nothing(tmp_path: Path) -> None:
    """As by another run that makes the same entry."""
    store = DiskStore(tmp_path, part_bytes=1500)
    other = DiskStore(tmp_path, part_bytes=1500)
    blocks = np.split(np.arange(12.0), 6)
    for number in range(4):
        store.write_block(KEY, number, part(blocks[number]))
    for number in (0, 1, 2):
        other.write_block(KEY, number, part(blocks[number]))
    for number in (4, 5):
        store.write_block(KEY, number, part(blocks[number]))
    assert other.blocks_waiting(KEY) == set(range(6))
    other.publish(KEY, {})
    np.testing.assert_array_equal(read(store)[:], np.arange(12.0))
    assert store.damage(KEY) is None


def test_what_another_run_takes_away_while_blocks_are_joined_is_no_error(
    store: DiskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def published_meanwhile(path: Path) -> None:
        raise FileNotFoundError(path)

    for number, rows in enumerate(np.split(CODES, CUTS)):
        store.write_block(KEY, number, part(rows))
    monkeypatch.setattr(parts_module, "read_ipc", published_meanwhile)
    assert list(parts_module.join(store.root / KEY[:2] / f"{KEY}.staging", 1000, is_complete=True)) == []


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (lambda file: os.truncate(file, file.stat().st_size - 1), "was altered after it was written"),
    "flipped": (flip_a_bit, "was altered after it was written"),
    "deleted": (lambda file: file.unlink(), "is missing"),
}


@pytest.mark.parametrize("part_bytes", [1])
@pytest.mark.parametrize("number", [0, 2])
@pytest.mark.parametrize(("harm", "message"), DAMAGES.values(), ids=DAMAGES.keys())
def test_damage_is_found_and_named(
    store: DiskStore, harm: Callable[[Path], object], message: str, number: int
) -> None:
    folder = fill(store, CODES, CUTS)
    assert store.damage(KEY) is None
    file = folder / f"part-{number:05}.arrow"
    harm(file)
    assert store.damage(KEY) == f"{file} {message}"


@pytest.mark.parametrize("part_bytes", [1])
def test_an_entry_without_one_of_its_parts_is_not_read_as_a_shorter_one(store: DiskStore) -> None:
    (fill(store, CODES, CUTS) / "part-00003.arrow").unlink()
    for look in (store.open, store.size_bytes):
        with pytest.raises(LostEntryError, match="has no whole entry") as lost:
            look(KEY)
    assert lost_entry(RuntimeError("another fault")) is None
    around = ValueError("around it")
    around.__cause__ = lost.value
    assert str(lost_entry(around)) == str(lost.value)


@pytest.mark.parametrize(
    "name", ["../other/part-00000.arrow", "/etc/passwd", "a/b.arrow", "..", "part.txt", "x.arrow\n"]
)
def test_an_entry_names_no_files_but_its_own(store: DiskStore, name: str) -> None:
    meta = fill(store, CODES) / "meta.json"
    meta.write_text(json.dumps({"parts": {name: "0" * 64}}))
    with pytest.raises(StoreError, match="is no name of a part"):
        store.open(KEY)
    assert "is no name of a part" in (store.damage(KEY) or "")


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "{}", '{"parts": 3}', "\udcff"])
def test_a_broken_description_is_damage(store: DiskStore, text: str) -> None:
    meta = fill(store, CODES) / "meta.json"
    meta.write_bytes(text.encode(errors="surrogateescape"))
    damage = store.damage(KEY)
    assert damage is not None
    assert damage.startswith(f"{meta} cannot be read (")
    with pytest.raises(StoreError, match=r"meta\.json cannot be read"):
        store.open(KEY)


@pytest.mark.parametrize("part_bytes", [1])
def test_the_description_says_what_an_entry_is(store: DiskStore) -> None:
    meta = json.loads((fill(store, CODES, CUTS) / "meta.json").read_text())
    assert meta["kind"] == "test"
    assert list(meta["parts"]) == [f"part-{number:05}.arrow" for number in range(4)]


def test_discarding_removes_an_entry_and_what_waits(store: DiskStore) -> None:
    fill(store, CODES)
    store.write_block(KEY, 0, part(CODES))
    store.discard(KEY)
    assert not store.has(KEY)
    assert store.blocks_waiting(KEY) == set()
    assert [path for path in store.root.rglob("*") if path.is_file()] == []
    store.discard(KEY)


def test_publishing_again_replaces_the_entry(store: DiskStore) -> None:
    fill(store, CODES, CUTS)
    reader = read(store)
    fill(store, CODES + 1)
    np.testing.assert_array_equal(read(store)[:], CODES + 1)
    np.testing.assert_array_equal(reader[:], CODES)
    assert store.damage(KEY) is None


def test_publishing_without_new_parts_keeps_the_entry(store: DiskStore) -> None:
    fill(store, CODES, CUTS)
    with pytest.raises(StoreError, match=r"has no blocks \[0\]"):
        store.publish(KEY, {})
    np.testing.assert_array_equal(read(store)[:], CODES)


def test_a_part_that_cannot_be_written_leaves_nothing(store: DiskStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write_block(KEY, 0, part(CODES))
    begun: list[Path] = []

    def disk_is_full(*arguments: object) -> None:
        begun.extend(store.root.rglob("*.tmp"))
        raise OSError("no space left on device")

    monkeypatch.setattr(pa.ipc, "new_file", disk_is_full)
    for number in (0, 1):
        with pytest.raises(OSError, match="no space left"):
            store.write_block(KEY, number, part(CODES + 1))
    monkeypatch.undo()
    assert len(begun) == 2
    assert list(store.root.rglob("*.tmp")) == []
    assert store.blocks_waiting(KEY) == {0}
    store.publish(KEY, {})
    np.testing.assert_array_equal(read(store)[:], CODES)
