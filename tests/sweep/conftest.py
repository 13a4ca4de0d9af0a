"""A small study that runs on a laptop in seconds, and the command that runs it as a user would."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pandas as pd
import psutil
import pytest

from sweep.results.columns import VOLATILE_COLUMNS

STUDY = """\
name: small
seed: 0
datasets:
  - name: shapes
    scene: colorshape
    n_colors: 2
    n_shapes: 2
    max_objects: 4
    image_size: 64
    object_size: 12
    split: {policy: independent, train: 600, validation: 150, test: 200}
backbones:
  - shipped:shapes_vit_objects
layers: [1, final]
modes: [cls, all]
controls: [oracle_objects, noise]
probes:
  - family: linear
  - family: attention_quadratic
    rank: 2
fit: {epochs: 3, batch_size: 128}
search: {suggestions: 2, ask: 2}
seeds: 2
intervals: {resamples: 200}
"""

SMALL = ("--set", "modes=[cls]", "--set", "layers=[final]")
"""Leaves three cells of the study: a layer, and two controls."""


@dataclass(frozen=True)
class Project:
    """A folder with a study file, and runs of the command in it."""

    folder: Path

    @property
    def results(self) -> Path:
        return self.folder / "results" / "small"

    @property
    def rows(self) -> list[Path]:
        return sorted((self.results / "rows").glob("*.json"))

    def table(self) -> pd.DataFrame:
        """The results, without the columns in which equal measurements may differ."""
        return pd.read_parquet(self.results / "results.parquet").drop(columns=list(VOLATILE_COLUMNS))

    def small_table(self) -> pd.DataFrame:
        """The rows that the study has with `SMALL` as well."""
        return self.table().query("mode == 'cls' and layer in ['final', 'code']").reset_index(drop=True)

    def write(self, text: str) -> None:
        (self.folder / "study.yaml").write_text(text)

    def start(
        self,
        *arguments: str,
        environment: Mapping[str, str] = os.environ,
        output: int | IO[str] = subprocess.PIPE,
        dashboard: bool = False,
    ) -> subprocess.Popen[str]:
        """Start the command in a process group of its own; without a reader, a long output needs a file."""
        options = [] if dashboard or "--address" in arguments else ["--no-dashboard"]
        return subprocess.Popen(
            [sys.executable, "-m", "sweep.run", "study.yaml", *options, *arguments],
            cwd=self.folder,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            env={**environment, "COLUMNS": "120"},
            start_new_session=True,
        )

    def run(self, *arguments: str, environment: Mapping[str, str] = os.environ) -> tuple[int, str]:
        """Exit code and output of the command."""
        return finish(self.start(*arguments, environment=environment))


def finish(process: subprocess.Popen[str], timeout_s: float = 600) -> tuple[int, str]:
    """Exit code and output of a command that was started."""
    try:
        output, _ = process.communicate(timeout=timeout_s)
    finally:
        if process.poll() is None:
            kill(process)
    return process.returncode, output


def wait_until(condition: Callable[[], Any], timeout_s: float = 500) -> None:
    """Poll a condition; fails the test when it does not come true."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL a driver, then whatever it leaves behind, as if the machine had gone down."""
    family = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    psutil.wait_procs(family, timeout=30)


def working(process: subprocess.Popen[str], task: str) -> list[psutil.Process]:
    """Ray's workers of a run that are at a task just now, such as `ImplicitFunc.train` for a cell."""
    found = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for member in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if f"ray::{task}" in " ".join(member.cmdline()):
                    found.append(member)
    return found


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path)
    made.write(STUDY)
    return made


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, int, str]:
    """The small study, run undisturbed: project, exit code and output. Not to be changed by a test.

    Of several processes that run tests, the first that needs it makes it for all.
    """
    place = tmp_path_factory.getbasetemp()
    place = place.parent if "PYTEST_XDIST_WORKER" in os.environ else place
    made, outcome = Project(place / "finished"), place / "finished.json"
    with (place / "finished.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not outcome.exists():
            made.folder.mkdir()
            made.write(STUDY)
            outcome.write_text(json.dumps(made.run()))
    code, output = json.loads(outcome.read_text())
    return made, code, output
