"""What ends a run early, for real: it stops, keeps what is done, says how to go on, and the same command does."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import psutil
import pytest

from tests.sweep.conftest import SMALL, Project, finish, wait_until, working
from tests.sweep.faults import stuck_cell


def alive(family: list[psutil.Process]) -> list[psutil.Process]:
    return [process for process in family if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def stop_in_the_middle_of_a_cell(project: Project, stop: Callable[[subprocess.Popen[str]], None]) -> None:
    """Stop a run when all cells but one have their rows; it keeps them, says so, and leaves no process behind."""
    process = project.start(*SMALL, environment=stuck_cell(project.folder))
    wait_until(lambda: len(project.rows) == 2 and (project.folder / "node").exists())
    assert working(process, "ImplicitFunc.train")
    family = psutil.Process(process.pid).children(recursive=True)
    stop(process)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    assert "interrupted; rows and table hold what is done, and the same command goes on" in output
    assert "Traceback" not in output
    assert set(project.table().backbone) == {"shipped:shapes_vit_objects", "oracle_objects"}
    _, left = psutil.wait_procs(family, timeout=20)
    assert not alive(left)


@pytest.mark.starts_ray
def test_sigterm_in_the_middle_of_a_cell_is_an_interrupt(project: Project) -> None:
    stop_in_the_middle_of_a_cell(project, lambda process: process.send_signal(signal.SIGTERM))


@pytest.mark.slow
@pytest.mark.starts_ray
def test_a_run_that_ctrl_c_has_stopped_goes_on_and_ends_with_equal_rows(
    finished: tuple[Project, int, str], project: Project
) -> None:
    """A terminal sends the signal to every process of the command."""
    stop_in_the_middle_of_a_cell(project, lambda process: os.killpg(process.pid, signal.SIGINT))
    code, output = project.run(*SMALL)
    assert code == 0, output
    assert "3 cells: 2 done, 1 to do" in output
    pd.testing.assert_frame_equal(project.table(), finished[0].small_table())


@pytest.mark.slow
@pytest.mark.starts_ray
def test_sigterm_while_ray_starts_is_an_interrupt(project: Project) -> None:
    process = project.start(*SMALL)

    def ray_starts() -> bool:
        family = psutil.Process(process.pid).children(recursive=True)
        return any("gcs_server" in " ".join(member.cmdline()) for member in family)

    wait_until(ray_starts)
    process.send_signal(signal.SIGTERM)
    code, output = finish(process)
    assert code == 130, output
    assert "the same command goes on" in output


@pytest.mark.slow
@pytest.mark.starts_ray
def test_the_time_that_is_up_stops_a_run_with_its_report(project: Project) -> None:
    code, output = project.run(*SMALL, "--max-cells", "1")
    assert code == 0, output
    code, output = project.run(*SMALL, "--set", "controls=[]", "--set", "fit.epochs=1000000", "--max-hours", "0.01")
    assert code == 3, output
    assert "--max-hours 0.01 is over; rows and table hold what is done" in output
    code, output = project.run(*SMALL, "--max-hours", "1")
    assert code == 0, output
    assert len(project.table()) == 3


@pytest.fixture
def little_disk(tmp_path: Path):
    """Mounts a file system of so many bytes on a folder."""
    mounted: list[Path] = []

    def mount(folder: Path, size_bytes: int) -> None:
        folder.mkdir(parents=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"cannot mount a file system here: {done.stderr.strip()}")
        mounted.append(folder)

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def grow(folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=64m", str(folder)], check=True)


@pytest.mark.slow
@pytest.mark.starts_ray
@pytest.mark.parametrize(("folder", "size_bytes"), [("store", 400_000), ("results", 60_000)])
def test_a_full_disk_is_one_message_and_the_run_goes_on_when_there_is_space(
    finished: tuple[Project, int, str], project: Project, little_disk, folder: str, size_bytes: int
) -> None:
    place = project.folder / folder
    little_disk(place, size_bytes)
    code, output = project.run()
    assert code == 2, output
    assert "no space left on the disk of" in output
    assert "run the same command again" in output
    assert "Traceback" not in output
    assert not list(place.rglob("*.tmp"))
    grow(place)
    code, output = project.run()
    assert code == 0, output
    pd.testing.assert_frame_equal(project.table(), finished[0].table())
