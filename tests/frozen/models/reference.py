"""Models whose layers all matter, and their tokens from their own modules, one after the other."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from frozen.data.scenes import ColorShape, SplitPolicy
from frozen.models import Backbone, BackboneConfig, load
from frozen.models._torchvision_ops import declare_missing_operators

declare_missing_operators()
import timm  # noqa: E402

SCENE = ColorShape(
    n_colors=4,
    n_shapes=4,
    max_objects=6,
    image_size=64,
    object_size=12,
    split=SplitPolicy(train=8, validation=8, test=8),
)
CPU = torch.device("cpu")
TINY = "test_vit"  # a few hundred thousand parameters
TOLERANCE = {"rtol": 1e-4, "atol": 1e-4}


def lively(name: str, **options: Any) -> nn.Module:
    """A model all of whose weights are random; fresh ones have layers that change next to nothing."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = timm.create_model(name, num_classes=0, **options).eval().requires_grad_(requires_grad=False)
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def save(model: nn.Module, path: Path) -> Path:
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, path)
    return path


def read(path: Path | None = None, name: str = TINY, image_size: int | None = 32, kind: str = "timm") -> Backbone:
    weights = None if path is None else str(path)
    return load(BackboneConfig(source=f"{kind}:{name}", image_size=image_size, weights=weights), SCENE, CPU)


def normalised(images: np.ndarray, size: int, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Bilinear resize between pixel centres, in double precision, as the product of two matrices."""
    before = images.shape[1]
    centres = np.clip((np.arange(size) + 0.5) * before / size - 0.5, 0, None)
    low = np.minimum(centres.astype(int), before - 1)
    high = np.minimum(low + 1, before - 1)
    weights = np.zeros((size, before))
    weights[np.arange(size), low] += 1 - (centres - low)
    weights[np.arange(size), high] += centres - low
    resized = weights @ (images / 255.0).transpose(0, 3, 1, 2) @ weights.T
    scaled = (resized - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    return torch.from_numpy(scaled).float()


@torch.no_grad()
def by_hand(model: Any, pixels: Tensor) -> dict[str, Tensor]:
    """Tokens of every layer from the model's own modules, one after the other."""
    patches, context = model.patch_embed(pixels), {}
    if not hasattr(model, "_pos_embed"):  # relative positions, a part of each block
        layers = {"embed": patches}
    elif isinstance(tokens := model._pos_embed(patches), tuple):  # Eva: rotary positions go to every block
        layers, context = {"embed": model.norm_pre(tokens[0])}, {"rope": tokens[1]}
    else:
        layers = {"embed": model.norm_pre(tokens)}
    for i, block in enumerate(model.blocks):
        layers[str(i)] = block(layers["embed" if i == 0 else str(i - 1)], **context)
    layers["final"] = model.norm(layers[str(len(model.blocks) - 1)])
    return layers


@cache
def tiny() -> nn.Module:
    return lively(TINY, img_size=32)
