"""Frozen models, as sources of tokens with a known layout."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from frozen.models._base import (
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
    whole,
)
from frozen.models._library import KINDS, LIBRARIES, Library
from frozen.models._paper import PAPER, PaperChoice, known_description
from frozen.models._vision import Pixels, Tower, VisionTransformer

if TYPE_CHECKING:
    import torch

    from frozen.data.scenes import Scene

BACKBONE_CONTROLS = ("random_init", "shuffled")
"""Controls that every backbone of a study has: its architecture untrained, and its activations of other samples."""
SHIPPED = ("shapes_vit_objects", "shapes_vit_features")
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
    if config.kind == "activations":
        from frozen.models._activations import describe_activations

        return describe_activations(config)
    if config.library == "shipped":
        from frozen.models._shipped import describe_shipped

        return describe_shipped(config)
    if config.library == "hf":
        from frozen.models._transformers import describe_transformers

        return known_description(config) or describe_transformers(config)
    from frozen.models._timm import describe_timm

    return describe_timm(config.architecture, config.image_size)


@_one_thread_at_a_time
def load(config: BackboneConfig, scene: Scene, device: torch.device) -> Backbone:
    """The backbone with its weights.

    Raises:
        BackboneError: no such backbone, or weights that cannot be had or do not fit.
    """
    if library := LIBRARIES.get(config.library):
        return library.load(config, scene, device)
    if config.kind == "activations":
        from frozen.models._activations import Activations

        return Activations(config, scene)
    if config.library == "shipped":
        from frozen.models._shipped import load_shipped

        return load_shipped(config, device)
    if config.library == "hf":
        from frozen.models._transformers import load_transformers

        return load_transformers(config, device)
    from frozen.models._timm import load_timm

    return load_timm(config, device)


@_one_thread_at_a_time
def identify(config: BackboneConfig, scene: Scene) -> Identity:
    """What a backbone's activations are known by, without making the model where its file says it.

    Raises:
        BackboneError: as `load`.
    """
    if config.kind == "shipped":
        from frozen.models._shipped import identify_shipped

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
        from frozen.models._transformers import fetch_transformers

        return fetch_transformers(config, refresh=True)
    if config.kind == "timm" and config.weights is None:
        from frozen.models._timm import fetch_timm

        return [fetch_timm(config, refresh=True)]
    return []


__all__ = [
    "BACKBONE_CONTROLS",
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
    "VisionTransformer",
    "describe",
    "identify",
    "load",
    "prefetch",
    "whole",
]
