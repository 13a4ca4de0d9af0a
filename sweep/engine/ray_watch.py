"""Watches Ray's own processes on this machine: without them the driver would end in pages of Ray's logs."""

from __future__ import annotations

import os
import select
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

import psutil

from frozen.terminal import complain
from sweep.engine.stopping import is_stopping

RAY_LOST = 3
"""Exit code of a run whose Ray was killed: the same that asks for the same command again when its time is up."""
_LOOK_EVERY_MS = 200
_OTHERS_FIRST_S = 0.03
_watches: list[RayWatch] = []


class RayWatch:
    """Ends this process with one sentence when a process of Ray ends before it should.

    Ray leaves no other way: its library ends the driver at once when it misses the raylet, or waits for minutes.

    Args:
        processes: what is watched, by its name.
    """

    def __init__(self, processes: dict[str, psutil.Process]) -> None:
        self._processes = processes
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ray is about to be shut down."""
        self._over.set()

    def _watch(self) -> None:
        with _death_notices(self._processes.values()) as wait:
            while not self._over.is_set():
                wait()
                if ended := [name for name, process in self._processes.items() if _has_ended(process)]:
                    self._end(ended[0])
                    return

    def _end(self, name: str) -> None:
        time.sleep(_OTHERS_FIRST_S)  # a batch system ends all processes of a job: then that is the reason to tell
        if self._over.is_set() or is_stopping():
            return
        if sys.stdout.isatty():
            sys.stdout.write("\x1b[?25h")  # the cursor, which a progress bar hides
        complain(
            f"\nRay's process {name} on this machine was killed, perhaps for lack of memory; "
            "the rows hold what is done, and the same command goes on where this one stopped"
        )
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(RAY_LOST)


@contextmanager
def watched(raylet_socket: str, *, own: bool) -> Iterator[None]:
    """Watch the raylet of this driver while the block runs, and the control service where it is our own.

    Args:
        raylet_socket: path of its socket, by which it is known.
        own: whether Ray was started by this process.
    """
    watch = RayWatch(processes_of_ray(raylet_socket, own=own))
    _watches.append(watch)
    try:
        yield
    finally:
        watch.stop()
        _watches.remove(watch)


def processes_of_ray(raylet_socket: str, *, own: bool) -> dict[str, psutil.Process]:
    """The raylet of this driver and, where Ray is our own, its control service, by their names.

    Several raylets of one machine have sockets `raylet`, `raylet.1`, ...: one name begins the others.
    """
    found: dict[str, psutil.Process] = {}
    for process in psutil.Process().children(recursive=True) if own else psutil.process_iter():
        with suppress(psutil.Error):
            name = process.name()
            is_raylet = name == "raylet" and f"--raylet_socket_name={raylet_socket}" in process.cmdline()
            if is_raylet or (own and name == "gcs_server"):
                found[name] = process
    return found


def shut_down_ray() -> None:
    """Shut Ray down, which ends its processes on purpose."""
    import ray

    for watch in _watches:
        watch.stop()
    ray.shutdown()


def _has_ended(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.Error:
        return True


@contextmanager
def _death_notices(processes: Iterable[psutil.Process]) -> Iterator[Callable[[], object]]:
    """A function that waits for the death of a process, but not for long."""
    poll = select.poll()
    descriptors: list[int] = []
    try:
        with suppress(OSError, AttributeError):  # only Linux has these descriptors
            for process in processes:
                descriptors.append(os.pidfd_open(process.pid))
                poll.register(descriptors[-1], select.POLLIN)
        yield lambda: poll.poll(_LOOK_EVERY_MS)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
