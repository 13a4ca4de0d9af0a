"""A frozen stack of transformer blocks over tokens, whichever library it comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn.functional import interpolate

from frozen.models._base import NO_SUM, BackboneError, Batch, Description, Reader, TokenLayout, whole
from frozen.models._config import BackboneConfig
from frozen.models._parts import BlockParts, common_shapes
from frozen.models._pooling import PoolingHead
from frozen.models._trunk import Ending, Head, Trunk, digest
from frozen.models.decoding import LayerDecoder

SHIPPED = (
    "shapes_vit_objects",
    "shapes_vit_features",
    "shapes_vit_class",
    "shapes_clip_objects",
    "shapes_clip_features",
    "shapes_coca",
)
ADVICE = "or use a backbone that ships with the project: " + ", ".join(f"shipped:{name}" for name in SHIPPED[:2])


class Pixels(NamedTuple):
    """What a model wants its pixels in 0..1 normalised with, one number a channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    identity: str = ""
    """What of it is part of the backbone's identity: nothing, unless pixels are scaled otherwise."""


class Tower(NamedTuple):
    """A model as what it is made of.

    Attributes:
        model: holds all weights.
        blocks: its transformer blocks; what enters the first and leaves each is a layer.
        run: pixels [batch 3 size size] to the tokens after the final norm.
        layout: of the tokens, as the model's settings say.
        parts: where in each block its parts can be read; empty where that is not known.
        pool: tokens after the final norm to the image's embedding [batch width], if the model has one.
        embedding_width: of that embedding; 0 where there is none.
        head: the classifier, if the model was loaded with it.
        notes: what users should know of how it reads images.
        ending: what comes after the blocks, where it is a layer norm and pooling, or an attention that pools.
        decoder: the caption decoder, if the model was loaded with it.
        caption_context: ids that its captions have at most; 0 without a decoder, whether or not it was loaded.
        layouts: of every layer's tokens, where they differ; `layout` is that of the last.
        flops: operations of a forward pass, where they were counted.
    """

    model: nn.Module
    blocks: Sequence[nn.Module]
    run: Callable[[Tensor], Tensor]
    layout: TokenLayout
    parts: Sequence[BlockParts] = ()
    pool: Callable[[Tensor], Tensor] | None = None
    embedding_width: int = 0
    head: Head | None = None
    notes: tuple[str, ...] = ()
    ending: Ending | PoolingHead | None = None
    decoder: LayerDecoder | None = None
    caption_context: int = 0
    layouts: tuple[tuple[str, TokenLayout], ...] = ()
    flops: float = 0.0

    def describe(self, image_size: int) -> Description:
        """Layers, layout and number of parameters."""
        layers = ("embed", *(str(i) for i in range(len(self.blocks))), "final")
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        return Description(
            layers,
            self.layout,
            image_size,
            parameters=parameters,
            parts=common_shapes(self.parts),
            embedding_width=self.embedding_width,
            n_classes=self.head.n_classes if self.head else 0,
            caption_context=self.caption_context,
            pooling_heads=self.ending.shape if isinstance(self.ending, PoolingHead) else (),
            no_sum=NO_SUM if self.embedding_width and self.ending is None else "",
            notes=self.notes,
            layouts=self.layouts,
            flops=self.flops,
        )

    def trunk_weights(self) -> dict[str, Tensor]:
        """All weights but the classifier's: the same whether the model was loaded with it or without."""
        own = self.head.names if self.head else ()
        return {name: value for name, value in self.model.state_dict().items() if not name.startswith(own)}

    def forward(self, pixels: Tensor, name: str, read: Reader = whole) -> dict[str, Any]:
        """What `read` makes of every layer; the tokens are held against the layout first.

        Raises:
            BackboneError: tokens that are not what the layout says.
        """
        found: dict[str, Any] = {}
        layouts = dict(self.layouts)

        def keep(layer: str, tokens: Tensor) -> None:
            layout = layouts.get(layer, self.layout)
            expected = (len(pixels), layout.n_tokens, layout.width)
            if tuple(tokens.shape) != expected:
                raise BackboneError(
                    f"{name}: layer {layer} has tokens {tuple(tokens.shape)}, not {expected} as its layout says, "
                    f"so they cannot be told apart; choose another ViT, {ADVICE}"
                )
            value = read(layer, tokens.float())
            if value is not None:
                found[layer] = value

        with _recording(self.blocks, keep):
            keep("final", self.run(pixels))
        return found


