"""The package of docs/extending.md, installed as it stands there, with the metadata that pip would write."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
PARTS = {"scenes": "gratings", "backbones": "mylab", "probes": "squares"}
MEASURE = """\
import sys
import torch
from frozen.models import load
from binding.probes import FAMILIES
from frozen.testing import batch_of
from sweep.engine.grid import make_grid
from frozen.readout.readout import find_readout
from sweep.study.load import StudyError, load_study, locate_in

study = sys.argv[1]
space = load_study(study)
grid = make_grid(space, find_readout("binding"), locate_in(study))
names = [sorted({cell.column(name) for cell in grid.cells}) for name in ("layer", "mode")]
names.append(sorted({cell.label for cell in grid.cells}))
print(len(grid.cells), *names)
scene = space.datasets[1].config
backbone = load(space.backbones[0], scene, torch.device("cpu"))
print({name: tuple(tokens.shape) for name, tokens in backbone.forward(batch_of(scene, [0, 1])).items()})
try:
    load_study("bad.yaml")
except StudyError as error:
    print(error)
"""

ODD = """\
from dataclasses import dataclass
import numpy as np
from mylab.scenes import Gratings

@dataclass(frozen=True, kw_only=True)
class Odd(Gratings):
    palette: np.ndarray | None = None
"""
BAD_POINTS = """\
[frozen.datasets]
torn = nowhere:Scene
colorshape = mylab.scenes:Gratings
odd = odd:Odd
[binding.probes]
cubes = mylab.probes:Squares
[frozen.models]
timm = mylab.backbones
"""
BAD_STUDY = """\
name: bad
datasets:
  - {name: a, scene: torn}
  - {name: b, scene: colorshape}
  - {name: c, scene: odd}
  - {name: d, scene: gratings, colors: 3}
backbones: [timm:vit_tiny_patch16_224, mylab:large]
layers: all
modes: [cls]
probes: [{family: cubes}, {family: squares, rank: 3}]
"""
BAD = [
    (3, "'torn' among the entry points of frozen.datasets: nowhere:Scene of package bad 0.1 cannot be imported"),
    (
        4,
        "'colorshape' among the entry points of frozen.datasets: mylab.scenes:Gratings of package bad 0.1 takes a",
    ),
    (5, "scene 'odd' has a field that a study file cannot set: Unable to generate pydantic-core schema for <class"),
    (6, "unknown key 'colors'; did you mean 'n_colors'?"),
    (7, "'timm' among the entry points of frozen.models: mylab.backbones of package bad 0.1 takes a name"),
    (10, "'cubes' among the entry points of binding.probes: mylab.probes:Squares of package bad 0.1: its `family`"),
    (10, "unknown key 'rank'"),
]


def install(folder: Path) -> dict[str, str]:
    """Write the page's files, and what pip would leave beside them; returns an environment in which it is there."""
    for name, text in re.findall(r"```\w+\n# (\S+)\n(.*?)```", PAGE, re.DOTALL):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {place}" for name, place in points.items())]
    describe(folder, project["name"], project["version"], "\n".join(lines))
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}


def describe(folder: Path, name: str, version: str, points: str) -> None:
    """Metadata of an installed package."""
    metadata = folder / f"{name}-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (metadata / "entry_points.txt").write_text(points)


def python(*arguments: str, environment: dict[str, str], folder: Path) -> str:
    command = [sys.executable, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_package_of_the_page_is_found_by_name_and_works_beside_a_bad_one(tmp_path: Path) -> None:
    environment = install(tmp_path)
    describe(tmp_path, "bad", "0.1", BAD_POINTS)
    (tmp_path / "odd.py").write_text(ODD)
    (tmp_path / "bad.yaml").write_text(BAD_STUDY)
    (tmp_path / "measure.py").write_text(MEASURE)
    found = python("measure.py", "study.yaml", environment=environment, folder=tmp_path).splitlines()
    assert found[:2] == [
        "14 ['1', 'code', 'embed', 'final'] ['cls', 'mean_spatial'] ['mylab:tiny', 'oracle_objects']",
        "{'embed': (2, 37, 32), '0': (2, 37, 32), '1': (2, 37, 32), 'final': (2, 37, 32)}",
    ]
    refused = found[2:]
    assert len(refused) == len(BAD)
    for message, (line, text) in zip(refused, BAD, strict=True):
        assert message.startswith(f"bad.yaml:{line}: ")
        assert text in message


@pytest.mark.slow
def test_the_package_of_the_page_passes_its_own_tests_and_is_listed(tmp_path: Path) -> None:
    environment = install(tmp_path)
    python("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests", environment=environment, folder=tmp_path)
    lists = {what: python("-m", "sweep.list", what, environment=environment, folder=tmp_path) for what in PARTS}
    assert "gratings: Coloured stripes on grey" in lists["scenes"]
    assert "mylab:tiny: 2 blocks, width 32, 37 tokens (CLS + 6x6) at 48 px" in lists["backbones"]
    assert "squares: reads one vector, learning rate 0.001 to 1: Logit k" in lists["probes"]
