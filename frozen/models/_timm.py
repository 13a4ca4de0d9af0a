"""Vision transformers of timm."""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from frozen.models._base import BackboneError, Description, TokenLayout, dropped_pixels, nearest_sizes
from frozen.models._checkpoint import misfit, read_state, unwrapped
from frozen.models._config import BackboneConfig
from frozen.models._feature_maps import feature_tower, has_feature_maps
from frozen.models._hub import Repository
from frozen.models._parts import probe
from frozen.models._pooling import PoolingHead, timm_pooling_head
from frozen.models._torchvision_ops import declare_missing_operators
from frozen.models._trunk import Ending, Head
from frozen.models._vision import (
    ADVICE,
    Pixels,
    Tower,
    VisionTransformer,
    check_image_size,
)

_ANY_SIZE = re.compile("resnet|resnext|convnext")
"""Names of networks whose constructors take no image size because every size is read."""


def tower_of(model: nn.Module, image_size: int) -> Tower:
    """A timm model's blocks and token layout, read from the model.

    Raises:
        BackboneError: a model without transformer blocks on a grid of patches.
    """
    if has_feature_maps(model):
        return feature_tower(model, image_size)
    blocks = getattr(model, "blocks", None)
    n_prefix = getattr(model, "num_prefix_tokens", None)
    grid = getattr(getattr(model, "patch_embed", None), "grid_size", None)
    if not isinstance(blocks, nn.ModuleList | nn.Sequential) or n_prefix is None or grid is None:
        raise BackboneError(
            f"{type(model).__name__} has no ViT blocks over a grid of patch tokens, so its layers have no token "
            f"layout that could be read; choose a ViT, a ResNet or a ConvNeXt, {ADVICE}"
        )
    rows, columns = int(grid[0]), int(grid[1])
    check_image_size((rows, columns), image_size)
    has_cls = getattr(model, "cls_token", None) is not None
    width = int(model.embed_dim)  # pyright: ignore
    layout = TokenLayout(has_cls, int(n_prefix) - has_cls, (rows, columns), width)
    shared_bias = any(getattr(model, name, None) is not None for name in ("rel_pos_bias", "shared_rel_pos"))
    parts = [probe(block, has_position_bias=shared_bias) for block in blocks]
    pools = hasattr(model, "forward_head") and bool(getattr(model, "global_pool", ""))
    pool = partial(model.forward_head, pre_logits=True) if pools else None  # pyright: ignore
    run: Any = model.forward_features
    notes = dropped_pixels(image_size, patch) if (patch := _patch(model)) else ()
    return Tower(
        model,
        list(blocks),
        run,
        layout,
        parts,
        pool,
        width if pools else 0,
        _head(model),
        notes=notes,
        ending=_ending(model),
    )


def _patch(model: nn.Module) -> int | None:
    """Pixels a side of a patch, where that is known."""
    size = getattr(getattr(model, "patch_embed", None), "patch_size", None)
    return int(size[0]) if isinstance(size, list | tuple) else size


def _head(model: Any) -> Head | None:
    """The classifier; None where there is none, or where it reads something else than one token after the norms."""
    linear = getattr(model, "head", None)
    norms = (getattr(model, "norm", None), getattr(model, "fc_norm", None))
    reads_a_token = (
        getattr(model, "global_pool", "") in ("token", "avg") and getattr(model, "attn_pool", None) is None
    )
    if not isinstance(linear, nn.Linear) or not reads_a_token or None in norms:
        return None
    before, after = norms
    return Head(
        linear, (before or nn.Identity(), after or nn.Identity()), model.forward_head, ("head.", "head_dist.")
    )


def _ending(model: Any) -> Ending | PoolingHead | None:
    """The norm and the pooling after the blocks; None where there is another norm, or two after one another."""
    if (pool := getattr(model, "attn_pool", None)) is not None:
        is_last = isinstance(getattr(model, "fc_norm", None), nn.Identity | None)
        reads_all = getattr(
            model, "pool_include_prefix", True
        )  # EVA's pool reads all tokens, and has no such setting
        return timm_pooling_head(pool, 0 if reads_all else int(model.num_prefix_tokens)) if is_last else None
    named = {name: getattr(model, name, None) for name in ("norm", "fc_norm")}
    norms = {name: norm for name, norm in named.items() if norm is not None and not isinstance(norm, nn.Identity)}
    pooling = getattr(model, "global_pool", "")
    has_two_heads = getattr(model, "dist_token", None) is not None  # the embedding is the mean of two tokens
    if pooling not in ("token", "avg") or len(norms) != 1 or has_two_heads:
        return None
    [(name, norm)] = norms.items()
    if not isinstance(norm, nn.LayerNorm):
        return None
    skipped = 0 if pooling == "token" or getattr(model, "pool_include_prefix", False) else model.num_prefix_tokens
    return Ending(norm, name == "fc_norm", pooling, int(skipped))


