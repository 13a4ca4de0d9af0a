"""Which of Ray's processes a driver watches."""

from __future__ import annotations

import subprocess
from pathlib import Path

from sweep.engine.ray_watch import processes_of_ray
from tests.sweep.conftest import wait_until


def test_a_driver_watches_its_own_raylet_among_several_of_one_machine(tmp_path: Path) -> None:
    program = tmp_path / "raylet"
    program.write_text("#!/bin/sh\nread until_the_end\n")
    program.chmod(0o700)
    sockets = [str(tmp_path / name) for name in ("raylet.2", "raylet", "raylet.1")]
    started = [
        subprocess.Popen([program, f"--raylet_socket_name={socket}"], stdin=subprocess.PIPE) for socket in sockets
    ]
    try:
        wait_until(lambda: all(processes_of_ray(socket, own=False) for socket in sockets))
        for process, socket in zip(started, sockets, strict=True):
            assert processes_of_ray(socket, own=False)["raylet"].pid == process.pid
            assert processes_of_ray(socket, own=True)["raylet"].pid == process.pid
    finally:
        for process in started:
            process.communicate()
