"""What every backbone offers: tokens of every layer, with their layout known (paper, section 3.3)."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, get_args, runtime_checkable

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from binding._problems import Problem, at_least, refuse
from binding.backbones._library import KINDS, LIBRARIES

ACTIVATION_FILES = (".npz", ".safetensors", ".arrow", ".feather")
Precision = Literal["float32", "bfloat16", "float16"]
_FORMS = (
    "shipped:NAME, timm:NAME, hf:REPO, random:NAME, random:hf:REPO, random:shipped:NAME, activations:FILE "
    "or control:NAME"
)
_UNTRAINED = {"timm": "random:", "hf": "random:hf:", "shipped": "random:shipped:"}


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


class Description(NamedTuple):
    """What can be known of a backbone without its weights.

    Attributes:
        layers: names in order of depth: embed (what the first block sees), 0, 1, ... (what leaves a block), final
            (the last block after the model's final norm, token by token; equal to the last block in models
            whose final norm comes after average pooling).
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

    def layer_number(self, layer: str) -> int:
        """The block's number; -1 for embed, one more than the last block's for what comes after them."""
        if layer.isdigit():
            return int(layer)
        return -1 if layer == "embed" else max((int(name) for name in self.layers if name.isdigit()), default=-1) + 1

    @property
    def forward_flops(self) -> float:
        """Floating-point operations of one image's forward pass: products with weights, and attention."""
        blocks = sum(layer.isdigit() for layer in self.layers)
        tokens, width = self.layout.n_tokens, self.layout.width
        return 2.0 * self.parameters * tokens + 4.0 * blocks * tokens**2 * width


