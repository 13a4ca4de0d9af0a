from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from sweep.render import main
from tests.rendered import FOLDER, RENDERED
from tests.sweep.conftest import wait_until

STUDY = """\
name: rendered
datasets:
  - name: occlusion
    scene: occlusionclevr
    max_objects: 6
    image_size: 64
    samples: 16
    assets: primitives
    folder: FOLDER
    seed: 3
    split: {policy: independent, train: 2, validation: 2, test: 2}
    missing_policy: POLICY
  - name: shapes
    scene: colorshape
    split: {policy: independent}
layers: [final]
modes: [cls]
controls: [oracle_objects]
probes: [{family: linear}]
"""
PRETENDED = Path(__file__).parents[1] / "frozen" / "data" / "scenes" / "blender" / "pretended.py"


@pytest.fixture
def blender(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment whose Python runs the pretended script in place of the real one."""
    python = tmp_path / "pretended" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nshift\nexec {sys.executable} {PRETENDED} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setenv("BPY_ENVIRONMENT", str(tmp_path / "pretended"))
    monkeypatch.delenv("BLENDER_PATH", raising=False)
    monkeypatch.setenv("PRETENDED_IMAGES", str(RENDERED.rendered.root))
    return python


def study(folder: Path, policy: str = "raise") -> str:
    path = folder / "study.yaml"
    path.write_text(STUDY.replace("FOLDER", str(folder / "data")).replace("POLICY", policy))
    return str(path)


def run(*arguments: str) -> tuple[int, str]:
    """Exit code and output of the command."""
    command = [sys.executable, "-m", "sweep.render", *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=200, check=False, env={**os.environ, "COLUMNS": "200"}
    )
    return done.returncode, done.stdout + done.stderr


def written(folder: Path) -> dict[str, int]:
    """Images, with when they were written."""
    return {path.name: path.stat().st_mtime_ns for path in folder.rglob("images/*.png")}


def test_a_plan_counts_what_is_missing_and_makes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = replace(RENDERED, folder=str(tmp_path / "data")).rendered.root
    assert main([study(tmp_path), "--plan"]) == 0
    assert f"occlusion: 6 of 6 images to make in {root}" in capsys.readouterr().out
    assert main([study(tmp_path), "--plan", "--limit", "1"]) == 0
    assert "occlusion: 3 of 3 images to make" in capsys.readouterr().out
    assert not (tmp_path / "data").exists()


def test_nothing_is_started_where_everything_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(FOLDER, tmp_path / "data")
    assert main([study(tmp_path), "--check"]) == 0
    assert "occlusion: 0 of 6 images to make" in capsys.readouterr().out


def test_without_blender_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BLENDER_PATH", str(tmp_path / "nothing"))
    assert main([study(tmp_path)]) == 2
    assert "BLENDER_PATH" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_mistakes_of_the_study_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([study(tmp_path), "--set", "datasets[0].camera_height=0"]) == 2
    assert "camera_height: must be ≥ 0.1, got 0" in capsys.readouterr().err


def test_a_study_without_rendered_data_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search_spaces/quickstart.yaml"]) == 0
    assert "none of the study's data sets is rendered" in capsys.readouterr().out


@pytest.mark.starts_ray
def test_makes_what_is_missing_tries_again_and_says_what_is_left(
    tmp_path: Path, blender: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(FOLDER, tmp_path / "data")
    scene = replace(RENDERED, folder=str(tmp_path / "data"))
    lost = ["train_000001.png", "validation_000000.png", "validation_000001.png", "test_000000.png"]
    for name in lost:
        scene.rendered.image(name).unlink()
    kept = scene.rendered.image("test_000001.png").stat().st_mtime_ns
    trouble = {lost[0]: "once", lost[1]: "die", lost[2]: "error"}
    monkeypatch.setenv("PRETENDED_TROUBLE", json.dumps(trouble))
    code, output = run(study(tmp_path), "--workers", "2", "--passes", "2")
    assert code == 1
    assert "occlusion: 4 of 6 images to make" in output
    assert "rendering: 4/4 images" in output
    assert "pass 2: 3/3 images" in output
    assert f"failed: {lost[0]}: RuntimeError: no light" in output
    assert f"failed: {lost[1]}: Blender ended with code 11; its last words: out of memory" in output
    assert "occlusion: 2 images are still missing; a run is refused" in output
    assert scene.rendered.names() == {"train_000000.png", lost[0], lost[3], "test_000001.png"}
    assert scene.rendered.image("test_000001.png").stat().st_mtime_ns == kept
    assert len((scene.rendered.root / "train.jsonl").read_text().splitlines()) == 2


@pytest.mark.slow
@pytest.mark.starts_ray
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_the_same_command_goes_on_after_an_end_in_the_middle(
    tmp_path: Path, blender: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    path = study(tmp_path)
    monkeypatch.setenv("PRETENDED_SECONDS", "2")
    command = [sys.executable, "-m", "sweep.render", path, "--workers", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_until(lambda: len(written(tmp_path)) >= 2, 200)
    family = psutil.Process(process.pid).children(recursive=True)
    blenders = [member for member in family if str(PRETENDED) in member.cmdline()]
    assert blenders
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == (-9 if number == signal.SIGKILL else 130), output
    if number != signal.SIGKILL:
        assert "interrupted; the same command goes on where this one stopped" in output
        assert "Traceback" not in output
    _, alive = psutil.wait_procs(blenders, timeout=60)
    assert not [member for member in alive if member.status() != psutil.STATUS_ZOMBIE]
    before = written(tmp_path)
    assert 2 <= len(before) < 6
    monkeypatch.setenv("PRETENDED_SECONDS", "0")
    code, output = run(path)
    assert code == 0, output
    assert f"occlusion: {6 - len(before)} of 6 images to make" in output
    after = written(tmp_path)
    assert len(after) == 6
    assert {name: after[name] for name in before} == before
