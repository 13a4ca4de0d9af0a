"""Cells of one backbone are measured while the next one is extracted; those of controls come first."""

from __future__ import annotations

import pytest

from tests.sweep.conftest import Project
from tests.sweep.faults import inject

pytestmark = pytest.mark.starts_ray

LAST_BLOCK_WAITS_FOR_A_ROW = """\
import time
from pathlib import Path

whole = Extractor.extract


def extract(self, job, block):
    deadline = time.monotonic() + 200
    while job.reads_images and job.split == "test" and not list(Path({rows!r}).glob("*.json")):
        if time.monotonic() > deadline:
            raise TimeoutError("no cell was measured meanwhile")
        time.sleep(0.1)
    return whole(self, job, block)


Extractor.extract = extract
"""


def test_cells_of_one_backbone_are_measured_while_the_next_is_extracted(project: Project) -> None:
    fault = LAST_BLOCK_WAITS_FOR_A_ROW.format(rows=str(project.results / "rows"))
    small = ("--set", "modes=[cls]", "--set", "layers=[final]")
    code, output = project.run(*small, environment=inject(project.folder, {"sweep.engine.extractor": fault}))
    assert code == 0, output
    frame = project.table()
    assert set(frame.backbone) == {"shipped:shapes_vit_objects", "oracle_objects", "noise"}
    assert set(frame.status) == {"done"}