@dataclass(frozen=True, kw_only=True)
class TokenNames:
    """Which tokens the rows of activations:FILE hold, in their order: CLS, registers, spatial tokens.

    Raises:
        ConfigurationError: a number below 0.
    """

    has_cls: bool = True
    """Whether the first token is a CLS token; rows [sample, dim] are that token."""
    n_registers: int = 0
    """Registers, and other tokens between CLS and the spatial ones; never read."""
    grid: tuple[int, int] = (0, 0)
    """Rows and columns of spatial tokens."""
    first_rows: bool = False
    """Whether files may have more rows than the data set has samples: the rest is not read. Set by --limit."""

    def __post_init__(self) -> None:
        refuse("tokens", self.problems())

    def problems(self) -> Iterator[Problem]:
        """Every broken rule."""
        yield from at_least("n_registers", self.n_registers, 0)
        yield from at_least("grid", min(self.grid), 0)


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """Which backbone, with which weights and input size.

    Raises:
        ConfigurationError: a source of another form, or an image size below 1.
    """

    source: str
    """shipped:NAME, timm:NAME, hf:REPO (or hf:REPO@REVISION, hf:./FOLDER); random:NAME, random:hf:REPO: untrained;
    activations:FILE, {split} in its name: .npz, .safetensors, .arrow or .feather."""
    image_size: int | None = None
    """Pixels a side the images are resized to; null takes the model's own."""
    weights: str | None = None
    """A .safetensors file or a state dict without pickled code, PATH or file:PATH; PATH#SET where a checkpoint holds
    several sets of weights, such as model and model_ema. null takes the source's own."""
    seed: int = 0
    """Seed of what is random: the weights of random:NAME, the noise of controls."""
    precision: Precision = "float32"
    """Of the forward pass's matrix products; tokens stay float32 between blocks. Storage has a type of its own."""
    compile: bool = False
    """Whether torch.compile fuses each block; it needs a C++ compiler."""
    tokens: TokenNames = TokenNames()
    """Of activations:FILE alone: which tokens its rows hold."""

    def __post_init__(self) -> None:
        refuse("backbone", self.problems())

    def problems(self) -> Iterator[Problem]:
        """Every broken rule."""
        kind, _, name = self.source.partition(":")
        is_known = kind in KINDS or kind in LIBRARIES
        if not is_known or not name.removeprefix("hf:" if kind == "random" else ""):
            others = "".join(f", {other}:NAME" for other in LIBRARIES)
            yield Problem("source", LIBRARIES.fault(kind) or f"must be {_FORMS}{others}, got {self.source!r}")
        if self.image_size is not None:
            yield from at_least("image_size", self.image_size, 1)
        yield from at_least("seed", self.seed, 0)
        if self.precision not in get_args(Precision):
            yield Problem("precision", f"must be {', '.join(get_args(Precision))}, got {self.precision!r}")
        if kind == "random" and self.weights is not None:
            yield Problem("weights", f"{self.source} is untrained; to read a file write {_trained(name)}")
        if kind == "control" and (self.precision != "float32" or self.compile):
            yield Problem("source", "controls have no forward pass: no precision, nothing to compile")
        if kind == "activations":
            yield from self._file_problems()
        elif self.tokens != TokenNames():
            yield Problem("tokens", f"is for activations:FILE; {self.source} knows its own")

    def _file_problems(self) -> Iterator[Problem]:
        if "{split}" not in self.name or not self.name.endswith(ACTIVATION_FILES):
            yield Problem(
                "source",
                f"must name a file for each split, such as activations:vit_{{split}}.npz, ending in "
                f"{', '.join(ACTIVATION_FILES)}, got {self.source!r}",
            )
        for name, plain in {"image_size": None, "weights": None, "precision": "float32", "compile": False}.items():
            if getattr(self, name) != plain:
                yield Problem(name, "activations are read from files: no model runs")

    @property
    def kind(self) -> str:
        """What stands before the colon of the source."""
        return self.source.partition(":")[0]

    @property
    def name(self) -> str:
        """What stands after it."""
        return self.source.partition(":")[2]

    @property
    def library(self) -> str:
        """Where the architecture comes from: timm, hf, shipped, activations, control, or another package."""
        if self.kind == "random":
            library, colon, _ = self.name.partition(":")
            return library if colon and library in ("hf", "shipped") else "timm"
        return self.kind

    @property
    def depends_on_scene(self) -> bool:
        """Whether what is loaded may differ between data sets, as that of controls and files of activations."""
        return self.library not in _UNTRAINED

    @property
    def architecture(self) -> str:
        """The library's name of the architecture."""
        return self.name.removeprefix(f"{self.library}:") if self.kind == "random" else self.name

    def untrained(self, seed: int) -> BackboneConfig | None:
        """The same architecture with random weights; None for what has no training to lack.

        The weights' seed follows from this seed and the source, so that two backbones of one architecture
        have two draws, and not the same control twice.
        """
        if self.kind not in _UNTRAINED:
            return None
        own_seed = zlib.crc32(f"{seed} {self.source}".encode())
        return replace(self, source=_UNTRAINED[self.kind] + self.name, weights=None, seed=own_seed)

    @property
    def weights_file(self) -> Path | None:
        """The local file of the weights, if one is named."""
        return None if self.weights is None else Path(self._weights_parts[0]).expanduser()

    @property
    def weights_set(self) -> str:
        """Which set of weights of a checkpoint; empty where it has only one."""
        return self._weights_parts[1]

    @property
    def _weights_parts(self) -> tuple[str, str]:
        text = (self.weights or "").removeprefix("file:")
        path, _, chosen = text.rpartition("#")
        return (text, "") if not path or Path(text).expanduser().exists() else (path, chosen)

    @property
    def forward_identity(self) -> str:
        """How the forward pass computes, where it is not the plain way; a part of a backbone's identity."""
        return f" {self.precision}" * (self.precision != "float32") + " compiled" * self.compile


def _trained(name: str) -> str:
    return name if name.startswith(("hf:", "shipped:")) else f"timm:{name}"


class Batch(NamedTuple):
    """Samples as a backbone sees them; controls read the codes, models the images."""

    indices: np.ndarray
    images: UInt8[np.ndarray, "batch height width 3"]
    object_codes: UInt8[np.ndarray, "batch objects"]
    feature_codes: UInt8[np.ndarray, "batch features"]
    stream: int
    """A number that differs between splits, for controls that draw noise."""


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

    def forward(self, batch: Batch, read: Reader = whole) -> dict[str, Any]:
        """What `read` makes of the tokens of each layer, by its name, in order of depth.

        Layers of which it makes None are left out: nothing of them stays in memory.
        """
        ...
