"""The backbones of the paper's tables, as its script reads them."""

from __future__ import annotations

from typing import NamedTuple

from binding.backbones._base import BackboneConfig


class PaperChoice(NamedTuple):
    """A model, its input size and the one layer that is read."""

    config: BackboneConfig
    layers: tuple[int | str, ...]


_CLIP = "hf:openai/clip-vit-large-patch14"

PAPER = {
    "dinov2_large": PaperChoice(BackboneConfig(source="hf:facebook/dinov2-large", image_size=256), ("final",)),
    "clip_large_224": PaperChoice(BackboneConfig(source=_CLIP, image_size=224), (-1,)),
    "clip_large_336": PaperChoice(BackboneConfig(source=f"{_CLIP}-336", image_size=336), (-1,)),
}
"""By name: DINOv2-L at 256 px after the final norm, CLIP L/14 before the post-norm."""
