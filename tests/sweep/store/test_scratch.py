from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from sweep.store.scratch import scratch_folder

LIVE = """
from sweep.store.scratch import scratch_folder
with scratch_folder() as folder:
    print(folder, flush=True)
    input()
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_a_folder_goes_with_its_block(temporary: Path) -> None:
    with scratch_folder() as folder:
        (folder / "rows").mkdir()
        assert folder.is_relative_to(temporary)
    assert not list(temporary.iterdir())


def test_the_folder_of_a_killed_process_goes_at_the_next_start_and_that_of_a_living_one_stays(
    temporary: Path,
) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", LIVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        folders = [Path(process.stdout.readline().strip()) for process in processes if process.stdout]
        (folders[0] / "row.json").write_text("{}")
        strange = temporary / "binding-sweep-of-somebody"
        strange.mkdir()
        processes[0].kill()
        processes[0].wait()
        assert folders[0].exists()
        with scratch_folder() as folder:
            assert set(temporary.iterdir()) == {folder.parent, folders[1].parent, strange}
        processes[1].communicate("\n", timeout=60)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert list(temporary.iterdir()) == [strange]
