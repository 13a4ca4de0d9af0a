"""The shipped CLIPs' towers carried over to open_clip's own classes give the same vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from binding._torchvision_ops import declare_missing_operators
from binding.backbones import SHIPPED
from binding.backbones._shipped import shipped_path
from binding.backbones.opening import open_shipped
from binding.scenes import SplitPolicy, TwinShapes

declare_missing_operators()
pytest.importorskip("open_clip", reason="open_clip is needed to compare with, not to run")

CLIPS = [name for name in SHIPPED if name.startswith("shapes_clip")]
WIDTH, HEADS, LAYERS = 128, 4, 6


def renamed(weights: dict[str, torch.Tensor], blocks: str, names: dict[str, str]) -> dict[str, torch.Tensor]:
    """Weights of blocks under open_clip's names."""
    found = {}
    for key, value in weights.items():
        if not key.startswith(blocks):
            continue
        number, _, rest = key.removeprefix(blocks).partition(".")
        module, _, kind = rest.rpartition(".")
        name = names[module].format(kind=kind)
        found[f"transformer.resblocks.{number}.{name}"] = value
    return found


VISION = {
    "norm1": "ln_1.{kind}",
    "norm2": "ln_2.{kind}",
    "attn.qkv": "attn.in_proj_{kind}",
    "attn.proj": "attn.out_proj.{kind}",
    "mlp.fc1": "mlp.c_fc.{kind}",
    "mlp.fc2": "mlp.c_proj.{kind}",
}
TEXT = {
    "ln_1": "ln_1.{kind}",
    "ln_2": "ln_2.{kind}",
    "attn.in_proj": "attn.in_proj_{kind}",
    "attn.out_proj": "attn.out_proj.{kind}",
    "c_fc": "mlp.c_fc.{kind}",
    "c_proj": "mlp.c_proj.{kind}",
}


def weights_of(name: str) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return {key: value.float() for key, value in load_file(shipped_path(name)).items()}


@pytest.mark.parametrize("name", CLIPS)
@torch.no_grad()
def test_image_vectors_are_those_of_open_clips_vision_tower(name: str) -> None:
    from open_clip.transformer import VisionTransformer

    weights, model = weights_of(name), open_shipped(name)
    joint = weights["head.weight"].shape[0]
    tower: Any = VisionTransformer(
        image_size=64, patch_size=8, width=WIDTH, layers=LAYERS, heads=HEADS, mlp_ratio=2.0, output_dim=joint
    )
    state = renamed(weights, "blocks.", VISION)
    state |= {
        "class_embedding": weights["cls_token"][0, 0],
        "positional_embedding": weights["pos_embed"][0],
        "proj": weights["head.weight"].T,
        "conv1.weight": weights["patch_embed.proj.weight"],
        "ln_pre.weight": weights["norm_pre.weight"],
        "ln_pre.bias": weights["norm_pre.bias"],
        "ln_post.weight": weights["norm.weight"],
        "ln_post.bias": weights["norm.bias"],
    }
    tower.load_state_dict(state)
    split: Any = TwinShapes(seed=5, split=SplitPolicy(train=2, validation=2, test=8)).open("test")
    images = split.images(np.arange(8))
    expected = tower.eval()(model.pixels(images)).numpy()
    np.testing.assert_allclose(model.vectors(images), expected, rtol=0, atol=1e-5 * abs(expected).max())


@pytest.mark.parametrize("name", CLIPS)
@torch.no_grad()
def test_text_vectors_are_those_of_open_clips_text_tower(name: str) -> None:
    from open_clip.transformer import TextTransformer

    weights = {key.removeprefix("text."): value for key, value in weights_of(name).items() if key.startswith("text.")}
    text = open_shipped(name).text
    assert text is not None
    config = text.tower.config
    tower: Any = TextTransformer(
        context_length=config.context,
        vocab_size=config.vocabulary,
        width=config.width,
        heads=config.heads,
        layers=config.depth,
        mlp_ratio=config.mlp_ratio,
        output_dim=weights["text_projection"].shape[1],
    )
    own = ("token_embedding.weight", "positional_embedding", "ln_final.weight", "ln_final.bias", "text_projection")
    tower.load_state_dict({**renamed(weights, "blocks.", TEXT), **{key: weights[key] for key in own}}, strict=False)
    texts = ["a red square and a blue circle", "a red", "red", "a yellow triangle"]
    expected = tower.eval()(torch.from_numpy(text.tokenizer.encode(texts))).numpy()
    np.testing.assert_allclose(text.encode(texts), expected, rtol=0, atol=1e-5 * abs(expected).max())
