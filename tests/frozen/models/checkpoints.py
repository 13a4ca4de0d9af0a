"""Checkpoints as the hub has them, made of small random timm models: another library's names for the same weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.frozen.models.reference import lively

MEAN, STD = (0.48, 0.45, 0.41), (0.27, 0.26, 0.28)
WIDTH, DEPTH, HEADS, SIDE = 32, 3, 2, 3


class Conversion(NamedTuple):
    """A timm architecture and how the hub's checkpoints of the same model look.

    Attributes:
        timm: the architecture's name in timm.
        prefix: of every name of the checkpoint.
        blocks: what stands before the number of a block.
        names: parts of timm's names and the checkpoint's in their place.
        qkv: names of the three parts of timm's joint projection.
        settings: of config.json, beside sizes.
        extras: weights beside the vision tower: heads, text towers, mask tokens.
    """

    timm: str
    prefix: str
    blocks: str
    names: dict[str, str]
    qkv: tuple[str, str, str]
    settings: dict[str, Any]
    extras: dict[str, tuple[int, ...]]
    patch: int = 14


_BERT = {
    "cls_token": "embeddings.cls_token",
    "pos_embed": "embeddings.position_embeddings",
    "reg_token": "embeddings.register_tokens",
    "patch_embed.proj": "embeddings.patch_embeddings.projection",
    "attn.proj": "attention.output.dense",
    "norm.": "layernorm.",
}
_BERT_QKV = ("attention.attention.query", "attention.attention.key", "attention.attention.value")
_DINO = _BERT | {"ls1.gamma": "layer_scale1.lambda1", "ls2.gamma": "layer_scale2.lambda1"}
_DINO_SETTINGS = {"layer_norm_eps": 1e-6, "mlp_ratio": 4}
_CLIP = {
    "cls_token": "embeddings.class_embedding",
    "pos_embed": "embeddings.position_embedding.weight",
    "patch_embed.proj": "embeddings.patch_embedding",
    "norm_pre": "pre_layrnorm",
    "attn.proj": "self_attn.out_proj",
    "norm1": "layer_norm1",
    "norm2": "layer_norm2",
    "norm.": "post_layernorm.",
}
CONVERSIONS = {
    "dinov2": Conversion(
        "vit_small_patch14_dinov2",
        "",
        "encoder.layer",
        _DINO,
        _BERT_QKV,
        {"model_type": "dinov2", **_DINO_SETTINGS},
        {"embeddings.mask_token": (1, WIDTH)},
    ),
    "vit": Conversion(
        "vit_base_patch16_224",
        "vit.",
        "encoder.layer",
        _BERT
        | {
            "norm1": "layernorm_before",
            "norm2": "layernorm_after",
            "mlp.fc1": "intermediate.dense",
            "mlp.fc2": "output.dense",
        },
        _BERT_QKV,
        {"model_type": "vit", "layer_norm_eps": 1e-6, "intermediate_size": 4 * WIDTH},
        {"classifier.weight": (7, WIDTH), "classifier.bias": (7,)},
        patch=16,
    ),
    "clip": Conversion(
        "vit_base_patch16_clip_quickgelu_224",
        "vision_model.",
        "encoder.layers",
        _CLIP,
        ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        {"model_type": "clip_vision_model", "intermediate_size": 4 * WIDTH, "hidden_act": "quick_gelu"},
        {"logit_scale": (), "visual_projection.weight": (16, WIDTH), "text_model.final_layer_norm.weight": (8,)},
        patch=16,
    ),
}


def small(conversion: Conversion) -> Any:
    """A timm model of the conversion's architecture."""
    sizes = {"embed_dim": WIDTH, "depth": DEPTH, "num_heads": HEADS, "img_size": SIDE * conversion.patch}
    return lively(conversion.timm, **sizes)


def converted(conversion: Conversion, model: nn.Module) -> dict[str, Tensor]:
    """A timm model's weights under the names of the hub's checkpoint."""
    found = dict(_converted(conversion, model.state_dict()))
    return found | {name: torch.ones(shape) for name, shape in conversion.extras.items()}


def _converted(conversion: Conversion, state: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    for name, value in state.items():
        new = name.replace("blocks", conversion.blocks)
        for ours, theirs in conversion.names.items():
            is_part = name.startswith(ours) if ours == "norm." else ours in name
            new = new.replace(ours, theirs) if is_part else new
        new = conversion.prefix + new
        if "qkv" in name:
            joint = name.rpartition(".")[2]
            for part, tensor in zip(conversion.qkv, value.chunk(3), strict=True):
                yield new.replace(f"attn.qkv.{joint}", f"{part}.{joint}"), tensor.clone()
        elif new.endswith("class_embedding"):
            yield new, value.flatten().clone()
        elif new.endswith("position_embedding.weight"):
            yield new, value[0].clone()
        else:
            yield new, value.clone()


def settings_of(conversion: Conversion) -> dict[str, Any]:
    """config.json; of models with two towers, with the settings of both."""
    sizes = {
        "hidden_size": WIDTH,
        "num_hidden_layers": DEPTH,
        "num_attention_heads": HEADS,
        "image_size": SIDE * conversion.patch,
        "patch_size": conversion.patch,
    }
    settings = conversion.settings | sizes
    if conversion.settings["model_type"] == "clip_vision_model":
        return {"model_type": "clip", "vision_config": settings, "text_config": {"model_type": "clip_text_model"}}
    return settings


def write(folder: Path, settings: dict[str, Any], state: dict[str, Tensor]) -> Path:
    """A folder as a repository of the hub has it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(settings))
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": MEAN, "image_std": STD}))
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    return folder
