"""The backbones of the paper's tables, as its script reads them."""

from __future__ import annotations

from typing import NamedTuple

from frozen.models._base import NO_SUM, Description, TokenLayout, dropped_pixels
from frozen.models._config import BackboneConfig
from frozen.models._parts import hidden_weights, plain_shapes


class PaperChoice(NamedTuple):
    """A model, its input size, the one layer that is read, and what the model says of itself."""

    config: BackboneConfig
    layers: tuple[int | str, ...]
    description: Description


def _large(source: str, image_size: int, layer: int | str, grid: int, parameters: int, attention: str) -> PaperChoice:
    """A ViT-L: 24 blocks of width 1024, a CLS token and no registers."""
    layers = ("embed", *map(str, range(24)), "final")
    layout = TokenLayout(has_cls=True, n_registers=0, grid=(grid, grid), width=1024)
    parts = plain_shapes(1024, 16, 4096, attention_weights=hidden_weights(attention))
    notes = dropped_pixels(image_size, 14)
    description = Description(
        layers,
        layout,
        image_size,
        parameters=parameters,
        parts=parts,
        embedding_width=1024,
        no_sum=NO_SUM if attention == "Dinov2Attention" else "",
        notes=notes,
    )
    return PaperChoice(BackboneConfig(source=source, image_size=image_size), (layer,), description)


_CLIP = "hf:openai/clip-vit-large-patch14"

PAPER = {
    "dinov2_large": _large("hf:facebook/dinov2-large", 256, "final", 18, 304_368_640, "Dinov2Attention"),
    "clip_large_224": _large(_CLIP, 224, -1, 16, 303_179_776, "CLIPAttention"),
    "clip_large_336": _large(f"{_CLIP}-336", 336, -1, 24, 303_507_456, "CLIPAttention"),
}
"""By name: DINOv2-L at 256 px after the final norm, CLIP L/14 before the post-norm."""


def known_description(config: BackboneConfig) -> Description | None:
    """Description of one of these models at the paper's size, so that a study is planned before the hub is asked."""
    for choice in PAPER.values():
        if (config.architecture, config.image_size) == (choice.config.architecture, choice.config.image_size):
            return choice.description
    return None
