"""Cleaning the store: what is listed is what is removed, and nothing else ever is."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from sweep.clean import keys_of_study, main
from sweep.store.disk import DiskStore, store_key, to_table
from tests.sweep.conftest import STUDY

DAY_S = 86400


@pytest.fixture
def store(tmp_path: Path) -> DiskStore:
    """Three entries, 1, 2 and 3 days old and larger the older, and one unfinished."""
    store = DiskStore(tmp_path / "store")
    for days in (1, 2, 3):
        key = store_key(days=days)
        store.write_block(key, 0, to_table({"x": np.zeros((days * 100_000, 1))}))
        store.publish(key, {"kind": "activations", "layer": str(days)})
        age(store, key, days)
    store.write_block(store_key(days=0), 0, to_table({"x": np.zeros(3)}))
    return store


def age(store: DiskStore, key: str, days: float) -> None:
    import time

    folder = store.root / key[:2] / key
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (time.time() - days * DAY_S,) * 2)


def there(store: DiskStore) -> set[int]:
    return {days for days in (1, 2, 3) if store.has(store_key(days=days))}


def clean(store: DiskStore, *arguments: str) -> int:
    return main(["--store", str(store.root), *arguments])


def test_by_default_nothing_is_removed(store: DiskStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert clean(store) == 0
    assert there(store) == {1, 2, 3}
    output = capsys.readouterr().out
    assert "activations 3" in output
    assert "unfinished" in output
    assert "4 of 4 entries, 4.8" in output
    assert "would be removed with --delete" in output


def test_by_age(store: DiskStore, capsys: pytest.CaptureFixture[str]) -> None:
    clean(store, "--older-than", "1.5", "--delete")
    assert there(store) == {1}
    assert "2 of 4 entries, 4.01 MB, removed" in capsys.readouterr().out


def test_by_size_the_oldest_go_first(store: DiskStore) -> None:
    clean(store, "--shrink-to", "0.0026", "--delete")
    assert there(store) == {1, 2}


def test_by_study(store: DiskStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(STUDY)
    keys = keys_of_study(study)
    assert len(keys) == 3 * (1 + 2 * 2 + 2)  # labels, two layers in two modes, two controls
    mine = min(keys)
    store.write_block(mine, 0, to_table({"x": np.zeros(3)}))
    store.publish(mine, {})
    clean(store, "--study", str(study), "--delete")
    assert not store.has(mine)
    assert there(store) == {1, 2, 3}


def test_a_study_with_a_mistake_is_one_message(store: DiskStore, tmp_path: Path) -> None:
    assert clean(store, "--study", str(tmp_path / "none.yaml"), "--delete") == 2
    assert there(store) == {1, 2, 3}


def test_only_entries_are_removed_and_no_link_is_followed(store: DiskStore, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    (precious / "ab").mkdir(parents=True)
    key = "ab" + "0" * 62
    (precious / "ab" / key).mkdir()
    (precious / "ab" / key / "meta.json").write_text("{}")
    (store.root / "notes.txt").write_text("mine")
    (store.root / "xy").mkdir()
    (store.root / "xy" / "mine").mkdir()
    (store.root / "ab").symlink_to(precious / "ab")
    linked = "cd" + "0" * 62
    (store.root / "cd").mkdir()
    (store.root / "cd" / linked).symlink_to(precious)
    clean(store, "--delete")
    assert there(store) == set()
    assert (precious / "ab" / key / "meta.json").exists()
    assert (store.root / "notes.txt").exists()
    assert (store.root / "xy" / "mine").exists()


@pytest.mark.parametrize("arguments", [["--older-than", "-1"], ["--shrink-to", "x"], ["--older-than", "nan"]])
def test_arguments_out_of_range_are_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)


def test_an_empty_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--store", str(tmp_path / "nowhere")]) == 0
    assert "0 of 0 entries" in capsys.readouterr().out
