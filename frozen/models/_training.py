"""The loop that trains the models that ship: batches drawn ahead, checkpoints, and a record of what happened.

A run that is killed goes on from its last checkpoint and gives the bytes that an undisturbed run gives.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from frozen.models._torchvision_ops import declare_missing_operators
from frozen.whole_files import appearing

SEED = 77_000_000
"""Of the training scenes; far from the seeds of any study, so that no study image was trained on."""
HELD_OUT_SEED = 78_000_000
"""Of the scenes that the numbers in the headers were measured on."""
MEAN = STD = (0.5, 0.5, 0.5)
VISION = {"img_size": 64, "patch_size": 8, "embed_dim": 128, "depth": 6, "num_heads": 4, "mlp_ratio": 2.0}
_REPORT_EVERY = 100
_CHECKPOINT_SECONDS = 120.0

AnyBatch = TypeVar("AnyBatch")


class TrainingSchedule(NamedTuple):
    """How long and how fast to train: a warm-up, a constant rate, then a straight line to zero.

    Nothing before the decay depends on the number of images, so one checkpoint serves runs of every length.
    """

    images: int
    batch: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup_steps: int = 200
    decay: float = 0.3

    @property
    def steps(self) -> int:
        return self.images // self.batch

    @property
    def decay_from(self) -> int:
        """The step at which the rate begins to fall."""
        return self.steps - int(self.decay * self.steps)

    def rate(self, step: int) -> float:
        """Factor of the learning rate."""
        falling = (self.steps - step) / (self.steps - self.decay_from) if step >= self.decay_from else 1.0
        return min((step + 1) / self.warmup_steps, falling, 1.0)


@runtime_checkable
class LearningTask(Protocol[AnyBatch]):
    """A model and what it learns."""

    @property
    def name(self) -> str: ...

    @property
    def model(self) -> nn.Module: ...

    def batch(self, step: int, size: int) -> AnyBatch:
        """Samples `step * size` to `(step + 1) * size`; it may run in another thread."""
        ...

    def losses(self, batch: AnyBatch) -> dict[str, Tensor]:
        """Terms whose sum is minimised, in nats."""
        ...


class TrainingRecord(NamedTuple):
    """The record of a training."""

    curve: list[dict[str, float]]
    processor_seconds: float


def train(task: LearningTask[Any], schedule: TrainingSchedule, checkpoint: Path | None = None) -> TrainingRecord:
    """Train the task's model in place.

    Args:
        task: model, batches and losses.
        schedule: how long and how fast.
        checkpoint: a file to go on from, written every two minutes; None keeps nothing.

    Raises:
        ValueError: a checkpoint of another training.
    """
    matrices = [p for p in task.model.parameters() if p.ndim > 1]
    others = [p for p in task.model.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": schedule.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=schedule.learning_rate, betas=(0.9, 0.98), fused=True)
    step, curve, spent = 0, [], 0.0
    if checkpoint is not None and checkpoint.exists():
        step, curve, spent = _restore(checkpoint, task, optimizer, schedule)
    begun, saved, recent = time.process_time(), time.monotonic(), []
    for batch in _ahead(task, schedule, step):
        for group in optimizer.param_groups:
            group["lr"] = schedule.learning_rate * schedule.rate(step)
        losses = task.losses(batch)
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        nn.utils.clip_grad_norm_(task.model.parameters(), 1.0)
        optimizer.step()
        step += 1
        recent.append({name: loss.item() for name, loss in losses.items()})
        if step % _REPORT_EVERY and step != schedule.steps:
            continue
        curve.append(_point(step * schedule.batch, recent))
        recent.clear()
        seconds = spent + time.process_time() - begun
        print(
            f"{task.name}: {curve[-1]}, {step * schedule.batch / seconds:.0f} images/s of processor time", flush=True
        )
        if checkpoint is not None and (time.monotonic() - saved > _CHECKPOINT_SECONDS or step == schedule.steps):
            _save(checkpoint, task, optimizer, schedule, (step, curve, seconds))
            saved = time.monotonic()
    return TrainingRecord(curve, spent + time.process_time() - begun)


def _point(images: int, recent: list[dict[str, float]]) -> dict[str, float]:
    means = {name: round(float(np.mean([losses[name] for losses in recent])), 4) for name in recent[0]}
    return {"images": images, **means}


def _ahead(task: LearningTask[AnyBatch], schedule: TrainingSchedule, first: int) -> Iterator[AnyBatch]:
    """Batches from the step `first` on, drawn one ahead of the step that learns from them."""
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(task.batch, first, schedule.batch) if first < schedule.steps else None
        for step in range(first + 1, schedule.steps + 1):
            assert following is not None
            ready = following.result()
            following = pool.submit(task.batch, step, schedule.batch) if step < schedule.steps else None
            yield ready


def _save(
    path: Path,
    task: LearningTask[Any],
    optimizer: torch.optim.Optimizer,
    schedule: TrainingSchedule,
    progress: tuple[int, list, float],
) -> None:
    state = {
        "name": task.name,
        "schedule": tuple(schedule),
        "model": task.model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "progress": progress,
    }
    with appearing(path) as half:
        torch.save(state, half)


def _restore(
    path: Path, task: LearningTask[Any], optimizer: torch.optim.Optimizer, schedule: TrainingSchedule
) -> tuple[int, list[dict[str, float]], float]:
    state = torch.load(path, weights_only=True)
    step, curve, spent = state["progress"]
    before = TrainingSchedule(*state["schedule"])
    same = before == schedule or (
        before._replace(images=schedule.images) == schedule and step <= min(before.decay_from, schedule.decay_from)
    )
    if state["name"] != task.name or not same:
        raise ValueError(
            f"{path}: holds step {step} of {state['name']} with {before}, which does not lead to {task.name} with "
            f"{schedule}; give the same settings, or remove the file to begin anew"
        )
    task.model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return step, list(curve), spent


def normalise(images: np.ndarray) -> Tensor:
    """uint8 [batch height width 3] -> float32 [batch 3 height width] with the models' mean and deviation."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float().div(255)
    return (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def vision_tower(num_classes: int = 0, **changes: Any) -> Any:
    """A timm ViT of the shipped models' size, with CLIP's norm before the blocks where `pre_norm` is asked for."""
    declare_missing_operators()
    from timm.models.vision_transformer import VisionTransformer

    norm = {"norm_layer": nn.LayerNorm} if changes.get("pre_norm") else {}
    return VisionTransformer(**{**VISION, **changes, **norm}, num_classes=num_classes)  # pyright: ignore
