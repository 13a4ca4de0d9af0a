"""Frozen models and controls, as sources of tokens with a known layout."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from binding.backbones._base import (
    Backbone,
    BackboneConfig,
    BackboneError,
    Batch,
    Description,
    Identity,
    Precision,
    Reader,
    TokenLayout,
    TokenNames,
    UnavailableError,
    whole,
)
from binding.backbones._library import KINDS, LIBRARIES, Library
from binding.backbones._paper import PAPER, PaperChoice, known_description
from binding.backbones._vision import Pixels, Tower, VisionTransformer

if TYPE_CHECKING:
    import torch

    from binding.scenes import Scene

CONTROLS = ("oracle_objects", "oracle_features", "noise", "erased", "pixels")
BACKBONE_CONTROLS = ("random_init", "shuffled")
"""Controls that every backbone of a study has: its architecture untrained, and its activations of other samples."""
CONTROL_MEANINGS = {
    "oracle_objects": "the object code itself: all can be read, β* = 1",
    "oracle_features": "the feature code itself: all features and no binding, B*_direct = 0",
    "noise": "random numbers: nothing can be read, B*_direct = 0",
    "erased": "the object code, or nothing, with equal probability: half of all bits can be read",
    "pixels": "the mean colour of every patch: what the raw image gives away",
    "random_init": "the same backbone with random weights, never trained: what its architecture gives away",
    "shuffled": "the backbone's last layer with its samples permuted: nothing can be read, B*_direct = 0",
}
"""What each control is, and what it must give."""
CONTROL_ALIASES = {"oracle": "oracle_objects"}
SHIPPED = (
    "shapes_vit_objects",
    "shapes_vit_features",
    "shapes_vit_class",
    "shapes_clip_objects",
    "shapes_coca",
)
P = ParamSpec("P")
R = TypeVar("R")
_LIBRARIES_LOCK = RLock()


def _one_thread_at_a_time(function: Callable[P, R]) -> Callable[P, R]:
    """Under the one lock of this process for libraries of models.

    transformers puts another module in its own place while it is imported: a second thread that imports it meanwhile
    keeps the first one, which has no models. And while they make a model, libraries change what belongs to the whole
    process: torch's default type, its initialisers, its random numbers.
    """

    @wraps(function)
    def alone(*args: P.args, **kwargs: P.kwargs) -> R:
        with _LIBRARIES_LOCK:
            return function(*args, **kwargs)

    return alone


@_one_thread_at_a_time
def describe(config: BackboneConfig, scene: Scene) -> Description:
    """Layers, token layout and size of a backbone on a data set, without weights.

    Raises:
        BackboneError: no such backbone, or one whose token layout cannot be read.
    """
    if library := LIBRARIES.get(config.library):
        return library.describe(config, scene)
    if config.library == "control":
        from binding.backbones._controls import control_class

        return control_class(config.name)(scene, config.seed).description
    if config.kind == "activations":
        from binding.backbones._activations import describe_activations

        return describe_activations(config)
    if config.library == "shipped":
        from binding.backbones._shipped import describe_shipped

        return describe_shipped(config)
    if config.library == "hf":
        from binding.backbones._transformers import describe_transformers

        return known_description(config) or describe_transformers(config)
    from binding.backbones._timm import describe_timm

    return describe_timm(config.architecture, config.image_size)


@_one_thread_at_a_time
def load(config: BackboneConfig, scene: Scene, device: torch.device) -> Backbone:
    """The backbone with its weights.

    Raises:
        BackboneError: no such backbone, or weights that cannot be had or do not fit.
    """
    if library := LIBRARIES.get(config.library):
        return library.load(config, scene, device)
    if config.library == "control":
        from binding.backbones._controls import control_class

        return control_class(config.name)(scene, config.seed)
    if config.kind == "activations":
        from binding.backbones._activations import Activations

        return Activations(config, scene)
    if config.library == "shipped":
        from binding.backbones._shipped import load_shipped

        return load_shipped(config, device)
    if config.library == "hf":
        from binding.backbones._transformers import load_transformers

        return load_transformers(config, device)
    from binding.backbones._timm import load_timm

    return load_timm(config, device)


@_one_thread_at_a_time
def identify(config: BackboneConfig, scene: Scene) -> Identity:
    """What a backbone's activations are known by, without making the model where its file says it.

    Raises:
        BackboneError: as `load`.
    """
    if config.kind == "shipped":
        from binding.backbones._shipped import identify_shipped

        return identify_shipped(config)
    import torch

    model = load(config, scene, torch.device("cpu"))
    return Identity(model.identity, model.weights_digest)


@_one_thread_at_a_time
def prefetch(config: BackboneConfig) -> list[Path]:
    """Download the newest version of every file that loading the backbone reads; none for those that need none.

    Raises:
        BackboneError: a file that cannot be had.
    """
    if library := LIBRARIES.get(config.library):
        return library.prefetch(config)
    if config.library == "hf":
        from binding.backbones._transformers import fetch_transformers

        return fetch_transformers(config, refresh=True)
    if config.kind == "timm" and config.weights is None:
        from binding.backbones._timm import fetch_timm

        return [fetch_timm(config, refresh=True)]
    return []


__all__ = [
    "BACKBONE_CONTROLS",
    "CONTROLS",
    "CONTROL_ALIASES",
    "CONTROL_MEANINGS",
    "KINDS",
    "LIBRARIES",
    "PAPER",
    "SHIPPED",
    "Backbone",
    "BackboneConfig",
    "BackboneError",
    "Batch",
    "Description",
    "Identity",
    "Library",
    "PaperChoice",
    "Pixels",
    "Precision",
    "Reader",
    "TokenLayout",
    "TokenNames",
    "Tower",
    "UnavailableError",
    "VisionTransformer",
    "describe",
    "identify",
    "load",
    "prefetch",
    "whole",
]
