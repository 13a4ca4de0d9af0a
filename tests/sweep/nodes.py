"""Real nodes of Ray on this machine, in a process of their own: started, killed and asked by a test.

`with nodes({"num_cpus": 1}, {"num_cpus": 2}) as cluster:` starts a head without CPUs and two raylets. Run as a
script, this file is that process: commands are lines of JSON on its standard input, answers lines on its output.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

ENVIRONMENT = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "token-of-the-tests", "RAY_health_check_period_ms": "1000"}


@dataclass
class Nodes:
    """A cluster; worker nodes are known by the order in which they came."""

    process: subprocess.Popen[str]
    address: str = ""

    def ask(self, **command: Any) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def answer(self) -> Any:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("answer "):
                return json.loads(line.removeprefix("answer "))
        raise AssertionError("the process of the nodes has ended")

    def add(self, **resources: Any) -> str:
        """Start a node; returns its id."""
        return self.ask(do="add", resources=resources)

    def kill(self, number: int) -> None:
        """SIGKILL every process of a node."""
        self.ask(do="kill", number=number)


@contextmanager
def nodes(*resources: dict[str, Any], environment: Mapping[str, str] = os.environ) -> Iterator[Nodes]:
    """A head without CPUs, and some nodes; `environment` is that of every worker process."""
    process = subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**environment, **ENVIRONMENT},
    )
    try:
        started = Nodes(process)
        started.address = started.answer()
        for of_node in resources:
            started.add(**of_node)
        yield started
    finally:
        assert process.stdin is not None
        process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(60)
        process.kill()
        process.wait()


def serve() -> None:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    workers: list[Any] = []

    def perform(do: str, number: int = 0, resources: dict[str, Any] | None = None) -> Any:
        if do == "add":
            workers.append(cluster.add_node(**(resources or {})))
            return workers[-1].node_id
        return cluster.remove_node(workers[number], allow_graceful=False)

    def say(answer: Any) -> None:
        print("answer", json.dumps(answer), flush=True)

    try:
        say(cluster.address)
        for line in sys.stdin:
            say(perform(**json.loads(line)))
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    serve()