@cache
def describe_timm(
    name: str, image_size: int | None, *, head: bool = False, n_classes: int | None = None
) -> Description:
    """A timm model's description, without its weights.

    Args:
        name: architecture and tag.
        image_size: pixels a side; None for the model's own.
        head: whether the model is meant with its classifier.
        n_classes: of the classifier, where its weights are in a file of their own; None for the model's.

    Raises:
        BackboneError: an unknown name, a model whose tokens have no layout that could be read, or no classifier.
    """
    declare_missing_operators()
    with torch.device("meta"), torch.inference_mode():
        try:
            model = _create(name, image_size).eval()
            if head:
                _add_head(model, name, n_classes)
            size = _input_size(model, image_size)
            tower = tower_of(model, size)
            tower.forward(torch.zeros(1, 3, size, size), f"timm model {name}", lambda _layer, _tokens: None)
        except AssertionError as error:  # how timm refuses sizes
            raise BackboneError(_refused_size(name, image_size, error)) from error
    return tower.describe(size)


def _refused_size(name: str, image_size: int | None, error: Exception) -> str:
    patch = None if image_size is None else _patch(_create(name, None))
    if image_size is None or not patch or not image_size % patch:
        reason = " ".join(str(error).split()) or "it asserts another size"
        return f"timm model {name} does not read images of {image_size or 'its own size'} px: {reason[:200]}"
    sizes = nearest_sizes(image_size, patch)
    return f"timm model {name} reads whole patches of {patch} px; image_size must be {sizes}, got {image_size}"


def load_timm(config: BackboneConfig, device: torch.device, *, head: bool = False) -> VisionTransformer:
    """A timm model with weights from the hub, from a file, or untrained; `head` loads its classifier too.

    Raises:
        BackboneError: an unknown name, or weights that cannot be had or do not fit.
    """
    declare_missing_operators()
    _refuse_unknown(config.architecture)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        if config.kind == "random":
            model = _create(config.architecture, config.image_size)
            if head:
                _add_head(model, config.architecture)
        else:
            model = _from_file(config, config.weights_file or fetch_timm(config), head)
    size = _input_size(model, config.image_size)
    settings: Any = model.pretrained_cfg
    return VisionTransformer(tower_of(model, size), config, Pixels(settings["mean"], settings["std"]), size, device)


def fetch_timm(config: BackboneConfig, *, refresh: bool = False) -> Path:
    """The file of a timm model's weights, downloaded if need be.

    Raises:
        BackboneError: there are none, or they cannot be had.
    """
    declare_missing_operators()
    import timm

    _refuse_unknown(config.name)
    settings: Any = timm.get_pretrained_cfg(config.name)
    if not timm.is_model_pretrained(config.name) or not settings.hf_hub_id:
        raise BackboneError(f"timm has no weights of {config.name}; name a local file with `weights:`, {ADVICE}")
    name, _, revision = settings.hf_hub_id.partition("@")
    repository = Repository(name, revision or None, config.source)
    return repository.fetch("model.safetensors", "pytorch_model.bin", refresh=refresh)


def _create(name: str, image_size: int | None, num_classes: int = 0, **options: Any) -> nn.Module:
    import timm

    _refuse_unknown(name)
    if image_size is not None:
        options["img_size"] = image_size
    try:
        return timm.create_model(name, num_classes=num_classes, **options)
    except TypeError as error:
        if "img_size" not in str(error):
            raise
        if _ANY_SIZE.search(name):  # a convolution reads images of any size
            del options["img_size"]
            return timm.create_model(name, num_classes=num_classes, **options)
        raise BackboneError(f"timm model {name} does not take an image_size; leave it out") from error


