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

    def received_bytes(self, number: int) -> int:
        """Bytes of all objects that were ever made in a node's object store."""
        return self.ask(do="received", number=number)

    def spilled_bytes(self) -> int:
        """Bytes that the head's object store, which has the activations, has moved to disk."""
        return self.ask(do="spilled")


@contextmanager
def nodes(
    *resources: dict[str, Any], environment: Mapping[str, str] = os.environ, head: Mapping[str, Any] | None = None
) -> Iterator[Nodes]:
    """A head without CPUs, and some nodes.

    Args:
        resources: of each node.
        environment: of every worker process.
        head: settings of the head.
    """
    process = subprocess.Popen(
        [sys.executable, __file__, json.dumps(head or {})],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={name: value for name, value in environment.items() if name != "RAY_OVERRIDE_RESOURCES"} | ENVIRONMENT,
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
    from ray._private.internal_api import node_stats
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "include_dashboard": False, **json.loads(sys.argv[1])}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    workers: list[Any] = []

    def object_store(node: Any) -> Any:
        return node_stats(node.node_ip_address, node.node_manager_port, include_memory_info=False).store_stats

    def perform(do: str, number: int = 0, resources: dict[str, Any] | None = None) -> Any:
        if do == "add":
            workers.append(cluster.add_node(**(resources or {})))
            return workers[-1].node_id
        if do == "kill":
            return cluster.remove_node(workers[number], allow_graceful=False)
        if do == "received":
            return object_store(workers[number]).cumulative_created_bytes
        return object_store(cluster.head_node).spilled_bytes_total

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
