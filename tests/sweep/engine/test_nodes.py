"""A study on several nodes, real raylets on this machine: nodes that die or come late."""

from __future__ import annotations

import os
import shutil
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest

from tests.sweep.conftest import SMALL, STUDY, Project, finish, wait_until
from tests.sweep.faults import inject, stuck_cell
from tests.sweep.nodes import ENVIRONMENT, Nodes, nodes

pytestmark = pytest.mark.starts_ray

WAITS_FOR_OTHERS = """\
def together(path, enough):
    import ray, time
    with open(path, "a") as file:
        file.write(ray.get_runtime_context().get_node_id() + chr(10))
    deadline = time.monotonic() + 200
    while not enough(open(path).read().split()) and time.monotonic() < deadline:
        time.sleep(0.1)
"""
BLOCKS_ON_THREE_NODES = """\
whole = Extractor.extract
def extract(self, job, block):
    together({path!r}, lambda seen: len(set(seen)) == 3)
    return whole(self, job, block)
Extractor.extract = extract
"""
FOUR_CELLS_AT_ONCE = """\
whole = _measure
def _measure(*arguments):
    together({path!r}, lambda seen: len(seen) >= 4)
    return whole(*arguments)
"""


def start(project: Project, cluster: Nodes, *arguments: str) -> Any:
    return project.start("--address", cluster.address, *arguments, environment={**os.environ, **ENVIRONMENT})


def has_ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


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
        node = project.folder / "node"
        wait_until(lambda: len(project.rows) == 2 and node.exists() and node.read_text() in ids)
        worker = int((project.folder / "node.pid").read_text())
        cluster.kill(ids.index(node.read_text()))
        wait_until(lambda: has_ended(worker))  # workers outlive their raylet by a moment
        (project.folder / "go").touch()
        output = complete(process)
        assert "lost with its worker, and tried again: shapes · noise" in output, output
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


@pytest.mark.slow
def test_blocks_and_cells_spread_over_nodes_of_different_size(
    finished: tuple[Project, int, str], project: Project
) -> None:
    blocks, cells = project.folder / "blocks", project.folder / "cells"
    waiting = {
        "sweep.engine.extractor": WAITS_FOR_OTHERS + BLOCKS_ON_THREE_NODES.format(path=str(blocks)),
        "sweep.engine.trial": WAITS_FOR_OTHERS + FOUR_CELLS_AT_ONCE.format(path=str(cells)),
    }
    with nodes(environment=inject(project.folder, waiting)) as cluster:
        ids = {cluster.add(num_cpus=2), cluster.add(num_cpus=1), cluster.add(num_cpus=1, resources={"large": 1})}
        complete(start(project, cluster, "--set", "modes=[cls]"))
    assert set(blocks.read_text().split()) == ids
    assert set(cells.read_text().split()[:4]) == ids
    expected = finished[0].table().query("mode == 'cls'").reset_index(drop=True)
    pd.testing.assert_frame_equal(project.table(), expected)


WIDTH = 20_000
WIDE_LAYER_BYTES = 2 * WIDTH * (600 + 150 + 200)


def write_wide_study(project: Project, n_layers: int, probes: str) -> None:
    """Layers of activations from files, 38 MB each in the store."""
    rng = np.random.default_rng(0)
    layers = [str(number) for number in range(n_layers)]
    for split, n in (("train", 600), ("validation", 150), ("test", 200)):
        content = {name: rng.standard_normal((n, WIDTH), dtype=np.float32).astype(np.float16) for name in layers}
        np.savez(project.folder / f"wide_{split}.npz", **content)  # pyright: ignore[reportArgumentType]
    study = STUDY[: STUDY.index("probes:")] + f"probes:\n{probes}" + STUDY[STUDY.index("fit:") :]
    study = study.replace("shipped:shapes_vit_objects", "activations:wide_{split}.npz").replace("[cls, all]", "[cls]")
    project.write(study.replace("layers: [1, final]", "layers: all").replace("[oracle_objects, noise]", "[]"))


@pytest.mark.slow
def test_activations_reach_a_node_once_and_not_once_a_cell(project: Project) -> None:
    write_wide_study(
        project, 1, "".join(f"  - {{family: quadratic_concat, rank: {rank}}}\n" for rank in (1, 2, 3, 4))
    )
    with nodes({"num_cpus": 2}) as cluster:
        before = cluster.received_bytes(0)
        assert "4 cells: 0 done, 4 to do" in complete(start(project, cluster, "--set", "keep_probes=0"))
        received = cluster.received_bytes(0) - before
    assert 1.9 * WIDE_LAYER_BYTES < received < 2.4 * WIDE_LAYER_BYTES  # extracted there, and fetched for all cells


@pytest.mark.slow
def test_activations_larger_than_the_object_store_are_spilled_and_change_no_row(project: Project) -> None:
    write_wide_study(project, 4, "  - family: linear\n")
    code, output = project.run()
    assert code == 0, output
    undisturbed = project.table()
    for place in ("results", "store"):
        shutil.rmtree(project.folder / place)
    memory = {"object_store_memory": 80 * 2**20}
    with nodes({"num_cpus": 2, **memory}, head=memory) as cluster:
        complete(start(project, cluster))
        assert cluster.spilled_bytes() > WIDE_LAYER_BYTES
    pd.testing.assert_frame_equal(project.table(), undisturbed)
