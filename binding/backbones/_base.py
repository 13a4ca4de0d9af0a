"""What every backbone offers: tokens of every layer, with their layout known (paper, section 3.3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from binding._problems import Problem, at_least, refuse


class BackboneError(ValueError):
    """A backbone that cannot be had or used as asked; the message says what to do."""


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


class Description(NamedTuple):
    """What can be known of a backbone without its weights.

    Attributes:
        layers: names in order of depth: embed, 0, 1, ..., final (the last block after the model's final norm;
            equal to the last block in models whose final norm comes after average pooling).
        layout: of every layer's tokens.
        image_size: pixels a side of the input; 0 where images are not read.
        is_control: whether its answer is known beforehand.
        parameters: number of parameters.
    """

    layers: tuple[str, ...]
    layout: TokenLayout
    image_size: int
    is_control: bool = False
    parameters: int = 0

    def depth_fraction(self, layer: str) -> float:
        """0 at the first layer, 1 at the last; 1 where there is only one."""
        last = len(self.layers) - 1
        return self.layers.index(layer) / last if last else 1.0


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """Which backbone, with which weights and input size.

    Raises:
        ConfigurationError: a source of another form, or an image size below 1.
    """

    source: str
    """shipped:NAME, timm:NAME, random:NAME (an untrained timm model) or control:NAME."""
    image_size: int | None = None
    """Pixels a side the images are resized to; null takes the model's own."""
    weights: str | None = None
    """A .safetensors file, or a state dict readable without pickled code; null takes the source's own."""
    seed: int = 0
    """Seed of what is random: the weights of random:NAME, the noise of controls."""

    def __post_init__(self) -> None:
        refuse("backbone", self.problems())

    def problems(self) -> Iterator[Problem]:
        """Every broken rule."""
        kind, _, name = self.source.partition(":")
        if kind not in ("shipped", "timm", "random", "control") or not name:
            message = f"must be shipped:NAME, timm:NAME, random:NAME or control:NAME, got {self.source!r}"
            yield Problem("source", message)
        if self.image_size is not None:
            yield from at_least("image_size", self.image_size, 1)
        yield from at_least("seed", self.seed, 0)

    @property
    def kind(self) -> str:
        """What stands before the colon of the source."""
        return self.source.partition(":")[0]

    @property
    def name(self) -> str:
        """What stands after it."""
        return self.source.partition(":")[2]


class Batch(NamedTuple):
    """Samples as a backbone sees them; controls read the codes, models the images."""

    indices: np.ndarray
    images: UInt8[np.ndarray, "batch height width 3"]
    object_codes: UInt8[np.ndarray, "batch objects"]
    feature_codes: UInt8[np.ndarray, "batch features"]
    stream: int
    """A number that differs between splits, for controls that draw noise."""


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

    def forward(self, batch: Batch) -> dict[str, Float[Tensor, "batch token dim"]]:
        """Tokens of every layer, by its name."""
        ...
