"""The real Blender, where there is one: BLENDER_PATH, BPY_ENVIRONMENT or .venv-bpy."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from frozen.data.scenes import DataError, OcclusionClevr
from frozen.data.scenes.blender import find_blender
from tests.rendered import RENDERED

STUDY = """\
name: rendered
datasets:
  - {name: occlusion, scene: occlusionclevr, max_objects: 6, image_size: 64, samples: 16, assets: primitives,
     folder: FOLDER, seed: 3, split: {policy: independent, train: 1, validation: 1, test: 1}}
layers: [final]
modes: [cls]
controls: [oracle_objects]
probes: [{family: linear}]
"""


@pytest.fixture(autouse=True)
def blender_is_there() -> None:
    try:
        find_blender()
    except DataError as error:
        pytest.skip(str(error))


def mean_visibility(scene: OcclusionClevr) -> float:
    found = [json.loads(path.read_text()) for path in (scene.rendered.root / "scenes").iterdir()]
    return float(np.mean([item["visible_fraction"] for each in found for item in each["objects"]]))


@pytest.mark.slow
def test_two_images_come_out_as_they_were(tmp_path: Path) -> None:
    scene = replace(RENDERED, folder=str(tmp_path))
    maker = scene.maker()
    maker.prepare()
    worker = maker.worker("cpu", 0)
    for job in maker.jobs(thorough=False)[:2]:
        worker.make(job)
    worker.close()
    assert scene.rendered.names() == {"train_000000.png", "train_000001.png"}
    before, now = (each.open("train").images(np.arange(2)).astype(int) for each in (RENDERED, scene))
    assert np.abs(before - now).mean() < 3  # processors and versions of Blender differ in the noise
    for name in scene.rendered.names():
        described = [json.loads(each.rendered.scene(name).read_text())["objects"] for each in (RENDERED, scene)]
        for old, new in zip(*described, strict=True):
            assert new["visible_fraction"] == pytest.approx(old["visible_fraction"], abs=0.01)


@pytest.mark.slow
@pytest.mark.starts_ray
def test_the_command_renders_and_higher_cameras_see_more(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(STUDY.replace("FOLDER", str(tmp_path / "data")))
    visible = []
    for height in (0.6, 3.2):
        change = f"datasets[0].camera_height={height}"
        command = [sys.executable, "-m", "sweep.render", str(tmp_path / "study.yaml"), "--set", change]
        assert subprocess.run(command, timeout=300, check=False).returncode == 0
        scene = replace(RENDERED, folder=str(tmp_path / "data"), camera_height=height)
        assert {path.name[:-11] for path in (scene.rendered.root / "images").iterdir()} == {
            "train",
            "validation",
            "test",
        }
        visible.append(mean_visibility(scene))
    assert visible[0] < visible[1]
