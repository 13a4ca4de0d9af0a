"""A small scene and a shipped backbone, for tests of extraction."""

from __future__ import annotations

import torch

from frozen.data.scenes import ColorShape, SplitName, SplitPolicy
from frozen.models import BackboneConfig

CPU = torch.device("cpu")
SCENE = ColorShape(
    n_colors=2,
    n_shapes=2,
    max_objects=3,
    image_size=64,
    object_size=12,
    split=SplitPolicy(train=25, validation=8, test=9),
)
SIZES: dict[SplitName, int] = {"train": 25, "validation": 8, "test": 9}
SHIPPED = BackboneConfig(source="shipped:shapes_vit_objects")
NOISE = BackboneConfig(source="control:noise")
