"""Frozen models, as sources of tokens with a known layout."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from frozen.models._base import (
    Backbone,
    BackboneError,
    Batch,
    Description,
    Identity,
    Reader,
    TokenLayout,
    UnavailableError,
    whole,
)
from frozen.models._config import KINDS, LIBRARIES, BackboneConfig, Library, Precision, TokenNames
from frozen.models._paper import PAPER, PaperChoice, known_description
from frozen.models._part_names import part_names
from frozen.models._parts import BLOCK_PARTS, CHANGES, BlockPart, BlockParts, Change, Point, probe
from frozen.models._pooling import PoolingHead
from frozen.models._trunk import Ending, Head, Trunk
from frozen.models._vision import SHIPPED, Pixels, Tower, VisionTransformer

if TYPE_CHECKING:
    import torch

    from frozen.data.spec import AnyDataset

BACKBONE_CONTROLS = ("random_init", "shuffled")
"""Controls that every backbone of a study has: its architecture untrained, and its activations of other samples."""
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
def describe(config: BackboneConfig, scene: AnyDataset, *, head: bool = False) -> Description:
    """Layers, token layout and size of a backbone on a data set, without weights.

    Args:
        config: the backbone.
        scene: the data set.
        head: whether it is meant with its classifier; timm's models and shipped ones have one.

    Raises:
        BackboneError: no such backbone, or one whose token layout cannot be read.
    """
    if library := LIBRARIES.get(config.library):
        return library.describe(config, scene)
    if config.kind == "activations":
        from frozen.models._activations import describe_activations

        return describe_activations(config, scene)
    if config.library == "shipped":
        from frozen.models._shipped import describe_shipped

        return describe_shipped(config, head=head)
    if config.library == "hf":
        from frozen.models._transformers import describe_transformers

        return known_description(config) or describe_transformers(config)
    if config.library == "open_clip":
        from frozen.models._open_clip_models import describe_open_clip

        return describe_open_clip(config)
    from frozen.models._checkpoint import classes_in
    from frozen.models._timm import describe_timm

    path = config.weights_file if head else None
    n_classes = classes_in(path, config.name, config.weights_set) if path is not None and path.is_file() else None
    return describe_timm(config.architecture, config.image_size, head=head, n_classes=n_classes)


@_one_thread_at_a_time
def load(
    config: BackboneConfig, scene: AnyDataset, device: torch.device, *, head: bool = False, decoder: bool = False
) -> Backbone:
    """The backbone with its weights.

    Args:
        config: the backbone.
        scene: the data set.
        device: where it is to run.
        head: whether its classifier is loaded too; the trunk and its digest stay the same.
        decoder: whether its caption decoder is loaded too, alike; `Description.caption_context` says who has one.

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

        if decoder:
            from frozen.models.opening import shipped_decoder

            return load_shipped(config, device, head=head, decoder=shipped_decoder(config.architecture, device))
        return load_shipped(config, device, head=head)
    if config.library == "hf":
        from frozen.models._transformers import load_transformers

        return load_transformers(config, device)
    if config.library == "open_clip":
        from frozen.models._open_clip_models import load_open_clip

        return load_open_clip(config, device, decoder=decoder)
    from frozen.models._timm import load_timm

    return load_timm(config, device, head=head)


@_one_thread_at_a_time
def identify(config: BackboneConfig, scene: AnyDataset) -> Identity:
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
    if config.kind == "open_clip" and config.weights is None:
        from frozen.models._open_clip_models import fetch_open_clip

        return fetch_open_clip(config)
    if config.kind == "timm" and config.weights is None:
        from frozen.models._timm import fetch_timm

        return [fetch_timm(config, refresh=True)]
    return []


__all__ = [
    "BACKBONE_CONTROLS",
    "BLOCK_PARTS",
    "CHANGES",
    "KINDS",
    "LIBRARIES",
    "PAPER",
    "SHIPPED",
    "Backbone",
    "BackboneConfig",
    "BackboneError",
    "Batch",
    "BlockPart",
    "BlockParts",
    "Change",
    "Description",
    "Ending",
    "Head",
    "Identity",
    "Library",
    "PaperChoice",
    "Pixels",
    "Point",
    "PoolingHead",
    "Precision",
    "Reader",
    "TokenLayout",
    "TokenNames",
    "Tower",
    "Trunk",
    "UnavailableError",
    "VisionTransformer",
    "describe",
    "identify",
    "load",
    "part_names",
    "prefetch",
    "probe",
    "whole",
]
