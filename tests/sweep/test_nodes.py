"""A study on several nodes, real raylets on this machine: where its work goes, and nodes that die or come late."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.sweep.conftest import STUDY, Project, finish, wait_until
from tests.sweep.faults import inject
from tests.sweep.nodes import ENVIRONMENT, Nodes, nodes

pytestmark = pytest.mark.starts_ray

# Notes the node of every call.
WITNESS_OF_BLOCKS = """\
whole = Extractor.extract
def extract(self, job, block):
    import ray
    with open({path!r}, "a") as file:
        file.write(ray.get_runtime_context().get_node_id() + chr(10))
    return whole(self, job, block)
Extractor.extract = extract
"""
WITNESS_OF_CELLS = """\
whole_cell = run_job
def run_job(*arguments, **named):
    import ray
    with open({path!r}, "a") as file:
        file.write(ray.get_runtime_context().get_node_id() + chr(10))
    return whole_cell(*arguments, **named)
"""
MANY_PROBES = """\
probes:
  - {family: quadratic_concat, rank: 1}
  - {family: quadratic_concat, rank: 2}
  - {family: quadratic_concat, rank: 3}
  - {family: quadratic_concat, rank: 4}
"""


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
def test_blocks_and_cells_spread_over_nodes_of_different_size(
    finished: tuple[Project, int, str], project: Project
) -> None:
    seen = project.folder / "blocks", project.folder / "cells"
    environment = inject(
        project.folder,
        {
            "sweep.extractor": WITNESS_OF_BLOCKS.format(path=str(seen[0])),
            "sweep.cell": WITNESS_OF_CELLS.format(path=str(seen[1])),
        },
    )
    with nodes() as cluster:
        ids = {cluster.add(num_cpus=2), cluster.add(num_cpus=1, resources={"large": 1}), cluster.add(num_cpus=1)}
        complete(start(project, cluster, environment=environment))
    for path in seen:
        assert set(path.read_text().split()) == ids
    pd.testing.assert_frame_equal(project.table(), finished[0].table())


@pytest.mark.slow
def test_activations_reach_a_node_once_and_not_once_a_cell(project: Project) -> None:
    """Four cells on one node read the same entries; the node's object store receives them once."""
    study = STUDY[: STUDY.index("probes:")] + MANY_PROBES + STUDY[STUDY.index("fit:") :]
    project.write(study.replace("train: 600", "train: 6000"))
    small = ("--set", "controls=[]", "--set", "layers=[final]", "--set", "modes=[cls]")
    code, output = project.run(*small, "--max-cells", "1")  # the activations are in the store now
    assert code == 0, output
    with nodes({"num_cpus": 1}) as cluster:
        before = cluster.received_bytes(0)
        assert "4 cells: 1 done, 3 to do" in complete(start(project, cluster, *small, environment=dict(os.environ)))
        received = cluster.received_bytes(0) - before
    entry_bytes = 6000 * 128 * 2
    assert entry_bytes <= received < 2 * entry_bytes


@pytest.mark.slow
def test_a_node_that_comes_late_does_the_work(finished: tuple[Project, int, str], project: Project) -> None:
    with nodes() as cluster:
        process = start(project, cluster, environment=dict(os.environ))
        wait_until(lambda: (project.results / "study.yaml").exists())
        cluster.add(num_cpus=2)
        complete(process)
    pd.testing.assert_frame_equal(project.table(), finished[0].table())


def wide_study(project: Project) -> None:
    """Four layers of activations from files, 24 MB each: more than the 80 MB that Ray's object stores get below."""
    rng = np.random.default_rng(0)
    for split, n in (("train", 600), ("validation", 150), ("test", 200)):
        layers = {name: rng.standard_normal((n, 20_000)).astype(np.float16) for name in "abcd"}
        np.savez(project.folder / f"wide_{split}.npz", **layers)  # pyright: ignore[reportArgumentType]
    study = STUDY.replace("shipped:shapes_vit_objects", "activations:wide_{split}.npz")
    project.write(study.replace("layers: [1, final]", "layers: all").replace("modes: [cls, all]", "modes: [cls]"))


@pytest.mark.slow
def test_activations_larger_than_the_object_store_are_spilled_and_change_no_row(tmp_path: Path) -> None:
    undisturbed, spilled = Project(tmp_path / "undisturbed"), Project(tmp_path / "spilled")
    for project in (undisturbed, spilled):
        project.folder.mkdir()
        wide_study(project)
    code, output = undisturbed.run()
    assert code == 0, output
    memory = {"object_store_memory": 80 * 2**20}
    with nodes({"num_cpus": 1, **memory}, head=memory) as cluster:
        complete(start(spilled, cluster, environment=dict(os.environ)))
        assert cluster.spilled_bytes() > 20e6
    pd.testing.assert_frame_equal(spilled.table(), undisturbed.table())
