from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from frozen.data.scenes import MakeError
from frozen.data.scenes._occlusion_maker import OcclusionMaker, RenderJob
from frozen.data.scenes.blender import Blender, BlenderError, BlenderNotFoundError, find_blender
from tests.rendered import RENDERED

PRETENDED = (sys.executable, str(Path(__file__).with_name("pretended.py")))
ONE, OTHER = "train_000000.png", "train_000001.png"

Start = Callable[..., Blender]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Start:
    """Starts a pretended Blender in which some images go wrong."""
    monkeypatch.setenv("PRETENDED_IMAGES", str(RENDERED.rendered.root))

    def start(timeout_s: float = 60.0, **trouble: str) -> Blender:
        names = {{"one": ONE, "other": OTHER}[key]: what for key, what in trouble.items()}
        monkeypatch.setenv("PRETENDED_TROUBLE", json.dumps(names))
        return Blender(PRETENDED, tmp_path, threads=3, clevr_folder="clevr", timeout_s=timeout_s)

    return start


def test_renders_one_image_after_another(start: Start, tmp_path: Path) -> None:
    blender = start()
    assert blender.render({"image_filename": ONE}) is None
    assert blender.render({"image_filename": OTHER}) is None
    assert {path.name for path in (tmp_path / "images").iterdir()} == {ONE, OTHER}
    assert blender.is_alive
    blender.close()
    assert not blender.is_alive


def test_tells_the_script_where_and_how(start: Start, tmp_path: Path) -> None:
    blender = start()
    blender.close()
    given = dict(zip(blender.about["arguments"][::2], blender.about["arguments"][1::2], strict=True))
    assert given == {"--folder": str(tmp_path), "--device": "cpu", "--threads": "3", "--clevr-gen-dir": "clevr"}


def test_an_image_that_fails_leaves_blender_alive(start: Start) -> None:
    blender = start(one="error")
    with pytest.raises(BlenderError, match="RuntimeError: no light"):
        blender.render({"image_filename": ONE})
    assert blender.render({"image_filename": OTHER}) is None
    blender.close()


def test_a_refused_scene_says_why(start: Start) -> None:
    blender = start(one="refuse")
    assert blender.render({"image_filename": ONE}) == "only 3 pixels of the small red rubber cube can be seen"
    blender.close()


def test_a_blender_that_dies_leaves_its_last_words(start: Start) -> None:
    blender = start(one="die")
    with pytest.raises(BlenderError, match="ended with code 11; its last words: out of memory"):
        blender.render({"image_filename": ONE})
    assert not blender.is_alive
    with pytest.raises(BlenderError, match="ended with code 11"):
        blender.render({"image_filename": OTHER})
    blender.close()


def test_a_blender_that_hangs_is_killed(start: Start) -> None:
    blender = start(one="hang", timeout_s=2.0)
    with pytest.raises(BlenderError, match="ended with code -9"):
        blender.render({"image_filename": ONE})
    blender.close()


def test_a_command_that_is_no_blender_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BlenderError, match=r"code 1; its last words: .*no bpy here"):
        Blender((sys.executable, "-c", "raise SystemExit('no bpy here')"), tmp_path)


class TestFinding:
    @pytest.fixture(autouse=True)
    def nothing_is_set(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.delenv("BLENDER_PATH", raising=False)
        monkeypatch.delenv("BPY_ENVIRONMENT", raising=False)
        monkeypatch.chdir(tmp_path)

    def test_says_both_ways_when_there_is_none(self) -> None:
        with pytest.raises(BlenderNotFoundError, match=r"BLENDER_PATH.*python -m frozen\.data\.scenes\.blender_env"):
            find_blender()

    def test_a_path_that_is_no_program(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BLENDER_PATH", "/nowhere/blender")
        with pytest.raises(BlenderNotFoundError, match="BLENDER_PATH is '/nowhere/blender', which is no program"):
            find_blender()

    def test_an_executable_is_given_the_script_in_the_background(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BLENDER_PATH", sys.executable)
        program, *options = find_blender()
        assert program == sys.executable
        assert options[0] == "--background"
        assert Path(options[-2]).exists()
        assert options[-1] == "--"

    def test_an_environment_runs_the_script(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / ".venv-bpy" / "bin").mkdir(parents=True)
        (tmp_path / ".venv-bpy" / "bin" / "python").touch()
        python, script = find_blender()
        assert python == str(tmp_path / ".venv-bpy" / "bin" / "python")
        assert Path(script).name == "render.py"
        monkeypatch.setenv("BPY_ENVIRONMENT", str(tmp_path / "elsewhere"))
        with pytest.raises(BlenderNotFoundError, match="elsewhere"):
            find_blender()


def test_a_worker_starts_blender_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    scene = replace(RENDERED, folder=str(tmp_path))
    maker = OcclusionMaker(scene)
    monkeypatch.setattr(maker, "_command", PRETENDED)
    monkeypatch.setenv("PRETENDED_IMAGES", str(RENDERED.rendered.root))
    monkeypatch.setenv("PRETENDED_TROUBLE", json.dumps({ONE: "die"}))
    worker = maker.worker("cpu", 1)
    with pytest.raises(MakeError, match=f"{ONE}: Blender ended with code 11"):
        worker.make(RenderJob("train", 0))
    worker.make(RenderJob("train", 1))
    worker.close()
    assert scene.rendered.names() == {OTHER}
