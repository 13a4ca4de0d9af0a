"""A store that is removed while a run goes: the run stops once, and no cell is to blame."""

from __future__ import annotations

import json

import pytest

from sweep.engine.trial import Task, failed_row
from tests.sweep.conftest import SMALL, Project
from tests.sweep.faults import inject

GONE = """\
whole = _inputs
def _inputs(tasks, store, place):
    import shutil
    shutil.rmtree(place, ignore_errors=True)
    return whole(tasks, store, place)
"""


@pytest.mark.starts_ray
def test_a_store_removed_under_a_run_stops_it_once(project: Project) -> None:
    environment = inject(project.folder, {"sweep.engine.trial": GONE})
    code, output = project.run(*SMALL, environment=environment)
    assert code == 2, output
    assert output.count("was it removed or cleaned while the run went on") == 1
    assert "Traceback" not in output
    assert {json.loads(path.read_text())["status"] for path in project.rows} <= {"done"}


def test_errors_in_rows_have_no_colours() -> None:
    class RayLikeError(RuntimeError):
        def __str__(self) -> str:
            return "\x1b[36mray::train()\x1b[39m (pid=7) fails"

    task = Task(None, {}, {}, {})  # type: ignore[arg-type]
    for error in (RayLikeError(), "its worker died\n\x1b[1;31mred\x1b[0m"):
        assert "\x1b" not in str(failed_row(task, error)["error"])
