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
    for part, expected in zip((lens.of_heads(stored), lens.of_mlps(stored)), own_terms(clip, pixels), strict=True):
        assert float((part - expected).norm() / expected.norm()) < 1e-5
    texts = ["abcdef", "fedcba", "abcdef"]
    vectors = joint.encode(texts)
    assert np.allclose(vectors, clip.encode_text(tokenizer(texts)), atol=1e-6)
    assert np.array_equal(vectors[0], vectors[2])
    assert ImageTerms(3).sites


def own_terms(clip: Any, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Terms [image layer head joint] and [image layer+1 joint], from open_clip's own modules and weights."""
    visual = clip.visual
    blocks = visual.transformer.resblocks
    seen: dict[Any, torch.Tensor] = {}
    modules = [visual.ln_pre, *(block.ln_1 for block in blocks), *(block.mlp for block in blocks)]
    handles = [one.register_forward_hook(lambda module, _, output: seen.update({module: output})) for one in modules]
    handles.append(visual.ln_post.register_forward_pre_hook(lambda module, given: seen.update({module: given[0]})))
    clip.encode_image(pixels)
    for handle in handles:
        handle.remove()
    heads, norm = [], visual.ln_post
    for block in blocks:
        own, given = block.attn, seen[block.ln_1]
        joint = given @ own.in_proj_weight.T + own.in_proj_bias
        query, key, value = joint.unflatten(-1, (3, own.num_heads, -1)).permute(2, 0, 3, 1, 4)
        read = (query[:, :, :1] @ key.transpose(2, 3) / query.shape[-1] ** 0.5).softmax(-1) @ value
        weight = own.out_proj.weight.unflatten(1, (own.num_heads, -1))
        heads.append(torch.einsum("bhd,whd->bhw", read[:, :, 0], weight) + own.out_proj.bias / own.num_heads)
    mlps = torch.stack([seen[visual.ln_pre][:, 0], *(seen[block.mlp][:, 0] for block in blocks)], dim=1)
    last = seen[norm] if seen[norm].ndim == 2 else seen[norm][:, 0]
    mean, scale = last.mean(-1), (last.var(-1, correction=0) + norm.eps).sqrt()
    length = (norm(last) @ visual.proj).norm(dim=1)

    def fold(terms: torch.Tensor, share: float) -> torch.Tensor:
        shape = (-1, *[1] * (terms.ndim - 1))
        inner = (terms - mean.view(shape) * share) * norm.weight / scale.view(shape) + norm.bias * share
        return inner @ visual.proj / length.view(shape)

    count, attention = 2 * len(blocks) + 1, torch.stack(heads, dim=1)
    return fold(attention, 1 / (count * attention.shape[2])), fold(mlps, 1 / count)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("timm:vit_base_patch16_clip_224.openai", "write vit_base_patch16_clip_quickgelu_224.openai"),
        ("timm:vit_base_patch14_dinov2", "is no CLIP whose text tower is known"),
        ("timm:vit_base_patch16_siglip_224.webli", "SigLIP has its texts as hf:google/siglip-base-patch16-224"),
        ("shipped:shapes_vit_class", "has no text tower here"),
        ("timm:vit_base_patch16_clip_224.metaclip_400m", "known weights are laion2b"),
    ],
)
def test_backbones_without_texts_are_refused(source: str, message: str) -> None:
    assert message in str(joint_refusal(BackboneConfig(source=source)))


def test_clips_of_timm_have_texts() -> None:
    reason = joint_refusal(BackboneConfig(source="timm:vit_large_patch14_clip_224.laion2b"))
    assert reason is None or "binding-sweep[open_clip]" in reason
