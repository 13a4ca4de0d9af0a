"""Vision transformers of Hugging Face's transformers; of models with two towers, the vision tower alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from inspect import signature
from math import isqrt
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from frozen.models._base import BackboneError, Description, TokenLayout, dropped_pixels
from frozen.models._config import BackboneConfig
from frozen.models._hub import Repository
from frozen.models._parts import probe
from frozen.models._pooling import PoolingHead, transformers_pooling_head
from frozen.models._preprocessing import Preprocessing, read_preprocessing
from frozen.models._transformers_files import (
    SETTINGS,
    Folder,
    library,
    place_of,
    processors,
    tokenizer_files,
    trained,
    weight_files,
    whole_settings,
)
from frozen.models._trunk import Ending
from frozen.models._vision import ADVICE, Tower, VisionTransformer, check_image_size


class Family(NamedTuple):
    """How models of one type are built.

    Attributes:
        blocks: path of the transformer blocks.
        norm: path of the final norm where the model's own output comes before it; empty where it comes after.
        has_cls: whether token 0 is a CLS token.
        pooling: the image's embedding is the CLS token (cls), or what the module `head` makes of all tokens (head);
            empty where the library pools nothing, or something that was not trained.
        options: of the constructor, to leave out heads behind the tokens.
        overrides: settings that are replaced, for the same reason or to see every patch.
    """

    blocks: str
    has_cls: bool
    norm: str = ""
    pooling: Literal["", "cls", "head"] = ""
    options: tuple[tuple[str, Any], ...] = ()
    overrides: tuple[tuple[str, Any], ...] = ()


FAMILIES = {
    "dinov2": Family("encoder.layer", has_cls=True, pooling="cls"),
    "dinov2_with_registers": Family("encoder.layer", has_cls=True, pooling="cls"),
    "dinov3_vit": Family("model.layer", has_cls=True, pooling="cls"),
    "clip_vision_model": Family("encoder.layers", has_cls=True, norm="post_layernorm", pooling="cls"),
    "siglip_vision_model": Family("encoder.layers", has_cls=False, pooling="head"),
    "siglip2_vision_model": Family("encoder.layers", has_cls=False, pooling="head"),
    "vit": Family("layers", has_cls=True, options=(("add_pooling_layer", False),)),
    "vit_mae": Family("layers", has_cls=True, overrides=(("mask_ratio", 0.0),)),
    "ijepa": Family("layers", has_cls=False, options=(("add_pooling_layer", False),)),
}


def describe_transformers(config: BackboneConfig) -> Description:
    """A transformers model's description, from its settings alone.

    Raises:
        BackboneError: settings that cannot be had, or an architecture whose tokens have no known layout.
    """
    return _described(place_of(config), config.image_size)


@cache
def _described(place: Repository | Folder, image_size: int | None) -> Description:
    settings = _settings(place)
    size = image_size or _own_size(settings, place.source)
    with torch.device("meta"), torch.inference_mode():
        try:
            tower = tower_of(_untrained(settings).eval(), settings, size)
            tower.forward(torch.zeros(1, 3, size, size), place.source, lambda _layer, _tokens: None)
        except BackboneError:
            raise
        except (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise BackboneError(f"{place.source}: its {SETTINGS} makes no model: {reason}") from error
    return tower._replace(notes=(*tower.notes, *_preprocessing(place, size).notes)).describe(size)


def load_transformers(config: BackboneConfig, device: torch.device) -> VisionTransformer:
    """A transformers model with weights from the hub, a folder or a file, or untrained.

    Raises:
        BackboneError: a model that cannot be had, or weights that do not fit it.
    """
    place = place_of(config)
    size = _described(place, config.image_size).image_size
    settings = _settings(place)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = _untrained(settings) if config.kind == "random" else _trained(config, place, settings)
    name = _name_by_content(config, place) if isinstance(place, Folder) else None
    tower, preprocessing = tower_of(model, settings, size), _preprocessing(place, size)
    tower = tower._replace(notes=(*tower.notes, *preprocessing.notes))
    return VisionTransformer(tower, config, preprocessing.pixels, size, device, name)


def _name_by_content(config: BackboneConfig, folder: Folder) -> str:
    """What a model of a folder is called, wherever the folder lies: by its settings, as weights are by theirs."""
    prefix = config.source.removesuffix(config.architecture)
    return f"{prefix}folder:{hashlib.sha256(folder.fetch(SETTINGS).read_bytes()).hexdigest()[:16]}"


def fetch_transformers(config: BackboneConfig, *, refresh: bool = False) -> list[Path]:
    """Every file that loading a model reads, downloaded if need be.

    Raises:
        BackboneError: a file that cannot be had.
    """
    place = place_of(config)
    files = [place.fetch(SETTINGS, refresh=refresh), *processors(place, refresh=refresh)]
    if hasattr(whole_settings(place), "text_config"):
        files += tokenizer_files(place, refresh=refresh)
    if config.kind == "random" or config.weights is not None:
        return files
    return files + weight_files(place, refresh=refresh)


def tower_of(model: nn.Module, settings: Any, image_size: int) -> Tower:
    """A model's blocks and token layout, as its settings say.

    Raises:
        BackboneError: an image smaller than a patch.
    """
    family = FAMILIES[settings.model_type]
    patch = settings.patch_size
    side = int(patch[0] if isinstance(patch, list | tuple) else patch)
    rows = columns = image_size // side
    check_image_size((rows, columns), image_size)
    registers = int(getattr(settings, "num_register_tokens", 0) or 0)
    layout = TokenLayout(family.has_cls, registers, (rows, columns), int(settings.hidden_size))
    blocks: Any = model.get_submodule(family.blocks)
    norm: Any = model.get_submodule(family.norm) if family.norm else nn.Identity()
    arguments = _arguments(model, (rows, columns), side)

    def run(pixels: Tensor) -> Tensor:
        return norm(model(**arguments(pixels)).last_hidden_state)

    pool = _pool(family, model)
    return Tower(
        model,
        list(blocks),
        run,
        layout,
        [probe(block) for block in blocks],
        pool,
        layout.width if pool else 0,
        notes=dropped_pixels(image_size, side),
        ending=_ending(family, model, norm),
    )


def _ending(family: Family, model: Any, norm: Any) -> Ending | PoolingHead | None:
    """What comes after the blocks: a norm of the CLS token, or SigLIP's attention that pools."""
    if family.pooling == "head":
        return transformers_pooling_head(getattr(model, "head", None))
    return Ending(norm, is_pooled_first=False, pooling="token", first_pooled=0) if family.norm else None


