"""Frozen models and controls, as sources of tokens with a known layout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from binding.backbones._base import Backbone, BackboneConfig, BackboneError, Batch, Description, TokenLayout

if TYPE_CHECKING:
    import torch

    from binding.scenes import Scene

CONTROLS = ("oracle_objects", "oracle_features", "noise", "erased", "pixels")
SHIPPED = ("shapes_vit_objects", "shapes_vit_features")


def describe(config: BackboneConfig, scene: Scene) -> Description:
    """Layers, token layout and size of a backbone on a data set, without weights.

    Raises:
        BackboneError: no such backbone, or one whose token layout cannot be read.
    """
    if config.kind == "control":
        from binding.backbones._controls import control_class

        return control_class(config.name)(scene, config.seed).description
    if config.kind == "shipped":
        from binding.backbones._shipped import describe_shipped

        return describe_shipped(config)
    from binding.backbones._timm import describe_timm

    return describe_timm(config.name, config.image_size)


def load(config: BackboneConfig, scene: Scene, device: torch.device) -> Backbone:
    """The backbone with its weights.

    Raises:
        BackboneError: no such backbone, or weights that cannot be had or do not fit.
    """
    if config.kind == "control":
        from binding.backbones._controls import control_class

        return control_class(config.name)(scene, config.seed)
    if config.kind == "shipped":
        from binding.backbones._shipped import load_shipped

        return load_shipped(config, device)
    from binding.backbones._timm import load_timm

    return load_timm(config, device)


__all__ = [
    "CONTROLS",
    "SHIPPED",
    "Backbone",
    "BackboneConfig",
    "BackboneError",
    "Batch",
    "Description",
    "TokenLayout",
    "describe",
    "load",
]
