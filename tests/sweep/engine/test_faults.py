"""Faults in the processes of a run, injected for real: the rows are those of an undisturbed run."""

from __future__ import annotations

import pandas as pd
import pytest

from tests.sweep.conftest import SMALL, Project, finish, wait_until, working
from tests.sweep.faults import inject

pytestmark = [pytest.mark.slow, pytest.mark.starts_ray]


def kill_the_first(project: Project, task: str) -> tuple[int, str]:
    """SIGKILL the first worker seen at a task; of cells after a row, as one that still starts has begun with none."""
    process = project.start()
    wait_until(lambda: project.rows or task != "ImplicitFunc.train")
    wait_until(lambda: working(process, task))
    working(process, task)[0].kill()
    return finish(process)


@pytest.mark.parametrize("task", ["ImplicitFunc.train", "Extractor.extract"])
def test_a_worker_that_is_killed_changes_no_row(
    finished: tuple[Project, int, str], project: Project, task: str
) -> None:
    code, output = kill_the_first(project, task)
    assert code == 0, output
    assert "Traceback" not in output
    assert ("lost with its worker, and tried again: shapes" in output) == (task == "ImplicitFunc.train")
    pd.testing.assert_frame_equal(project.table(), finished[0].table())


DEADLY_CELL = """\
whole = _measure
def _measure(job, *rest):
    if job.cell.backbone.source == "control:noise":
        import os, signal
        with open({path!r}, "a") as file:
            file.write("died" + chr(10))
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(job, *rest)
"""


def test_a_cell_that_kills_its_worker_every_time_is_a_failed_row(project: Project) -> None:
    path = project.folder / "deaths"
    environment = inject(project.folder, {"sweep.engine.trial": DEADLY_CELL.format(path=str(path))})
    code, output = project.run(*SMALL, environment=environment)
    assert code == 1, output
    frame = project.table().set_index("backbone")
    assert frame.status.to_dict() == {
        "shipped:shapes_vit_objects": "done",
        "oracle_objects": "done",
        "noise": "failed",
    }
    assert frame.error["noise"].startswith("its worker died 3 times")
    assert len(path.read_text().split()) == 3


BROKEN_BATCH = """\
whole = Extractor.extract
def extract(self, job, block):
    if block == 1 and job.backbone.kind == "shipped":
        raise RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED")
    return whole(self, job, block)
Extractor.extract = extract
"""


def test_a_backbone_that_raises_in_one_batch_fails_alone(project: Project) -> None:
    code, output = project.run(*SMALL, environment=inject(project.folder, {"sweep.engine.extractor": BROKEN_BATCH}))
    assert code == 1, output
    frame = project.table().set_index("backbone")
    assert frame.status["shipped:shapes_vit_objects"] == "failed"
    assert "CUDNN_STATUS_EXECUTION_FAILED" in frame.error["shipped:shapes_vit_objects"]
    assert set(frame.status[["oracle_objects", "noise"]]) == {"done"}
    code, output = project.run(*SMALL)
    assert code == 0, output
    assert "1 to do (1 of them failed before)" in output


DEADLY_BLOCK = """\
whole = Extractor.extract
def extract(self, job, block):
    if block == 1 and job.backbone.kind == "shipped":
        import os, signal
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(self, job, block)
Extractor.extract = extract
"""


def test_a_block_that_kills_its_extractor_every_time_fails_alone(project: Project) -> None:
    environment = inject(project.folder, {"sweep.engine.extractor": DEADLY_BLOCK})
    code, output = project.run(*SMALL, environment=environment)
    assert code == 1, output
    frame = project.table().set_index("backbone")
    assert "ActorDiedError" in frame.error["shipped:shapes_vit_objects"]
    assert set(frame.status[["oracle_objects", "noise"]]) == {"done"}


CLOCK_JUMPS = """\
import random, time
true_time, jumps = time.time, random.Random(0)
time.time = lambda: true_time() + jumps.choice([-1e8, 0, 1e8])
"""


def test_a_clock_that_jumps_by_years_changes_no_row(finished: tuple[Project, int, str], project: Project) -> None:
    environment = inject(project.folder, {"sweep.engine.trial": CLOCK_JUMPS})
    code, output = project.run("--max-hours", "5", environment=environment)
    assert code == 0, output
    pd.testing.assert_frame_equal(project.table(), finished[0].table())
    assert pd.read_parquet(project.results / "results.parquet").wall_s.between(0, 3600).all()


SMALL_GPU = """\
whole = Pack.backward
def backward(self, *arguments, **named):
    if len(self.positions) > 1:
        raise torch.OutOfMemoryError("CUDA out of memory")
    return whole(self, *arguments, **named)
Pack.backward = backward
"""


def test_a_pack_too_large_for_the_gpu_is_halved_and_said(
    finished: tuple[Project, int, str], project: Project
) -> None:
    code, output = project.run(environment=inject(project.folder, {"binding._pack": SMALL_GPU}))
    assert code == 0, output
    assert "out of GPU memory with 2 probes in a pack; going on with 1" in output
    notes = pd.read_parquet(project.results / "results.parquet").notes
    assert all("out of GPU memory" in note[0] for note in notes)
    pd.testing.assert_frame_equal(project.table(), finished[0].table(), atol=1e-3)
