"""A study on several nodes, real raylets on this machine: where work goes, and nodes that die and come."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd
import pytest
from ray._private.internal_api import node_stats
from ray.cluster_utils import Cluster

from sweep.results import VOLATILE_COLUMNS
from tests.sweep.conftest import STUDY, Project, kill, wait_until
from tests.sweep.faults import inject

pytestmark = pytest.mark.starts_ray

# Notes the node of every call.
WITNESS = """\
whole = Extractor.extract
def extract(self, job, block):
    import ray
    with open({path!r}, "a") as file:
        file.write(ray.get_runtime_context().get_node_id() + chr(10))
    return whole(self, job, block)
Extractor.extract = extract
"""


def table(project: Project) -> pd.DataFrame:
    return pd.read_parquet(project.results / "results.parquet").drop(columns=list(VOLATILE_COLUMNS))


@contextmanager
def cluster(*nodes: dict[str, Any]) -> Iterator[Cluster]:
    """A head without CPUs and some nodes."""
    os.environ["RAY_AUTH_MODE"] = "token"
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        for node in nodes:
            made.add_node(**node)
        yield made
    finally:
        made.shutdown()


def raylet(node: Any) -> int:
    [process] = node.all_processes["raylet"]
    return process.process.pid


def run(project: Project, made: Cluster, *arguments: str, environment: dict[str, str] | None = None) -> Any:
    return project.start("--address", made.address, *arguments, environment=environment or dict(os.environ))


def finish(process: subprocess.Popen[str]) -> str:
    try:
        output, _ = process.communicate(timeout=400)
    finally:
        if process.poll() is None:
            kill(process)
    assert process.returncode == 0, output
    return output


def test_a_node_killed_midway_changes_no_row(finished: tuple[Project, int, str], project: Project) -> None:
    with cluster({"num_cpus": 1}, {"num_cpus": 1}) as made:
        process = run(project, made)
        wait_until(lambda: len(project.rows) >= 1, 500)
        os.kill(raylet(made.worker_nodes[0]), signal.SIGKILL)
        output = finish(process)
    assert "failed" not in output
    pd.testing.assert_frame_equal(table(project), table(finished[0]))


@pytest.mark.slow
def test_extraction_spreads_over_nodes_of_different_size(
    finished: tuple[Project, int, str], project: Project
) -> None:
    witness = project.folder / "witness"
    environment = inject(project.folder, "sweep.extract", WITNESS.format(path=str(witness)))
    with cluster({"num_cpus": 1}, {"num_cpus": 2}, {"num_cpus": 1, "resources": {"large": 1}}) as made:
        finish(run(project, made, environment=environment))
        nodes = {node.node_id for node in made.worker_nodes}
    assert set(witness.read_text().split()) == nodes
    pd.testing.assert_frame_equal(table(project), table(finished[0]))


MANY_PROBES = """\
probes:
  - {family: quadratic_concat, rank: 1}
  - {family: quadratic_concat, rank: 2}
  - {family: quadratic_concat, rank: 3}
  - {family: quadratic_concat, rank: 4}
"""


@pytest.mark.slow
def test_activations_reach_a_node_once_and_not_once_a_cell(project: Project) -> None:
    """Six cells on one node read the same entry; the node's object store receives it once."""
    study = STUDY[: STUDY.index("probes:")] + MANY_PROBES + STUDY[STUDY.index("fit:") :]
    project.write(study.replace("train: 600", "train: 6000"))
    small = ("--set", "controls=[]", "--set", "layers=[final]", "--set", "modes=[cls]")
    assert project.run(*small, "--max-cells", "1")[0] == 0  # the activations are in the store now
    with cluster({"num_cpus": 1}) as made:
        [node] = made.worker_nodes
        finish(run(project, made, *small))
        address = (node.raylet_ip_address, node.node_manager_port)
        received = node_stats(*address).store_stats.cumulative_created_bytes
    entry_bytes = 6000 * 128 * 2
    assert entry_bytes <= received < 2 * entry_bytes


@pytest.mark.slow
def test_a_node_that_comes_late_does_the_work(finished: tuple[Project, int, str], project: Project) -> None:
    with cluster() as made:
        process = run(project, made)
        wait_until(lambda: (project.results / "study.yaml").exists())
        made.add_node(num_cpus=2)
        finish(process)
    pd.testing.assert_frame_equal(table(project), table(finished[0]))
