"""Small models of every class of transformers that is read, in folders that the library itself has written."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from frozen.models import Backbone, BackboneConfig, TokenLayout, load
from tests.frozen.models.checkpoints import (
    DEPTH,
    MEAN,
    STD,
    WIDTH,
    write,
)
from tests.frozen.models.reference import CPU, SCENE

transformers = pytest.importorskip("transformers")
LAYERS = ("embed", *map(str, range(DEPTH)), "final")
_SMALL = {
    "hidden_size": WIDTH,
    "num_hidden_layers": DEPTH,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
_TEXT = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 9}
_MLP = {**_SMALL, "intermediate_size": 64}
_NAFLEX = {name: value for name, value in _MLP.items() if name != "image_size"} | {"num_patches": 4}


class Case(NamedTuple):
    """A published class, its settings, and what is known of its tokens at 28 pixels."""

    model: str
    settings: dict[str, Any]
    layout: TokenLayout


def _layout(*, has_cls: bool = True, n_registers: int = 0) -> TokenLayout:
    return TokenLayout(has_cls, n_registers, (2, 2), WIDTH)


_MAE = {
    "decoder_num_hidden_layers": 1,
    "decoder_hidden_size": 8,
    "decoder_num_attention_heads": 2,
    "decoder_intermediate_size": 8,
}
CASES = {
    "dinov2": Case("Dinov2Model", _SMALL, _layout()),
    "registers": Case("Dinov2WithRegistersModel", {**_SMALL, "num_register_tokens": 3}, _layout(n_registers=3)),
    "clip": Case("CLIPModel", {"vision_config": _MLP, "text_config": _TEXT}, _layout()),
    "clip_vision": Case("CLIPVisionModel", _MLP, _layout()),
    "siglip": Case("SiglipModel", {"vision_config": _MLP, "text_config": _TEXT}, _layout(has_cls=False)),
    "siglip2": Case("Siglip2Model", {"vision_config": _NAFLEX, "text_config": _TEXT}, _layout(has_cls=False)),
    "vit": Case("ViTForImageClassification", _MLP, _layout()),
    "vit_mae": Case("ViTMAEForPreTraining", {**_MLP, **_MAE}, _layout()),
    "ijepa": Case("IJepaModel", _MLP, _layout(has_cls=False)),
    "dinov3": Case("DINOv3ViTModel", {**_MLP, "num_register_tokens": 4}, _layout(n_registers=4)),
}


@cache
def published(name: str) -> tuple[Path, nn.Module]:
    """A folder that the library itself has written, and the model that was written."""
    case = CASES[name]
    cls = getattr(transformers, case.model)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = cls(cls.config_class(**case.settings)).eval()
        for parameter in model.parameters():
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    folder = Path(mkdtemp()) / name
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": MEAN, "image_std": STD}))
    return folder, model


def read(folder: Path, image_size: int | None = None, **options: Any) -> Backbone:
    return load(BackboneConfig(source=f"hf:{folder}", image_size=image_size, **options), SCENE, CPU)


@cache
def loaded(name: str) -> Backbone:
    return read(published(name)[0])


def broken(folder: Path, target: Path, **changes: Any) -> Path:
    settings = json.loads((folder / "config.json").read_text())
    return write(target, settings | changes, load_file(folder / "model.safetensors"))