@contextmanager
def _recording(blocks: Sequence[nn.Module], keep: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Hand on the input of the first block and the output of every block."""

    def after(layer: str) -> Callable[..., None]:
        return lambda _module, _inputs, output: keep(layer, output)

    handles = [blocks[0].register_forward_pre_hook(lambda _module, inputs: keep("embed", inputs[0]))]
    handles += [block.register_forward_hook(after(str(i))) for i, block in enumerate(blocks)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class VisionTransformer:
    """A frozen ViT in evaluation mode; its images are resized without cropping (bilinear, no antialias).

    Args:
        tower: the model.
        config: source, precision and compilation.
        pixels: normalisation of its input.
        image_size: pixels a side of its input.
        device: where to run.
        name: what it is called where its activations are kept; by default its source.
    """

    reads_images = True

    def __init__(
        self,
        tower: Tower,
        config: BackboneConfig,
        pixels: Pixels,
        image_size: int,
        device: torch.device,
        name: str | None = None,
    ) -> None:
        self.identity = identity_of(config, image_size, name) + pixels.identity
        self.description = tower.describe(image_size)
        tower.model.eval().requires_grad_(requires_grad=False).to(device)
        self._tower = tower
        self._digest = ""
        self._device = device
        self._precision = getattr(torch, config.precision)
        self.head, self.decoder = tower.head, tower.decoder
        self.trunk = Trunk(tower.blocks, tower.parts, self._run, tower.pool, config.compile, device, tower.ending)
        channels = (pixels.mean, pixels.std)
        self._mean, self._std = (255 * torch.tensor(value, device=device).view(3, 1, 1) for value in channels)
        if config.compile:
            for block in tower.blocks:  # one graph serves all blocks, and the hooks stay outside it
                block.forward = torch.compile(block.forward)

    @property
    def weights_digest(self) -> str:
        """sha256 of all weights but the classifier's, by name; computed when first asked for."""
        self._digest = self._digest or digest(self._tower.trunk_weights())
        return self._digest

    @torch.inference_mode()
    def forward(self, batch: Batch, read: Reader = whole) -> dict[str, Any]:
        """What `read` makes of every layer's tokens; by default the tokens, float32 [batch token dim]."""
        with self._autocast():
            return self._tower.forward(self._pixels(batch.images), self.identity, read)

    def _run(self, images: UInt8[np.ndarray, "batch height width 3"]) -> Tensor:
        with self._autocast():
            return self._tower.run(self._pixels(images))

    def _autocast(self) -> Any:
        """Matrix products in the precision asked for; the residual stream stays float32."""
        if self._precision == torch.float32:
            return nullcontext()
        return torch.autocast(self._device.type, self._precision)

    def _pixels(self, images: UInt8[Any, "batch height width 3"]) -> Float[Tensor, "batch 3 size size"]:
        size = self.description.image_size
        values = torch.from_numpy(images)
        if self._device.type == "cuda":
            values = values.pin_memory()  # else the copy would wait for the device
        pixels = values.to(self._device, non_blocking=True).permute(0, 3, 1, 2)
        pixels = pixels.to(torch.float32, memory_format=torch.contiguous_format)
        if pixels.shape[-2:] != (size, size):
            pixels = interpolate(pixels, size=(size, size), mode="bilinear", align_corners=False)
        return pixels.sub_(self._mean).div_(self._std)


def identity_of(config: BackboneConfig, image_size: int, name: str | None = None) -> str:
    """What a model is called where its activations are kept, the weights apart."""
    return f"{name or config.source} {image_size}px{config.forward_identity}"


def check_image_size(grid: tuple[int, int], image_size: int) -> None:
    """Refuse images smaller than a patch."""
    if not all(grid):
        raise BackboneError(f"image_size {image_size} is smaller than a patch; choose a larger one")