def _pool(family: Family, model: Any) -> Callable[[Tensor], Tensor] | None:
    """Tokens after the final norm to the image's embedding."""
    if family.pooling == "cls":
        return lambda tokens: tokens[:, 0]
    return getattr(model, "head", None) if family.pooling == "head" else None


def _arguments(model: nn.Module, grid: tuple[int, int], patch: int) -> Callable[[Tensor], dict[str, Any]]:
    """Arguments of a model's call, so that it takes any image size and keeps all patches in their order."""
    known = signature(model.forward).parameters
    fixed = {"interpolate_pos_encoding": True} if "interpolate_pos_encoding" in known else {}

    def with_noise(pixels: Tensor) -> dict[str, Any]:
        """Masked autoencoders sort their patches by noise, even where none is masked."""
        order = torch.arange(grid[0] * grid[1], dtype=torch.float32, device=pixels.device)
        return {**fixed, "pixel_values": pixels, "noise": order.expand(len(pixels), -1)}

    def in_patches(pixels: Tensor) -> dict[str, Any]:
        """SigLIP2 with native aspect ratios (NaFlex) reads patches, channels last, and the shape of their grid."""
        whole = pixels[:, :, : grid[0] * patch, : grid[1] * patch]
        patches = whole.unflatten(3, (-1, patch)).unflatten(2, (-1, patch)).permute(0, 2, 4, 3, 5, 1)
        shapes = torch.tensor(grid, device="cpu").expand(len(pixels), -1)  # it is read as numbers
        return {
            "pixel_values": patches.flatten(3).flatten(1, 2),
            "pixel_attention_mask": None,
            "spatial_shapes": shapes,
        }

    if "spatial_shapes" in known:
        return in_patches
    return with_noise if "noise" in known else lambda pixels: {**fixed, "pixel_values": pixels}


def _settings(place: Repository | Folder) -> Any:
    """Settings of the vision tower."""
    whole = whole_settings(place)
    settings = getattr(whole, "vision_config", whole)
    if settings.model_type not in FAMILIES:
        raise BackboneError(
            f"{place.source} is a {settings.model_type}, whose tokens have no layout known here; there are "
            f"{', '.join(FAMILIES)}, and many more ViTs in timm; {ADVICE}"
        )
    if (channels := getattr(settings, "num_channels", 3)) != 3:
        raise BackboneError(f"{place.source} reads images of {channels} channels, not 3; {ADVICE}")
    for name, value in FAMILIES[settings.model_type].overrides:
        setattr(settings, name, value)
    return settings


def _own_size(settings: Any, source: str) -> int:
    if not hasattr(settings, "image_size"):  # SigLIP2 NaFlex: a square of as many patches as it has positions
        return isqrt(settings.num_patches) * int(settings.patch_size)
    size = settings.image_size
    sides = set(size) if isinstance(size, list | tuple) else {size}
    if len(sides) != 1:
        raise BackboneError(f"{source} reads images of {tuple(size)} pixels; name a square image_size")
    return int(sides.pop())


def _untrained(settings: Any) -> nn.Module:
    with library(settings.model_type) as transformers:
        options = dict(FAMILIES[settings.model_type].options)
        return transformers.AutoModel.from_config(settings, dtype=torch.float32, **options)


def _trained(config: BackboneConfig, place: Repository | Folder, settings: Any) -> nn.Module:
    """A model all of whose weights come from a checkpoint; text towers, heads and decoders stay in the file.

    Raises:
        BackboneError: a checkpoint that lacks some of them.
    """
    with torch.device("meta"):
        cls: Any = type(_untrained(settings))
    return trained(cls, config, place, settings, dict(FAMILIES[settings.model_type].options))


def _preprocessing(place: Repository | Folder, image_size: int) -> Preprocessing:
    return read_preprocessing(next(iter(processors(place)), None), place.source, image_size)
