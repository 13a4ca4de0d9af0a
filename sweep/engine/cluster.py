"""Starting Ray, or joining a cluster."""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

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
def ray_session(address: str | None, gpus: int = 0) -> Iterator[Resources]:
    """Run the block with Ray: a local one of its own, or the cluster at `address`.

    Args:
        address: of a running cluster; None starts Ray on this machine.
        gpus: GPUs that the cluster may grow to, where it has fewer now.

    Raises:
        ClusterError: there is no cluster at the address, or it does not let us in.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # Tune's own status tables; progress is ours
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # rows are written by the ledger
    os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "1e9")  # Tune's trials are never restored; rows are
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # it lets trials finish for minutes
    os.environ.setdefault("RAY_task_events_max_num_task_in_gcs", "10000")  # 44 kB a cell, for the dashboard
    os.environ.setdefault("MALLOC_ARENA_MAX", "1")  # other arenas give large blocks back at once
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    on_sigterm = signal.getsignal(signal.SIGTERM)
    logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # lost workers are told in our own words
    try:
        _knock(address)
        context = ray.init(
            address=address or "local",
            namespace=NAMESPACE,
            logging_level=logging.ERROR,
            log_to_driver=False,
            configure_logging=False,
        )
    except SystemExit:  # Ray's handler of SIGTERM, which is in place while it starts
        raise KeyboardInterrupt from None
    except (OSError, RuntimeError, ValueError) as error:
        if address is None:
            raise
        raise ClusterError(
            f"no Ray cluster could be joined at --address {address}: {error}\n"
            "start one with `ray start --head` and use --address auto on its machine; if it asks for a token, "
            "export RAY_AUTH_MODE=token; without --address, Ray is started on this machine"
        ) from error
    signal.signal(signal.SIGTERM, on_sigterm)  # Ray has put in one of its own, which leaves at once
    try:
        have = ray.cluster_resources()
        yield Resources(int(have.get("CPU", 1)), max(gpus, int(have.get("GPU", 0))), str(context.dashboard_url or ""))
    except KeyboardInterrupt:
        noticed()
        raise
    finally:
        ray.shutdown()


def _knock(address: str | None) -> None:
    """Open and close a connection to a HOST:PORT: where nobody answers, Ray itself would wait for many minutes.

    Raises:
        OSError: nothing listens there.
    """
    host, _, port = (address or "").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_S).close()
