"""Where backbones come from: the word before the colon of KIND:NAME."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from frozen.registry import Registry

if TYPE_CHECKING:
    import torch

    from frozen.data.scenes import Scene
    from frozen.models._base import Backbone, BackboneConfig, Description

KINDS = ("shipped", "timm", "hf", "random", "activations")
_MEMBERS = ("names", "describe", "load", "prefetch")


@runtime_checkable
class Library(Protocol):
    """Backbones of another package, KIND:NAME where KIND is the name of its entry point: a module or an object."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names to list; there may be more."""
        ...

    def describe(self, config: BackboneConfig, scene: Scene) -> Description:
        """Layers, token layout and size, without weights or network.

        Raises:
            BackboneError: no such backbone, or a setting of `config` that it does not follow.
        """
        ...

    def load(self, config: BackboneConfig, scene: Scene, device: torch.device) -> Backbone:
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
