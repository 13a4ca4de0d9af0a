"""Which backbone a study names, and where backbones come from: the word before the colon of KIND:NAME."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, get_args, runtime_checkable

from frozen.models._base import Backbone, Description
from frozen.paths import changed, written
from frozen.problems import Problem, at_least, at_most_largest_image, refuse
from frozen.registry import Registry

if TYPE_CHECKING:
    import torch

    from frozen.data.spec import AnyDataset

ACTIVATION_FILES = (".npz", ".safetensors", ".arrow", ".feather")
Precision = Literal["float32", "bfloat16", "float16"]
_FORMS = (
    "shipped:NAME, timm:NAME, hf:REPO, open_clip:NAME/TAG, random:NAME, random:hf:REPO, random:open_clip:NAME, "
    "random:shipped:NAME, activations:FILE or control:NAME"
)
_UNTRAINED = {
    "timm": "random:",
    "hf": "random:hf:",
    "shipped": "random:shipped:",
    "open_clip": "random:open_clip:",
}
KINDS = ("shipped", "timm", "hf", "open_clip", "random", "activations")
_MEMBERS = ("names", "describe", "load", "prefetch")


@runtime_checkable
class Library(Protocol):
    """Backbones of another package, KIND:NAME where KIND is the name of its entry point: a module or an object."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names to list; there may be more."""
        ...

    def describe(self, config: BackboneConfig, scene: AnyDataset) -> Description:
        """Layers, token layout and size, without weights or network.

        Raises:
            BackboneError: no such backbone, or a setting of `config` that it does not follow.
        """
        ...

    def load(self, config: BackboneConfig, scene: AnyDataset, device: torch.device) -> Backbone:
        """The backbone with its weights.

        Raises:
            BackboneError: weights that cannot be had or do not fit.
        """
        ...

    def prefetch(self, config: BackboneConfig) -> list[Path]:
        """Download what `load` reads; none for backbones that need no download.

        Raises:
            BackboneError: a file that cannot be had.
        """
        ...


def _problem(name: str, part: object) -> str | None:
    del name
    missing = [member for member in _MEMBERS if not hasattr(part, member)]
    if missing:
        return f"must be a module or an object with {', '.join(_MEMBERS)}; it has no {', '.join(missing)}"
    return "must be a module or an object, not a class" if isinstance(part, type) else None


LIBRARIES: Registry[Library] = Registry("frozen.models", {}, _problem, taken=(*KINDS, "paper"))
"""Backbones of other packages, by their word before the colon."""


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
    """shipped:NAME, timm:NAME, hf:REPO (or hf:REPO@REVISION, hf:./FOLDER), open_clip:NAME/TAG (or
    open_clip:./FOLDER); random:NAME, random:hf:REPO, random:open_clip:NAME: untrained; activations:FILE, {split} in
    its name: .npz, .safetensors, .arrow or .feather."""
    image_size: int | None = None
    """Pixels a side the images are resized to; null takes the model's own."""
    weights: str | None = None
    """A .safetensors file or a state dict without pickled code, PATH or file:PATH; PATH#SET where a checkpoint holds
    several sets of weights, such as model and model_ema. null takes the source's own."""
    seed: int = 0
    """Seed of what is random: the weights of random:NAME, the noise of controls."""
    precision: Precision = "float32"
    """Of the forward pass's matrix products; tokens stay float32 between blocks. Storage has a type of its own. In a
    study also auto: bfloat16 where this machine multiplies in it at least 1.3 times as fast, measured and said."""
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
            others = "".join(f", {other}:NAME" for other in LIBRARIES if f" {other}:NAME" not in _FORMS)
            yield Problem("source", LIBRARIES.fault(kind) or f"must be {_FORMS}{others}, got {self.source!r}")
        if self.image_size is not None:
            yield from at_least("image_size", self.image_size, 1)
            yield from at_most_largest_image(self.image_size)
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
            return library if colon and library in _UNTRAINED else "timm"
        return self.kind

    @property
    def depends_on_scene(self) -> bool:
        """Whether what is loaded may differ between data sets, as that of controls and files of activations."""
        return self.library not in _UNTRAINED

    @property
    def architecture(self) -> str:
        """The library's name of the architecture; of open_clip's, the tag of the weights included."""
        return self.name.removeprefix(f"{self.library}:") if self.kind == "random" else self.name

    def untrained(self, seed: int) -> BackboneConfig | None:
        """The same architecture with random weights; None for what has no training to lack.

        The weights' seed follows from this seed and the source, so that two backbones of one architecture
        have two draws, and not the same control twice.
        """
        if self.kind not in _UNTRAINED:
            return None
        own_seed = zlib.crc32(f"{seed} {written(self.source)}".encode())
        source = changed(self.source, lambda text: _UNTRAINED[self.kind] + text.partition(":")[2])
        return replace(self, source=source, weights=None, seed=own_seed)

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
    return name if name.startswith(("hf:", "shipped:", "open_clip:")) else f"timm:{name}"
