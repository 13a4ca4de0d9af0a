"""Small random vision transformers whose parameters are all jittered, and a data set for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from frozen.models import Backbone, BackboneConfig, Pixels, VisionTransformer
from frozen.models._timm import tower_of
from frozen.models._torchvision_ops import declare_missing_operators

declare_missing_operators()
from timm.models.beit import Beit  # noqa: E402
from timm.models.deit import VisionTransformerDistilled  # noqa: E402
from timm.models.vision_transformer import ResPostBlock  # noqa: E402
from timm.models.vision_transformer import VisionTransformer as Timm  # noqa: E402

N_CLASSES = 17
KINDS: dict[str, dict[str, Any]] = {
    "token": {},
    "layer_scale": {"init_values": 0.5, "no_embed_class": True},
    "registers": {"reg_tokens": 4},
    "pre_norm": {"pre_norm": True},
    "mean_pool": {"global_pool": "avg", "class_token": False, "block_fn": ResPostBlock},
    "beit": {"global_pool": "avg", "use_rel_pos_bias": True, "init_values": 0.5},
    "distilled": {},
}
CLASSES: dict[str, Any] = {"beit": Beit, "distilled": VisionTransformerDistilled}
"""Of the models that are no plain ViT of timm's."""


def net(kind: str, *, double: bool = False) -> Backbone:
    """A ViT of width 48, 3 heads and 3 blocks on 32 pixels in patches of 8, as a loaded backbone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        options = KINDS[kind]
        sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 3, "num_heads": 3}
        model = CLASSES.get(kind, Timm)(**sizes, num_classes=N_CLASSES, **options)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    if double:
        model = model.double()
        model.patch_embed.float()  # pixels come in single precision; all that follows is in double
    tower = tower_of(model.eval(), 32)
    pixels = Pixels((0.5,) * 3, (0.5,) * 3)
    return VisionTransformer(tower, BackboneConfig(source="random:vit"), pixels, 32, torch.device("cpu"), name=kind)


class Pictures:
    """Noise with a class and a mask each; `n` images of 32 pixels."""

    def __init__(self, n: int, n_classes: int = N_CLASSES, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.pixels = rng.integers(0, 256, size=(n, 32, 32, 3), dtype=np.uint8)
        self.classes = np.arange(n) % n_classes
        self.masks = np.zeros((n, 32, 32), dtype=bool)
        for mask, (top, left) in zip(self.masks, rng.integers(0, 20, size=(n, 2)), strict=True):
            mask[top : top + 12, left : left + 12] = True

    def images(self, indices: np.ndarray) -> np.ndarray:
        return self.pixels[indices]

    def labels(self, name: str, indices: np.ndarray) -> np.ndarray:
        return {"class": self.classes, "class_mask": self.masks}[name][indices]

    def __len__(self) -> int:
        return len(self.pixels)


def columns_of(table: Any) -> dict[str, np.ndarray]:
    """Arrays of a captured table."""
    found = {}
    for name in table.column_names:
        chunk = table.column(name).combine_chunks()
        found[name] = chunk.to_numpy_ndarray() if hasattr(chunk, "to_numpy_ndarray") else chunk.to_numpy()
    return found
