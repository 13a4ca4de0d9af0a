"""The trunks of the models that ship with the project, described by the headers of their files."""

from __future__ import annotations

import json
import math
import struct
from functools import cache, partial
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import nn

from frozen.models._base import NO_SUM, BackboneError, Description, Identity, TokenLayout
from frozen.models._config import BackboneConfig
from frozen.models._parts import plain_shapes
from frozen.models._timm import tower_of
from frozen.models._torchvision_ops import declare_missing_operators
from frozen.models._vision import SHIPPED, Pixels, VisionTransformer, digest, identity_of
from frozen.models.decoding import LayerDecoder

_PARTS = ("head", "text", "pooler", "decoder", "joint")
"""Prefixes of the tensors that are not the trunk's."""


def is_of_trunk(name: str, *, also: tuple[str, ...] = ()) -> bool:
    """Whether a tensor of a file belongs to the trunk, or to a part that is wanted beside it."""
    part = name.partition(".")[0]
    return part in also or part not in _PARTS


def vision_model(architecture: dict[str, Any]) -> Any:
    """A timm ViT without a classifier; `norm_eps` among the settings is that of its norms."""
    declare_missing_operators()
    from timm.models.vision_transformer import VisionTransformer as Model

    options = dict(architecture)
    eps = options.pop("norm_eps", None)
    if eps is not None:
        options["norm_layer"] = partial(nn.LayerNorm, eps=eps)
    return Model(**options, num_classes=0)


def shipped_path(name: str) -> Path:
    """The file of a shipped model.

    Raises:
        BackboneError: no such model.
    """
    if name not in SHIPPED:
        raise BackboneError(f"no backbone {name!r} ships with the project; there are {', '.join(SHIPPED)}")
    return Path(str(resources.files("frozen.models") / "weights" / f"{name}.safetensors"))


@cache
def _safetensors_header(name: str) -> dict[str, Any]:
    with shipped_path(name).open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        return json.loads(file.read(length))


def shipped_header(name: str) -> dict[str, str]:
    """Metadata of a shipped file: architecture, mean, std, and how it was trained."""
    return _safetensors_header(name)["__metadata__"]


def describe_shipped(config: BackboneConfig, *, head: bool = False) -> Description:
    """A shipped model's description, from its file's header; with `head`, of the model with its classifier.

    Raises:
        BackboneError: no such model, one asked to read other weights or another image size, or one without a
            classifier that is wanted with it.
    """
    header = shipped_header(config.architecture)
    n_classes = _n_classes(config, header) if head else 0
    architecture = json.loads(header["architecture"])
    size = architecture["img_size"]
    if config.image_size not in (None, size) or config.weights is not None:
        raise BackboneError(f"{config.source} has its own weights and reads {size} px only")
    side = size // architecture["patch_size"]
    layers = ("embed", *(str(i) for i in range(architecture["depth"])), "final")
    layout = TokenLayout(has_cls=True, n_registers=0, grid=(side, side), width=architecture["embed_dim"])
    entries = _safetensors_header(config.architecture).items()
    kept = ("head",) if head else ()
    tensors = (entry for key, entry in entries if key != "__metadata__" and is_of_trunk(key, also=kept))
    width, n_heads = architecture["embed_dim"], architecture["num_heads"]
    return Description(
        layers,
        layout,
        size,
        parameters=sum(math.prod(entry["shape"]) for entry in tensors),
        parts=plain_shapes(width, n_heads, int(width * architecture["mlp_ratio"])),
        embedding_width=width,
        n_classes=n_classes,
        caption_context=_caption_context(header),
        no_sum="" if architecture.get("final_norm", True) else NO_SUM,
    )


def _n_classes(config: BackboneConfig, header: dict[str, str]) -> int:
    """Classes of a model's classifier.

    Raises:
        BackboneError: it has none.
    """
    if json.loads(header.get("kind", '""')) != "class":
        raise BackboneError(f"{config.source} has no classifier; shipped:shapes_vit_class, for one, has")
    return len(json.loads(header["classes"]))


def _caption_context(header: dict[str, str]) -> int:
    """Ids that a caption has at most; 0 for files without a decoder."""
    return json.loads(header["text"])["context"] if "decoder" in header else 0


def identify_shipped(config: BackboneConfig) -> Identity:
    """Name and digest of a shipped model, from its file; the model holds the file's half precision as float32."""
    weights = {name: value.float() for name, value in _trunk_weights(config.architecture).items()}
    return Identity(identity_of(config, describe_shipped(config).image_size), digest(weights))


def _trunk_weights(name: str, *, also: tuple[str, ...] = ()) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return {key: value for key, value in load_file(shipped_path(name)).items() if is_of_trunk(key, also=also)}


def load_shipped(
    config: BackboneConfig, device: torch.device, *, head: bool = False, decoder: LayerDecoder | None = None
) -> VisionTransformer:
    """The trunk of a model that ships with the project, or its architecture with random weights.

    Args:
        config: the model.
        device: where it is to run.
        head: whether its classifier is wanted; a random one is drawn last, so that the trunk is the same without it.
        decoder: its caption decoder, if it is wanted.

    Raises:
        BackboneError: as `describe_shipped`.
    """
    described = describe_shipped(config, head=head)
    size = described.image_size
    header = shipped_header(config.architecture)
    architecture = json.loads(header["architecture"])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = vision_model(architecture)
        if head:
            model.reset_classifier(described.n_classes)
    if config.kind != "random":
        model.load_state_dict(_trunk_weights(config.architecture, also=("head",) if head else ()))
    mean, std = (tuple(json.loads(header[name])) for name in ("mean", "std"))
    pixels = Pixels(mean, std)
    tower = tower_of(model, size)._replace(decoder=decoder, caption_context=_caption_context(header))
    return VisionTransformer(tower, config, pixels, size, device)