def _refuse_unknown(name: str) -> None:
    import timm

    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        raise BackboneError(f"timm has no model {name!r}{_did_you_mean(architecture, timm.list_models())}")
    trained = timm.list_models(f"{architecture}.*", pretrained=True)
    if tag and name not in trained:
        raise BackboneError(f"timm has no weights {tag!r} of {architecture}{_did_you_mean(name, trained)}")


def _did_you_mean(name: str, names: list[str]) -> str:
    close = get_close_matches(name, names, n=3)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def _input_size(model: nn.Module, asked: int | None) -> int:
    size = getattr(getattr(model, "patch_embed", None), "img_size", None)
    settings: Any = model.pretrained_cfg
    return int(size[0]) if size else asked or int(settings["input_size"][-1])


def _add_head(model: nn.Module, name: str, n_classes: int | None = None) -> None:
    """A random classifier, drawn last: the trunk's weights are those of the model without it.

    Raises:
        BackboneError: a model that has none, or whose classifier does not read tokens.
    """
    cfg: Any = model.pretrained_cfg
    if not (n_classes or cfg["num_classes"]):
        raise BackboneError(f"timm model {name} has no classifier; choose one that was trained on classes, {ADVICE}")
    model.reset_classifier(n_classes or cfg["num_classes"])  # pyright: ignore
    _check_head(model, name)


def _check_head(model: nn.Module, name: str) -> None:
    if has_feature_maps(model):
        raise BackboneError(
            f"the classifier of timm model {name} reads pooled feature maps, not tokens of a residual stream; "
            "choose a ViT that pools its CLS token or a mean"
        )
    if _head(model) is None:
        raise BackboneError(
            f"the classifier of timm model {name} does not read single tokens after the final norm "
            f"(pooling {getattr(model, 'global_pool', '')!r}); choose a model that pools its CLS token or a mean"
        )


def _from_file(config: BackboneConfig, path: Path, head: bool) -> nn.Module:
    state = unwrapped(read_state(path, config.name, config.weights_set))
    try:
        return _with_head(config, state) if head else _with_state(config, state)
    except (BackboneError, ImportError, MemoryError):
        raise
    except Exception as error:  # timm's conversions of other formats can raise anything
        raise BackboneError(misfit(path, config.name, error, state)) from error


def _with_head(config: BackboneConfig, state: dict[str, Any]) -> nn.Module:
    """A model all of whose weights come from a state dict, its classifier's too; it has the classes of the file."""
    import timm

    settings: Any = timm.get_pretrained_cfg(config.name)
    rows = len(state["head.weight"]) if "head.weight" in state else settings.num_classes
    overlay = {"custom_load": False, "label_offset": 0, "num_classes": rows, "state_dict": dict(state)}
    model = _create(config.name, config.image_size, rows, pretrained=True, pretrained_cfg_overlay=overlay)
    model.pretrained_cfg["state_dict"] = None  # pyright: ignore
    _check_head(model, config.name)
    return model


def _with_state(config: BackboneConfig, state: dict[str, Any]) -> nn.Module:
    """A model all of whose weights come from a state dict, whatever classifier it holds beside them.

    timm is strict only where the numbers of classes are equal; otherwise it leaves missing weights random.
    """
    import timm

    settings: Any = timm.get_pretrained_cfg(config.name)
    classifiers = [settings.classifier] if isinstance(settings.classifier, str) else settings.classifier or []
    heads = tuple(f"{name}." for name in classifiers)
    body = {key: value for key, value in state.items() if not key.startswith(heads)}
    if not body:
        raise ValueError("it holds no weights")
    overlay = {"custom_load": False, "label_offset": 0, "num_classes": 0, "state_dict": dict(body)}
    options = {"pretrained": True, "pretrained_cfg_overlay": overlay}
    try:
        model = _create(config.name, config.image_size, **options)
    except RuntimeError:  # in other formats, such as CLIP's, the classifier gets its name only inside timm
        if len(body) < len(state):
            raise
        overlay |= {"num_classes": settings.num_classes, "state_dict": dict(body)}
        model = _create(config.name, config.image_size, num_classes=settings.num_classes, **options)
        model.reset_classifier(0)  # pyright: ignore
    model.pretrained_cfg["state_dict"] = None  # pyright: ignore
    return model
