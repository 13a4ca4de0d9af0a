"""open_clip's towers: the same sum from timm's conversion of their weights, and from their own text tower."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from frozen.models import BackboneConfig, Pixels, VisionTransformer
from frozen.models._timm import tower_of
from frozen.models._torchvision_ops import declare_missing_operators
from frozen.models.joint import joint_of, joint_refusal
from readouts.text_decomposition.capture import ImageTerms
from readouts.text_decomposition.lens import Lens, Stored
from tests.readouts.text_decomposition.towers import captured, scenes


@pytest.mark.parametrize("quick_gelu", [False, True])
@torch.no_grad()
def test_terms_sum_to_what_open_clip_gives(quick_gelu: bool) -> None:
    declare_missing_operators()
    pytest.importorskip("open_clip", reason="open_clip is an extra")
    from open_clip.model import CLIP
    from timm.layers import get_act_layer
    from timm.models.vision_transformer import VisionTransformer as Model
    from timm.models.vision_transformer import checkpoint_filter_fn

    torch.manual_seed(0)
    vision = {"layers": 3, "width": 128, "head_width": 32, "patch_size": 8, "image_size": 32}
    text = {"context_length": 8, "vocab_size": 50, "width": 64, "heads": 2, "layers": 2}
    clip: Any = CLIP(48, vision, text, quick_gelu=quick_gelu).eval()
    for parameter in clip.visual.parameters():
        if parameter.ndim == 1:
            parameter += 0.3 * torch.randn(parameter.shape)
    model = Model(
        img_size=32,
        patch_size=8,
        embed_dim=128,
        depth=3,
        num_heads=4,
        pre_norm=True,
        num_classes=48,
        norm_layer=torch.nn.LayerNorm,
        act_layer=get_act_layer("quick_gelu") if quick_gelu else torch.nn.GELU,
    )
    state = {f"visual.{name}": value for name, value in clip.visual.state_dict().items()}
    model.load_state_dict(checkpoint_filter_fn(state, model), strict=False)
    model.reset_classifier(0)
    config = BackboneConfig(source="random:vit_tiny_patch16_224")
    backbone = VisionTransformer(tower_of(model, 32), config, Pixels((0.5,) * 3, (0.5,) * 3), 32, torch.device("cpu"))

    def tokenizer(texts: Any) -> torch.Tensor:
        return torch.tensor([[1, *(ord(letter) % 40 + 2 for letter in one[:6]), 49] for one in texts])

    joint = joint_of(clip, tokenizer)
    stored = Stored.of(captured(backbone))
    lens = Lens.of(backbone, joint)
    pixels = (torch.from_numpy(scenes().images(np.arange(12))).permute(0, 3, 1, 2) / 255 - 0.5) / 0.5
    own = clip.encode_image(pixels)
    own = own / own.norm(dim=1, keepdim=True)
    assert float((lens.all_terms(stored).sum(1) - own).norm() / own.norm()) < 1e-5
    texts = ["abcdef", "fedcba", "abcdef"]
    vectors = joint.encode(texts)
    assert np.allclose(vectors, clip.encode_text(tokenizer(texts)), atol=1e-6)
    assert np.array_equal(vectors[0], vectors[2])
    assert ImageTerms(3).sites


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("timm:vit_base_patch16_clip_224.openai", "write vit_base_patch16_clip_quickgelu_224.openai"),
        ("timm:vit_base_patch14_dinov2", "is no CLIP whose text tower is known"),
        ("shipped:shapes_vit_class", "has no text tower here"),
        ("timm:vit_base_patch16_clip_224.metaclip_400m", "known weights are laion2b"),
    ],
)
def test_backbones_without_texts_are_refused(source: str, message: str) -> None:
    assert message in str(joint_refusal(BackboneConfig(source=source)))


def test_clips_of_timm_have_texts() -> None:
    reason = joint_refusal(BackboneConfig(source="timm:vit_large_patch14_clip_224.laion2b"))
    assert reason is None or "binding-sweep[open_clip]" in reason
