"""Convolutional trunks of timm: the feature map that leaves a block, as spatial tokens.

ResNets, ConvNeXts and the ResNets of CLIP, whose attention pool makes the image's embedding. A token is one place of
a feature map, row by row, with the channels as its width: grid and width differ from stage to stage, so that every
layer has a layout of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from functools import partial
from itertools import chain
from math import isqrt
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from frozen.models._base import BackboneError, TokenLayout
from frozen.models._parts import BLOCK_PARTS, CHANGES, BlockParts
from frozen.models._vision import Tower

_REASON = "it is a convolutional network: its blocks have no attention, no heads and no CLS token"


class _Pieces(NamedTuple):
    """A model, from pixels to the last feature map: what comes before the blocks, the blocks, what comes after."""

    stem: nn.Module
    blocks: list[nn.Module]
    ending: nn.Module


def _resnet(model: Any) -> _Pieces:
    stem = nn.Sequential(model.conv1, model.bn1, model.act1, model.maxpool)
    return _Pieces(stem, [*chain(model.layer1, model.layer2, model.layer3, model.layer4)], nn.Identity())


def _convnext(model: Any) -> _Pieces:
    blocks: list[nn.Module] = [
        nn.Sequential(stage.downsample, block) if number == 0 else block
        for stage in model.stages
        for number, block in enumerate(stage.blocks)
    ]
    return _Pieces(model.stem, blocks, model.norm_pre)


def _byobnet(model: Any) -> _Pieces:
    return _Pieces(model.stem, [*chain.from_iterable(model.stages)], model.final_conv)


_TAKEN_APART = {"ResNet": _resnet, "ConvNeXt": _convnext, "ByobNet": _byobnet}
FAMILIES = tuple(_TAKEN_APART)
"""timm's classes that can be read: ByobNet is that of CLIP's ResNets, among others."""


def has_feature_maps(model: nn.Module) -> bool:
    """Whether a model is one of these."""
    return type(model).__name__ in _TAKEN_APART


class OverTokens(nn.Module):
    """A block that reads and gives tokens in place of square feature maps."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, tokens: Float[Tensor, "n t d"]) -> Float[Tensor, "n u e"]:
        return as_tokens(self.block(as_map(tokens)))


def as_tokens(feature_map: Float[Tensor, "n d h w"]) -> Float[Tensor, "n t d"]:
    """Places of a feature map, row by row."""
    return feature_map.flatten(2).mT


def as_map(tokens: Float[Tensor, "n t d"]) -> Float[Tensor, "n d h w"]:
    """The square feature map whose places the tokens are."""
    return tokens.mT.unflatten(2, (isqrt(tokens.shape[1]), -1))


def feature_tower(model: Any, image_size: int) -> Tower:
    """A convolutional model's blocks as layers of tokens, and its pooling.

    Raises:
        BackboneError: images that are too small for the model.
    """
    pieces = _TAKEN_APART[type(model).__name__](model)
    blocks = [OverTokens(block) for block in pieces.blocks]

    def run(pixels: Tensor) -> Tensor:
        tokens = as_tokens(pieces.stem(pixels))
        for block in blocks:
            tokens = block(tokens)
        return as_tokens(pieces.ending(as_map(tokens)))

    shadow = model if _on_meta(model) else deepcopy(model).to("meta")
    layouts, flops = _measured(shadow.eval(), image_size)
    pool = partial(_pooled, model)
    with torch.inference_mode():
        last = layouts["final"]
        empty = torch.zeros(1, last.n_spatial, last.width, device="meta")
        width = int(_pooled(shadow, empty).shape[1])
    refused = BlockParts({}, dict.fromkeys((*BLOCK_PARTS, *CHANGES), _REASON))
    return Tower(
        model,
        blocks,
        run,
        last,
        [refused] * len(blocks),
        pool,
        width,
        layouts=tuple(layouts.items()),
        flops=flops,
    )


def _pooled(model: Any, tokens: Float[Tensor, "n t d"]) -> Float[Tensor, "n e"]:
    return model.forward_head(as_map(tokens), pre_logits=True)


def _on_meta(model: nn.Module) -> bool:
    return next(model.parameters()).is_meta


def _measured(model: Any, image_size: int) -> tuple[dict[str, TokenLayout], float]:
    """Layouts of all layers, and operations of a forward pass, from a pass without numbers."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        try:
            layouts = dict(_layouts(model, torch.zeros(1, 3, image_size, image_size, device="meta")))
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:120]
            raise BackboneError(f"{type(model).__name__} cannot read images of {image_size} px: {reason}") from error
    return layouts, float(counter.get_total_flops())


def _layouts(model: Any, pixels: Tensor) -> Iterator[tuple[str, TokenLayout]]:
    pieces = _TAKEN_APART[type(model).__name__](model)
    found = pieces.stem(pixels)
    yield "embed", _layout(found)
    for number, block in enumerate(pieces.blocks):
        found = block(found)
        yield str(number), _layout(found)
    yield "final", _layout(pieces.ending(found))


def _layout(feature_map: Tensor) -> TokenLayout:
    _, width, rows, columns = feature_map.shape
    return TokenLayout(has_cls=False, n_registers=0, grid=(rows, columns), width=width)
