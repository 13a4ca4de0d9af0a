"""The loop that trains the shipped models: schedule, resumption, and the same bytes twice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from frozen.models import train_clip
from frozen.models._training import TrainingSchedule, train
from frozen.models.opening import open_file


class Line:
    """Least squares on a line; small, with batches that depend on the step."""

    name = "line"

    def __init__(self, stop_at: int | None = None) -> None:
        torch.manual_seed(0)
        self.model = nn.Linear(3, 1)
        self.stop_at = stop_at

    def batch(self, step: int, size: int) -> tuple[Tensor, Tensor]:
        if step == self.stop_at:
            raise KeyboardInterrupt
        x = torch.from_numpy(np.random.default_rng(step).normal(size=(size, 3))).float()
        return x, x @ torch.tensor([[1.0], [2.0], [3.0]])

    def losses(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        x, y = batch
        return {"square": ((self.model(x) - y) ** 2).mean()}


SCHEDULE = TrainingSchedule(images=9_600, warmup_steps=20, learning_rate=0.02)


def weights(task: Line) -> Tensor:
    return torch.cat([parameter.flatten() for parameter in task.model.parameters()]).detach().clone()


def test_the_rate_rises_stays_and_falls_to_zero() -> None:
    rates = [SCHEDULE.rate(step) for step in range(SCHEDULE.steps)]
    assert SCHEDULE.steps == 300
    assert rates[0] == 1 / 20
    assert rates[20:211] == [1.0] * 191
    assert rates[255] == pytest.approx(0.5)
    assert rates[-1] == pytest.approx(1 / 90)


def test_a_killed_run_goes_on_to_the_same_weights_and_the_same_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("frozen.models._training._CHECKPOINT_SECONDS", 0.0)
    whole = Line()
    record = train(whole, SCHEDULE)
    checkpoint = tmp_path / "line.checkpoint"
    with pytest.raises(KeyboardInterrupt):
        train(Line(stop_at=222), SCHEDULE, checkpoint)
    resumed = Line()
    again = train(resumed, SCHEDULE, checkpoint)
    assert torch.equal(weights(whole), weights(resumed))
    assert record.curve == again.curve
    assert record.curve[-1]["square"] < 0.01 * record.curve[0]["square"]
    assert not list(tmp_path.glob(".*"))


def test_a_checkpoint_from_before_the_decay_serves_a_run_of_another_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("frozen.models._training._CHECKPOINT_SECONDS", 0.0)
    checkpoint = tmp_path / "line.checkpoint"
    with pytest.raises(KeyboardInterrupt):
        train(Line(stop_at=150), SCHEDULE, checkpoint)
    shorter, direct = Line(), Line()
    short = SCHEDULE._replace(images=6_400)
    train(shorter, short, checkpoint)
    train(direct, short)
    assert torch.equal(weights(shorter), weights(direct))


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    checkpoint = tmp_path / "line.checkpoint"
    train(Line(), SCHEDULE, checkpoint)
    for other in (SCHEDULE._replace(learning_rate=0.1), SCHEDULE._replace(images=6_400)):
        with pytest.raises(ValueError, match="give the same settings, or remove the file to begin anew"):
            train(Line(), other, checkpoint)


SCRIPTS = [["train_class"], ["train_clip", "objects"], ["train_clip", "features"], ["train_coca"]]


def options(images: int, folder: Path) -> list[str]:
    return ["--images", str(images), "--held-out", "40", "--folder", str(folder)]


def trained(script: list[str], folder: Path, images: int) -> Path:
    name, *task = script
    command = [sys.executable, "-m", f"frozen.models.{name}", *task, *options(images, folder)]
    subprocess.run(command, check=True, capture_output=True)
    [path] = folder.glob("*")
    return path


def trained_here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "argv", ["train_clip", "objects", *options(64, folder)])
    n_threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(len(str(folder)))  # what was drawn before is of no account
        train_clip.main()
    torch.set_num_threads(n_threads)
    [path] = folder.glob("*")
    return path


def test_two_runs_of_a_script_give_equal_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = (trained_here(tmp_path / name, monkeypatch) for name in ("one", "other"))
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.slow
def test_so_does_a_run_in_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = trained(["train_clip", "objects"], tmp_path / "one", 64)
    assert one.read_bytes() == trained_here(tmp_path / "other", monkeypatch).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=" ".join)
def test_a_short_training_gives_a_file_that_can_be_opened_and_its_loss_falls(
    script: list[str], tmp_path: Path
) -> None:
    opened = open_file(trained(script, tmp_path, 6_400))
    curve = opened.header["training"]["curve"]
    assert curve[-1]["images"] == 6_400
    losses = [sum(value for key, value in point.items() if key != "images") for point in curve]
    assert losses[-1] < 0.95 * losses[0]
    if "caption" in curve[0]:
        assert curve[-1]["caption"] < 2 * np.log(21)
        assert curve[-1]["contrastive"] < np.log(32)
