"""Text towers of the CLIPs whose image towers timm has, from open_clip, an extra."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float32

from frozen.models._base import BackboneError
from frozen.models._config import BackboneConfig
from frozen.models._text_batches import Encode, in_batches
from frozen.models._torchvision_ops import declare_missing_operators

_ARCHITECTURES = {
    "vit_base_patch32_clip": "ViT-B-32",
    "vit_base_patch16_clip": "ViT-B-16",
    "vit_large_patch14_clip": "ViT-L-14",
    "vit_huge_patch14_clip": "ViT-H-14",
    "vit_gigantic_patch14_clip": "ViT-bigG-14",
}
_RESNETS = {f"resnet{size}_clip": f"RN{size}-quickgelu" for size in ("50", "101", "50x4", "50x16", "50x64")}
"""CLIP's ResNets: their images pass ReLUs, their texts OpenAI's GELU."""
_TAGS = {
    "laion2b": {
        "ViT-B-32": "laion2b_s34b_b79k",
        "ViT-B-16": "laion2b_s34b_b88k",
        "ViT-L-14": "laion2b_s32b_b82k",
        "ViT-H-14": "laion2b_s32b_b79k",
        "ViT-bigG-14": "laion2b_s39b_b160k",
    },
    "datacompxl": dict.fromkeys(("ViT-B-32", "ViT-B-16", "ViT-L-14"), "datacomp_xl_s13b_b90k"),
    "openai": dict.fromkeys(("ViT-B-32", "ViT-B-16", "ViT-L-14"), "openai"),
}


class TextName(NamedTuple):
    """open_clip's name of a model, and of its weights; None for random ones."""

    architecture: str
    weights: str | None


def text_name(config: BackboneConfig) -> TextName:
    """The open_clip model that a timm CLIP's text tower belongs to.

    Raises:
        BackboneError: no CLIP, or one whose texts are not known here.
    """
    name, _, tag = config.architecture.partition(".")
    if resnet := _RESNETS.get(name):
        return _of_resnet(config, resnet, tag)
    stem, _, size = name.rpartition("_")
    has_quick_gelu = stem.endswith("_quickgelu")
    architecture = _ARCHITECTURES.get(stem.removesuffix("_quickgelu"))
    if architecture is None:
        hint = "; SigLIP has its texts as hf:google/siglip-base-patch16-224, for one" * ("siglip" in name)
        raise BackboneError(
            f"{config.source} is no CLIP whose text tower is known; there are {', '.join(_ARCHITECTURES)}{hint}"
        )
    if tag == "openai" and not has_quick_gelu:
        raise BackboneError(
            f"{config.source} computes with another GELU than OpenAI's; write {stem}_quickgelu_{size}.openai"
        )
    named = architecture + "-336" * (size == "336") + "-quickgelu" * has_quick_gelu
    if config.kind == "random":
        return TextName(named, None)
    if config.weights_file is not None:
        return TextName(named, str(config.weights_file))
    if (weights := _TAGS.get(tag, {}).get(architecture)) is None:
        raise BackboneError(f"of {config.source}, the text tower is not known; known weights are {', '.join(_TAGS)}")
    return TextName(named, weights)


def _of_resnet(config: BackboneConfig, architecture: str, tag: str) -> TextName:
    if config.kind == "random":
        return TextName(architecture, None)
    if config.weights_file is None and tag not in ("openai", "yfcc15m", "cc12m"):
        raise BackboneError(f"of {config.source}, the text tower is not known; known weights are openai")
    return TextName(architecture, str(config.weights_file or tag))


def refusal(config: BackboneConfig) -> str | None:
    """Why there is no text tower for a timm model, or None; nothing is loaded."""
    try:
        text_name(config)
    except BackboneError as error:
        return str(error)
    if find_spec("open_clip") is None:
        return f"the texts of {config.source} are read by open_clip; pip install 'binding-sweep[open_clip]'"
    return None


def open_clip_model(config: BackboneConfig) -> tuple[Any, Callable[[Sequence[str]], torch.Tensor]]:
    """The whole model with its weights, on the CPU, and its tokenizer.

    Raises:
        BackboneError: weights that cannot be had.
    """
    declare_missing_operators()
    import open_clip  # pyright: ignore[reportMissingImports], an extra

    name = text_name(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        try:
            model = open_clip.create_model(name.architecture, pretrained=name.weights)
        except (OSError, RuntimeError) as error:
            reason = str(error).partition("\n")[0]
            raise BackboneError(f"open_clip cannot load {name.architecture} {name.weights}: {reason}") from error
    tokenizer: Any = open_clip.get_tokenizer(name.architecture)
    return model.eval().requires_grad_(requires_grad=False), tokenizer


def imagenet_texts() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """CLIP's prompts for ImageNet, with {} for the class, and its names of the classes, as the package has them.

    Raises:
        ValueError: open_clip is not installed.
    """
    if find_spec("open_clip") is None:
        raise ValueError("these texts come with open_clip; pip install 'binding-sweep[open_clip]'")
    declare_missing_operators()
    from open_clip import zero_shot_metadata  # pyright: ignore[reportMissingImports], an extra

    prompts = tuple(prompt("{}") for prompt in zero_shot_metadata.OPENAI_IMAGENET_TEMPLATES)
    return prompts, tuple(zero_shot_metadata.IMAGENET_CLASSNAMES)


class Projection(NamedTuple):
    """The linear map from an image's embedding to the joint space."""

    weight: Float32[np.ndarray, "joint width"]
    bias: Float32[np.ndarray, " joint"]


def projection(model: Any) -> Projection:
    """From the pooled token to the joint space; of a ResNet, from what its attention pool read.

    Raises:
        BackboneError: an image tower that ends in something else.
    """
    project = getattr(model.visual, "proj", None)
    linear = getattr(getattr(model.visual, "attnpool", None), "c_proj", None)
    if isinstance(linear, torch.nn.Linear):
        return Projection(*(value.detach().float().numpy() for value in (linear.weight, linear.bias)))
    if not isinstance(project, torch.Tensor):
        raise BackboneError(f"the image tower {type(model.visual).__name__} does not end in one projection")
    weight = project.detach().float().T.contiguous().numpy()
    return Projection(weight, np.zeros(len(weight), np.float32))


def encoder(model: Any, tokenizer: Callable[[Sequence[str]], torch.Tensor]) -> Encode:
    """Texts to vectors, not normalised, through a model's text tower and its tokenizer."""
    return in_batches(lambda texts: model.encode_text(tokenizer(texts)), len(projection(model).weight))
