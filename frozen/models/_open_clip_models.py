"""Backbones of open_clip: ViT image towers carried over to timm's classes, and the caption decoder of CoCa.

One way of capture serves every ViT: open_clip's blocks run attention through fused calls that no hook hears, timm's
do not, and the weights are the same (spec of the conversion: `timm.models.vision_transformer.checkpoint_filter_fn`).
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from frozen.models._base import BackboneError, Description, UnavailableError
from frozen.models._config import BackboneConfig
from frozen.models._open_clip_source import SETTINGS, Source, library, source_of
from frozen.models._timm import tower_of
from frozen.models._torchvision_ops import declare_missing_operators
from frozen.models._vision import Tower, VisionTransformer

_CUSTOM = ("block_type", "qk_norm", "scaled_cosine_attn", "scale_heads", "scale_attn_inner", "scale_attn", "scale_fc")
_BESIDE = ("visual.attn_pool", "visual.ln_post")
"""Weights of an attentional pooler, which belong to the caption decoder."""


def refuse_other_towers(source: Source, what: str) -> None:
    """Refuse image towers that are no plain ViT.

    Raises:
        BackboneError: such a tower.
    """
    vision = source.vision
    if name := vision.get("timm_model_name"):
        raise BackboneError(
            f"the image tower of {what} is timm's {name}; write timm:{name} with a tag of its weights"
        )
    if isinstance(vision["layers"], list | tuple) or any(vision.get(name) for name in _CUSTOM):
        raise BackboneError(
            f"the image tower of {what} is no plain ViT; take the same model from timm, if it is there"
        )
    pools, pooling = vision.get("attentional_pool", False), vision.get("pool_type", "tok")
    if isinstance(pools, str) or pooling not in ("tok", "avg") or vision.get("final_ln_after_pool"):
        raise BackboneError(f"the image tower of {what} pools its tokens in a way that is not known here")
    if vision.get("act_kwargs") or vision.get("norm_kwargs"):
        raise BackboneError(f"the image tower of {what} has activations or norms that are not known here")


def image_tower(source: Source, what: str, image_size: int | None) -> Any:
    """An image tower as timm's class, with weights yet to come.

    Raises:
        BackboneError: a tower that is no plain ViT.
    """
    declare_missing_operators()
    from timm.layers.create_act import get_act_layer
    from timm.models.vision_transformer import VisionTransformer as Model

    refuse_other_towers(source, what)
    vision, width = source.vision, source.vision["width"]
    pools, pooling = vision.get("attentional_pool", False), vision.get("pool_type", "tok")
    global_pool: Any = "" if pools else {"tok": "token", "avg": "avg"}[pooling]
    return Model(
        img_size=image_size or vision["image_size"],
        patch_size=vision["patch_size"],
        embed_dim=width,
        depth=vision["layers"],
        num_heads=width // vision.get("head_width", 64),
        mlp_ratio=vision.get("mlp_ratio", 4.0),
        init_values=vision.get("ls_init_value"),
        pre_norm=not vision.get("no_ln_pre", False),
        final_norm=not pools,
        fc_norm=False,
        global_pool=global_pool,
        norm_layer=nn.LayerNorm,
        act_layer=get_act_layer("quick_gelu") if source.settings.get("quick_gelu") else nn.GELU,
        num_classes=0,
    )


def _tower(source: Source, model: Any) -> Tower:
    tower = tower_of(model, int(model.patch_embed.img_size[0]))
    return tower._replace(caption_context=_caption_context(source))


def _caption_context(source: Source) -> int:
    return int(source.settings["text_cfg"].get("context_length", 77)) if source.writes_captions else 0


def describe_open_clip(config: BackboneConfig) -> Description:
    """A model's description, from its settings alone.

    Raises:
        BackboneError: no such model, or one whose image tower is no plain ViT.
    """
    return _described(config.source, config)


@cache
def _described(what: str, config: BackboneConfig) -> Description:
    source = source_of(config)
    with torch.device("meta"), torch.inference_mode():
        try:
            model = image_tower(source, what, config.image_size).eval()
        except AssertionError as error:  # how timm refuses sizes
            raise BackboneError(f"{what} cannot read images of {config.image_size} px: {error}") from error
        size = int(model.patch_embed.img_size[0])
        tower = _tower(source, model)
        tower.forward(torch.zeros(1, 3, size, size), what, lambda _layer, _tokens: None)
    return tower.describe(size)


def load_open_clip(config: BackboneConfig, device: torch.device, *, decoder: bool = False) -> VisionTransformer:
    """The image tower of a model with its weights, and its caption decoder if that is wanted.

    Of an untrained tower, the decoder is the trained one where the source still names its weights
    (random:open_clip:NAME/TAG, or a folder).

    Raises:
        BackboneError: weights that cannot be had or do not fit.
    """
    source = source_of(config)
    size = describe_open_clip(config).image_size
    whole = whole_model(config, source)
    model = image_tower(source, config.source, size)
    _carry_over(whole, model)
    tower = _tower(source, model)
    if decoder and source.writes_captions:
        from frozen.models._open_clip_decoder import decoder_of

        is_apart = config.kind == "random" and (source.tag or source.folder)
        giver = whole_model(config, source, trained=True) if is_apart else whole
        tower = tower._replace(decoder=decoder_of(giver, source, config.source).to(device))
    return VisionTransformer(tower, config, source.pixels, size, device, _name(config, source))


def fetch_open_clip(config: BackboneConfig) -> list[Path]:
    """The file of a tag's weights, downloaded if need be; none for folders.

    Raises:
        BackboneError: a file that cannot be had.
    """
    source = source_of(config)
    if source.folder is not None:
        return []
    open_clip = library(config.source)
    try:
        return [Path(open_clip.download_pretrained(open_clip.get_pretrained_cfg(source.name, source.tag)))]
    except Exception as error:  # the hub can fail in any way
        reason = " ".join(str(error).split())[:200]
        raise UnavailableError(f"open_clip cannot fetch the weights of {config.source}: {reason}") from error


def _name(config: BackboneConfig, source: Source) -> str | None:
    """What a model of a folder is called, wherever the folder lies: by its settings."""
    if source.folder is None:
        return None
    prefix = config.source.removesuffix(config.architecture)
    return f"{prefix}folder:{hashlib.sha256((source.folder / SETTINGS).read_bytes()).hexdigest()[:16]}"


def whole_model(config: BackboneConfig, source: Source, *, trained: bool | None = None) -> Any:
    """open_clip's own model, on the CPU.

    Args:
        config: the backbone.
        source: what it names.
        trained: whether its weights are read; by default, unless the backbone is untrained.

    Raises:
        BackboneError: weights that cannot be had or do not fit.
    """
    open_clip = library(config.source)
    is_trained = config.kind != "random" if trained is None else trained
    weights = source.tag or None if config.weights_file is None else str(config.weights_file)
    if config.weights_file is not None and not config.weights_file.is_file():
        raise BackboneError(
            f"weights file {config.weights_file} does not exist; it must be a checkpoint of open_clip"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        try:
            with _silent():
                model = open_clip.create_model(
                    source.name,
                    pretrained=weights if is_trained else None,
                    load_weights=is_trained,
                    require_pretrained=is_trained,
                    pretrained_text=False,
                )
        except Exception as error:  # hub, files and shapes can fail in any way
            reason = " ".join(str(error).split())[:200]
            raise BackboneError(f"open_clip cannot load {config.source}: {reason}") from error
        if not is_trained and source.writes_captions:
            from frozen.models._open_clip_decoder import initialise

            initialise(model.text_decoder)
    return model.eval().requires_grad_(requires_grad=False)


@contextmanager
def _silent() -> Iterator[None]:
    """Without what the library logs at the root: of an untrained model it warns that it has no weights."""

    def is_of_others(record: logging.LogRecord) -> bool:
        return "open_clip" not in record.pathname

    root = logging.getLogger()
    root.addFilter(is_of_others)
    try:
        yield
    finally:
        root.removeFilter(is_of_others)


def _carry_over(whole: Any, model: nn.Module) -> None:
    """Give timm's class the weights of open_clip's image tower; positions are interpolated to another grid."""
    from timm.models.vision_transformer import checkpoint_filter_fn

    has_pooler = getattr(whole.visual, "attn_pool", None) is not None
    skipped = (*_BESIDE, "visual.proj") if has_pooler else ("visual.proj",)
    state = {
        name.replace(".ls_", ".ls"): value.float()
        for name, value in whole.state_dict().items()
        if name.startswith("visual.") and not name.startswith(skipped)
    }
    model.load_state_dict(checkpoint_filter_fn(state, model))  # pyright: ignore


def text_refusal(config: BackboneConfig) -> str | None:
    """Why a model has no joint space that its image tower's embedding leads to linearly, or None."""
    try:
        source = source_of(config)
        refuse_other_towers(source, config.source)
    except BackboneError as error:
        return str(error)
    if source.vision.get("attentional_pool"):
        return f"the image's embedding of {config.source} is pooled by attention, with weights of the caption decoder"
    return None


def open_texts(config: BackboneConfig) -> tuple[Any, Any]:
    """open_clip's own model and its tokenizer."""
    source = source_of(config)
    return whole_model(config, source), library(config.source).get_tokenizer(source.name)
