"""What every backbone offers: tokens of every layer, with their layout known (paper, section 3.3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from frozen.models._trunk import Head, Trunk
from frozen.models.decoding import LayerDecoder


class BackboneError(ValueError):
    """A backbone that cannot be had or used as asked; the message says what to do."""


class UnavailableError(BackboneError):
    """A backbone that this machine does not have and cannot get now; elsewhere, or later, it can be used."""


class TokenLayout(NamedTuple):
    """Where in a layer's tokens things are.

    Attributes:
        has_cls: whether token 0 is a CLS token.
        n_registers: register tokens between CLS and the spatial tokens; never read.
        grid: rows and columns of spatial tokens, which come last; (0, 0) if there are none.
        width: width D of a token.
    """

    has_cls: bool
    n_registers: int
    grid: tuple[int, int]
    width: int

    @property
    def n_prefix(self) -> int:
        """Tokens before the spatial ones."""
        return int(self.has_cls) + self.n_registers

    @property
    def n_spatial(self) -> int:
        """Spatial tokens."""
        return self.grid[0] * self.grid[1]

    @property
    def n_tokens(self) -> int:
        """All tokens of a layer."""
        return self.n_prefix + self.n_spatial


class Identity(NamedTuple):
    """What a backbone's activations are known by."""

    name: str
    """Source, image size, and how the forward pass computes where that is not the plain way."""
    weights_digest: str
    """sha256 of all weights, by name; empty where there are none."""


NO_SUM = "what comes after its blocks is not known to be a layer norm and pooled tokens, or an attention that pools"
"""Why the embedding of a model is no sum of what its blocks write."""


class Description(NamedTuple):
    """What can be known of a backbone without its weights.

    Attributes:
        layers: names in order of depth: embed (what the first block sees), 0, 1, ... (what leaves a block), final
            (the last block after the model's final norm, token by token; equal to the last block in models
            whose final norm comes after average pooling).
        layout: of every layer's tokens; where layers differ, of the last one's.
        image_size: pixels a side of the input; 0 where images are not read.
        is_control: whether its answer is known beforehand.
        parameters: number of parameters.
        parts: shapes of one token at every part of a block, or the reason why it cannot be read; the same for the
            ways in which a forward pass can be changed, with the shape (). Empty where blocks are closed.
        embedding_width: of the image's embedding, pooled after the final norm; 0 where there is none.
        n_classes: of the classifier; 0 without one.
        notes: what users should know of how it reads images.
        caption_context: ids that a caption of its decoder has at most, start and end among them; 0 without a decoder.
        pooling_heads: number of heads, and dim of one, in the attention that pools the tokens after the final norm;
            empty where something else pools them.
        no_sum: why the embedding is no sum of what blocks, or the heads that pool, write; empty if that is not known.
        layouts: by layer, where the layers of a convolutional network differ in grid and width.
        flops: of a forward pass, where they were counted.
    """

    layers: tuple[str, ...]
    layout: TokenLayout
    image_size: int
    is_control: bool = False
    parameters: int = 0
    parts: tuple[tuple[str, tuple[int, ...] | str], ...] = ()
    embedding_width: int = 0
    n_classes: int = 0
    notes: tuple[str, ...] = ()
    caption_context: int = 0
    layouts: tuple[tuple[str, TokenLayout], ...] = ()
    flops: float = 0.0
    pooling_heads: tuple[int, ...] = ()
    no_sum: str = ""

    def layout_of(self, layer: str) -> TokenLayout:
        """Where things are in the tokens of a layer, or of a part of it."""
        return dict(self.layouts).get(layer.partition(".")[0], self.layout)

    @property
    def most_tokens(self) -> int:
        """Tokens of the layer that has most."""
        return max((layout.n_tokens for _, layout in self.layouts), default=self.layout.n_tokens)

    def part(self, name: str) -> tuple[int, ...] | str:
        """Shape of one token at a part of a block, or the reason why it cannot be read."""
        return dict(self.parts).get(name, "it shows the tokens of its layers only, not what is in them")

    def depth_fraction(self, layer: str) -> float:
        """0 at the first layer, 1 at the last; 1 where there is only one; of a part of a layer, that of the layer."""
        layer = layer.partition(".")[0]
        last = len(self.layers) - 1
        return self.layers.index(layer) / last if last else 1.0

    def layer_number(self, layer: str) -> int:
        """The block's number; -1 for embed, one more than the last block's for what comes after them.

        Of a part of a block, such as 11.attention, the block's.
        """
        layer = layer.partition(".")[0]
        if layer.isdigit():
            return int(layer)
        return -1 if layer == "embed" else max((int(name) for name in self.layers if name.isdigit()), default=-1) + 1

    @property
    def forward_flops(self) -> float:
        """Floating-point operations of one image's forward pass: products with weights, and attention."""
        if self.flops:
            return self.flops
        blocks = sum(layer.isdigit() for layer in self.layers)
        tokens, width = self.layout.n_tokens, self.layout.width
        return 2.0 * self.parameters * tokens + 4.0 * blocks * tokens**2 * width


def dropped_pixels(image_size: int, patch: int) -> tuple[str, ...]:
    """What to say of an image that is no whole number of patches wide."""
    if not (rest := image_size % patch):
        return ()
    return (f"of {image_size} px, the last {rest} at the right and at the bottom are in no patch of {patch} px",)


def nearest_sizes(image_size: int, patch: int) -> str:
    """Image sizes that are a whole number of patches."""
    below = image_size // patch * patch
    return f"{below} or {below + patch}" if below else str(patch)


class Batch(NamedTuple):
    """Samples as a backbone sees them; controls read the codes, models the images."""

    indices: np.ndarray
    images: UInt8[np.ndarray, "batch height width 3"]
    object_codes: UInt8[np.ndarray, "batch objects"]
    feature_codes: UInt8[np.ndarray, "batch features"]
    stream: int
    """A number that differs between splits, for controls that draw noise."""
    labels: Mapping[str, np.ndarray] = {}
    """What else is known of the samples, samples first, by name: classes, masks, orders of tokens."""


Reader = Callable[[str, Tensor], Any]
"""Makes something of a layer's name and tokens, float32 [batch token dim], as soon as they are there."""


def whole(layer: str, tokens: Tensor) -> Tensor:
    """Reads the tokens themselves."""
    del layer
    return tokens


@runtime_checkable
class Backbone(Protocol):
    """A frozen model. Equal identities and digests give equal tokens."""

    @property
    def identity(self) -> str:
        """Everything but the weights that the tokens depend on, readable."""
        ...

    @property
    def weights_digest(self) -> str:
        """sha256 of the weights' values; empty where there are none."""
        ...

    @property
    def description(self) -> Description: ...

    @property
    def reads_images(self) -> bool: ...

    @property
    def trunk(self) -> Trunk | None:
        """Its blocks, to be read and changed while they run; None where there are only tokens of layers."""
        ...

    @property
    def head(self) -> Head | None:
        """Its classifier, if it has one and was loaded with it."""
        ...

    @property
    def decoder(self) -> LayerDecoder | None:
        """Its caption decoder, if it has one and was loaded with it."""
        ...

    def forward(self, batch: Batch, read: Reader = whole) -> dict[str, Any]:
        """What `read` makes of the tokens of each layer, by its name, in order of depth.

        Layers of which it makes None are left out: nothing of them stays in memory.
        """
        ...
