"""Trains the classifier that ships with the project, with its head.

    python -m frozen.models.train_class

Every image holds one large target among up to three small distractors; the class is the target's kind.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from frozen.data.scenes import SplitPolicy, TargetShapes
from frozen.models._training import SEED, VISION, TrainingSchedule, normalise, vision_tower
from frozen.models._writing import Content, run

IMAGES = 120_000


class ClassTask:
    """Cross-entropy of the target's kind."""

    name = "shapes_vit_class"

    def __init__(self, images: int, seed: int) -> None:
        torch.manual_seed(seed)
        split = TargetShapes(seed=SEED, split=SplitPolicy(train=images, validation=1, test=1)).open("train")
        self.split, self.classes = split, torch.from_numpy(split.classes.copy())
        self.model = vision_tower(split.space.n_objects)

    def batch(self, step: int, size: int) -> tuple[Tensor, Tensor]:
        """Pixels and classes."""
        indices = np.arange(step * size, (step + 1) * size)
        return normalise(self.split.images(indices)), self.classes[indices]

    def losses(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """Cross-entropy."""
        pixels, classes = batch
        return {"class": cross_entropy(self.model(pixels), classes)}


def content(task: ClassTask) -> Content:
    """What of the model is kept: all of it, the head among it."""
    return Content("class", VISION, task.model.state_dict(), task.split.scene, {"classes": task.split.class_names})


def main() -> None:
    """Train it and write its file."""
    run(__doc__, {"class": ClassTask}, TrainingSchedule(IMAGES), content)


if __name__ == "__main__":
    main()
