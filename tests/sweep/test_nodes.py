"""A study on several nodes, real raylets on this machine: nodes that die or come late."""

from __future__ import annotations

import os
from typing import Any

import pandas as pd
import pytest

from tests.sweep.conftest import SMALL, Project, finish, wait_until
from tests.sweep.faults import stuck_cell
from tests.sweep.nodes import ENVIRONMENT, Nodes, nodes

pytestmark = pytest.mark.starts_ray


def start(project: Project, cluster: Nodes, *arguments: str) -> Any:
    return project.start("--address", cluster.address, *arguments, environment={**os.environ, **ENVIRONMENT})


def complete(process: Any) -> str:
    code, output = finish(process)
    assert code == 0, output
    assert "Traceback" not in output
    return output


def test_nodes_killed_during_extraction_and_in_the_middle_of_a_cell_change_no_row(
    finished: tuple[Project, int, str], project: Project
) -> None:
    with nodes(environment=stuck_cell(project.folder)) as cluster:
        different: list[dict[str, Any]] = [
            {"num_cpus": 1},
            {"num_cpus": 2},
            {"num_cpus": 1, "resources": {"large": 1}},
        ]
        ids = [cluster.add(**resources) for resources in different]
        process = start(project, cluster, *SMALL)
        wait_until(lambda: any((project.folder / "store").glob("*/*.staging/part-*.arrow")))
        cluster.kill(0)
        wait_until(lambda: len(project.rows) == 2)
        cluster.kill(ids.index((project.folder / "node").read_text()))
        (project.folder / "go").touch()
        assert "lost with its worker, and tried again: shapes · noise" in complete(process)
        assert cluster.process.poll() is None  # a cluster that was joined is not stopped
    pd.testing.assert_frame_equal(project.table(), finished[0].small_table())


@pytest.mark.slow
def test_a_node_that_comes_late_does_the_work(finished: tuple[Project, int, str], project: Project) -> None:
    with nodes() as cluster:
        process = start(project, cluster)
        wait_until(lambda: (project.results / "study.yaml").exists())
        cluster.add(num_cpus=2)
        complete(process)
    pd.testing.assert_frame_equal(project.table(), finished[0].table())
