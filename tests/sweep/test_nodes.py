"""A study on several nodes, real raylets on this machine: nodes that die or come late."""

from __future__ import annotations

import os
from typing import Any

import pandas as pd
import pytest

from tests.sweep.conftest import Project, finish, wait_until
from tests.sweep.nodes import ENVIRONMENT, Nodes, nodes

pytestmark = pytest.mark.starts_ray


def start(project: Project, cluster: Nodes, *arguments: str, environment: dict[str, str] | None = None) -> Any:
    return project.start("--address", cluster.address, *arguments, environment={**(environment or {}), **ENVIRONMENT})


def complete(process: Any) -> str:
    code, output = finish(process)
    assert code == 0, output
    assert "Traceback" not in output
    return output


def test_nodes_killed_during_extraction_and_between_cells_change_no_row(
    finished: tuple[Project, int, str], project: Project
) -> None:
    with nodes({"num_cpus": 1}, {"num_cpus": 1}, {"num_cpus": 1, "resources": {"large": 1}}) as cluster:
        process = start(project, cluster, environment=dict(os.environ))
        wait_until(lambda: any((project.folder / "store").glob("*/*.staging/part-*.arrow")))
        cluster.kill(0)
        assert not project.rows
        wait_until(lambda: project.rows)
        cluster.kill(1)
        assert len(project.rows) < 6
        complete(process)
    pd.testing.assert_frame_equal(project.table(), finished[0].table())


@pytest.mark.slow
def test_a_node_that_comes_late_does_the_work(finished: tuple[Project, int, str], project: Project) -> None:
    with nodes() as cluster:
        process = start(project, cluster, environment=dict(os.environ))
        wait_until(lambda: (project.results / "study.yaml").exists())
        cluster.add(num_cpus=2)
        complete(process)
    pd.testing.assert_frame_equal(project.table(), finished[0].table())
