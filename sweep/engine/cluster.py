"""Starting Ray, or joining a cluster."""

from __future__ import annotations

import logging
import math
import os
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from sweep.engine.local_ray import keep_token_private, local_ray
from sweep.engine.ray_watch import shut_down_ray, watched
from sweep.engine.stopping import noticed

NAMESPACE = "sweep"
KNOCK_S = 10.0
_FEWEST_WAITING = 8


class ClusterError(RuntimeError):
    """A Ray cluster that cannot be joined."""


class Resources(NamedTuple):
    """What the cluster has, and what a trial takes."""

    cpus: int
    gpus: int
    dashboard: str

    def of_trial(self, gpus_per_cell: float) -> dict[str, float]:
        """Resources of one cell: a CPU, and a share of a GPU where there are any."""
        return {"cpu": 1, "gpu": gpus_per_cell} if self.gpus else {"cpu": 1}

    def most_waiting(self, gpus_per_cell: float) -> int:
        """How many trials Tune should have in line: of workers whose trials end together, it keeps as many."""
        n_places = self.gpus / gpus_per_cell if self.gpus else self.cpus
        return max(_FEWEST_WAITING, math.ceil(n_places))


@contextmanager
def ray_session(address: str | None, gpus: int = 0, *, dashboard: bool = True) -> Iterator[Resources]:
    """Run the block with Ray: a local one of its own, or the cluster at `address`.

    Args:
        address: of a running cluster; None starts Ray on this machine.
        gpus: GPUs that the cluster may grow to, where it has fewer now.
        dashboard: whether a Ray that is started here has its dashboard.

    Raises:
        ClusterError: there is no cluster at the address, or it does not let us in.
        PlaceError: Ray's files cannot be written on this machine.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # Tune's own status tables; progress is ours
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # rows are written by the ledger
    os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "1e9")  # Tune's trials are never restored; rows are
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # it lets trials finish for minutes
    os.environ.setdefault("RAY_task_events_max_num_task_in_gcs", "10000")  # 44 kB a cell, for the dashboard
    os.environ.setdefault("MALLOC_ARENA_MAX", "1")  # other arenas give large blocks back at once
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    with ExitStack() as held:
        if address in (None, "local"):
            folder = held.enter_context(local_ray())
            context = _joined("local", _temp_dir=str(folder), include_dashboard=None if dashboard else False)
        else:
            keep_token_private()
            context = _joined(address)
        held.enter_context(watched(context.address_info["raylet_socket_name"], own=address in (None, "local")))
        yield from _session(context, gpus)


def _joined(address: str, **options: Any) -> Any:
    """What Ray says of the cluster that was started or joined."""
    import ray

    on_sigterm = signal.getsignal(signal.SIGTERM)
    logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # lost workers are told in our own words
    try:
        _knock(address)
        context = ray.init(
            address=address,
            namespace=NAMESPACE,
            logging_level=logging.ERROR,
            log_to_driver=False,
            configure_logging=False,
            **options,
        )
    except SystemExit:  # Ray's handler of SIGTERM, which is in place while it starts
        raise KeyboardInterrupt from None
    except (OSError, RuntimeError, ValueError) as error:
        if address == "local":
            raise
        raise ClusterError(
            f"no Ray cluster could be joined at --address {address}: {error}\n"
            "start one with `ray start --head` and use --address auto on its machine; if it asks for a token, "
            "export RAY_AUTH_MODE=token; without --address, Ray is started on this machine"
        ) from error
    signal.signal(signal.SIGTERM, on_sigterm)  # Ray has put in one of its own, which leaves at once
    _mute_ray()
    return context


def _mute_ray() -> None:
    """Keep pages of Ray's logs off the terminal, which `log_to_driver=False` lets through when a process dies."""
    from ray._private import worker

    worker._worker_logs_enabled = False  # as Ray's own debugger does


def _session(context: Any, gpus: int) -> Iterator[Resources]:
    import ray

    try:
        have = ray.cluster_resources()
        yield Resources(int(have.get("CPU", 1)), max(gpus, int(have.get("GPU", 0))), str(context.dashboard_url or ""))
    except KeyboardInterrupt:
        noticed()
        raise
    finally:
        shut_down_ray()


def dashboard_lines(resources: Resources) -> list[str]:
    """Where Ray's dashboard is, and how to get past its question for a token."""
    if not resources.dashboard:
        return []
    lines = [f"Ray dashboard: http://{resources.dashboard}"]
    if os.environ.get("RAY_AUTH_MODE", "").lower() == "token":
        beside = Path(sys.executable).with_name("ray")
        command = beside if beside.exists() and shutil.which("ray") != str(beside) else "ray"
        lines.append(f"it asks for a token, which this prints: {command} get-auth-token")
    return lines


def _knock(address: str) -> None:
    """Open and close a connection to a HOST:PORT: where nobody answers, Ray itself would wait for many minutes.

    Raises:
        OSError: nothing listens there.
    """
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_S).close()
