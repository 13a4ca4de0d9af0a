"""The two small ViTs that ship with the project, described by the headers of their files."""

from __future__ import annotations

import json
import math
import struct
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import torch

from frozen.models._base import BackboneConfig, BackboneError, Description, Identity, TokenLayout
from frozen.models._parts import plain_shapes
from frozen.models._timm import tower_of
from frozen.models._torchvision_ops import declare_missing_operators
from frozen.models._vision import SHIPPED, Pixels, VisionTransformer, digest, identity_of


def _shipped_path(name: str) -> Path:
    if name not in SHIPPED:
        raise BackboneError(f"no backbone {name!r} ships with the project; there are {', '.join(SHIPPED)}")
    return Path(str(resources.files("frozen.models") / "weights" / f"{name}.safetensors"))


@cache
def _safetensors_header(name: str) -> dict[str, Any]:
    with _shipped_path(name).open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        return json.loads(file.read(length))


def shipped_header(name: str) -> dict[str, str]:
    """Metadata of a shipped file: architecture, mean, std, and how it was trained."""
    return _safetensors_header(name)["__metadata__"]


def describe_shipped(config: BackboneConfig) -> Description:
    """A shipped model's description, from its file's header.

    Raises:
        BackboneError: no such model, or one asked to read other weights or another image size.
    """
    architecture = json.loads(shipped_header(config.architecture)["architecture"])
    size = architecture["img_size"]
    if config.image_size not in (None, size) or config.weights is not None:
        raise BackboneError(f"{config.source} has its own weights and reads {size} px only")
    side = size // architecture["patch_size"]
    layers = ("embed", *(str(i) for i in range(architecture["depth"])), "final")
    layout = TokenLayout(has_cls=True, n_registers=0, grid=(side, side), width=architecture["embed_dim"])
    tensors = (entry for key, entry in _safetensors_header(config.architecture).items() if key != "__metadata__")
    width, n_heads = architecture["embed_dim"], architecture["num_heads"]
    return Description(
        layers,
        layout,
        size,
        parameters=sum(math.prod(entry["shape"]) for entry in tensors),
        parts=plain_shapes(width, n_heads, int(width * architecture["mlp_ratio"])),
        embedding_width=width,
    )


def identify_shipped(config: BackboneConfig) -> Identity:
    """Name and digest of a shipped model, from its file; the model holds the file's half precision as float32."""
    from safetensors.torch import load_file

    weights = {name: value.float() for name, value in load_file(_shipped_path(config.architecture)).items()}
    return Identity(identity_of(config, describe_shipped(config).image_size), digest(weights))


def load_shipped(config: BackboneConfig, device: torch.device) -> VisionTransformer:
    """One of the two small ViTs that ship with the project, or its architecture with random weights."""
    declare_missing_operators()
    from safetensors.torch import load_file
    from timm.models.vision_transformer import VisionTransformer as Model

    size = describe_shipped(config).image_size
    header = shipped_header(config.architecture)
    architecture = json.loads(header["architecture"])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = Model(**architecture, num_classes=0)
    if config.kind != "random":
        model.load_state_dict(load_file(_shipped_path(config.architecture)))
    pixels = Pixels(*(tuple(json.loads(header[name])) for name in ("mean", "std")))
    return VisionTransformer(tower_of(model, size), config, pixels, size, device)
