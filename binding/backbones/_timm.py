"""Vision transformers of timm: tokens after the embedding, after every block, and after the final norm."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn.functional import interpolate

from binding._torchvision_ops import declare_missing_operators
from binding.backbones._base import BackboneConfig, BackboneError, Batch, Description, TokenLayout

SHIPPED = ("shapes_vit_objects", "shapes_vit_features")
_ADVICE = "or use a backbone that ships with the project: " + ", ".join(f"shipped:{name}" for name in SHIPPED)


class VisionTransformer:
    """A frozen timm ViT in evaluation mode; its images are resized without cropping (bilinear, no antialias).

    Args:
        model: a timm model with blocks, prefix tokens and a patch grid.
        identity: everything but the weights that the tokens depend on.
        mean: of the pixels in 0..1, one a channel.
        std: likewise.
        image_size: pixels a side of the input.
        device: where to run.
    """

    reads_images = True

    def __init__(
        self,
        model: nn.Module,
        identity: str,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        image_size: int,
        device: torch.device,
    ) -> None:
        self.identity = identity
        self.description = describe_model(model, image_size)
        self.weights_digest = digest(model)
        self._model = model.eval().requires_grad_(requires_grad=False).to(device)
        self._mean, self._std = (torch.tensor(value, device=device).view(3, 1, 1) for value in (mean, std))
        self._device = device

    @torch.inference_mode()
    def forward(self, batch: Batch) -> dict[str, Float[Tensor, "batch token dim"]]:
        """Tokens of every layer; embed is what the first block sees, final is after the final norm."""
        return _tokens(self._model, self._pixels(batch.images), self.description, self.identity)

    def _pixels(self, images: UInt8[Any, "batch height width 3"]) -> Float[Tensor, "batch 3 size size"]:
        size = self.description.image_size
        pixels = torch.from_numpy(images).to(self._device).permute(0, 3, 1, 2).float().div(255)
        if pixels.shape[-2:] != (size, size):
            pixels = interpolate(pixels, size=(size, size), mode="bilinear", align_corners=False)
        return (pixels - self._mean) / self._std


def _tokens(model: nn.Module, pixels: Tensor, description: Description, name: str) -> dict[str, Tensor]:
    """Tokens of every layer, checked against the layout."""
    tokens: dict[str, Tensor] = {}
    with _recording(model, tokens):
        tokens["final"] = model.forward_features(pixels)  # pyright: ignore
    layout = description.layout
    expected = (len(pixels), layout.n_tokens, layout.width)
    for layer, value in tokens.items():
        if tuple(value.shape) != expected:
            raise BackboneError(
                f"{name}: layer {layer} has tokens {tuple(value.shape)}, not {expected} as its layout says, "
                f"so they cannot be told apart; choose another ViT, {_ADVICE}"
            )
    return tokens


@contextmanager
def _recording(model: nn.Module, tokens: dict[str, Tensor]) -> Iterator[None]:
    """Collect the input of the first block and the output of every block."""
    blocks: Any = model.blocks

    def keep(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            tokens[name] = output

        return hook

    def embed(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        tokens["embed"] = inputs[0]

    handles = [blocks[0].register_forward_pre_hook(embed)]
    handles += [block.register_forward_hook(keep(str(i))) for i, block in enumerate(blocks)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def describe_model(model: nn.Module, image_size: int) -> Description:
    """Layers and token layout of a timm model, read from the model.

    Raises:
        BackboneError: a model without transformer blocks on a grid of patches.
    """
    blocks = getattr(model, "blocks", None)
    n_prefix = getattr(model, "num_prefix_tokens", None)
    grid = getattr(getattr(model, "patch_embed", None), "grid_size", None)
    if not isinstance(blocks, nn.ModuleList | nn.Sequential) or n_prefix is None or grid is None:
        raise BackboneError(
            f"{type(model).__name__} has no ViT blocks over a grid of patch tokens, so its layers have no token "
            f"layout that could be read; choose a ViT, {_ADVICE}"
        )
    if not all(grid):
        raise BackboneError(f"image_size {image_size} is smaller than a patch; choose a larger one")
    has_cls = getattr(model, "cls_token", None) is not None
    width = int(model.embed_dim)  # pyright: ignore
    layout = TokenLayout(has_cls, int(n_prefix) - has_cls, (int(grid[0]), int(grid[1])), width)
    layers = ("embed", *(str(i) for i in range(len(blocks))), "final")
    return Description(layers, layout, image_size, parameters=sum(p.numel() for p in model.parameters()))


def digest(model: nn.Module) -> str:
    """sha256 of all weights, by name."""
    total = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        total.update(name.encode())
        total.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


@cache
def describe_timm(name: str, image_size: int | None) -> Description:
    """A timm model's description, without its weights.

    Raises:
        BackboneError: an unknown name, or a model whose tokens have no layout that could be read.
    """
    declare_missing_operators()
    with torch.device("meta"), torch.inference_mode():
        model = _create(name, image_size).eval()
        size = _input_size(model)
        description = describe_model(model, size)
        _tokens(model, torch.zeros(1, 3, size, size), description, f"timm model {name}")
    return description


def load_timm(config: BackboneConfig, device: torch.device) -> VisionTransformer:
    """A timm model with weights from the hub, from a file, or untrained.

    Raises:
        BackboneError: an unknown name, or weights that cannot be had or do not fit.
    """
    declare_missing_operators()
    if config.kind == "random" and config.weights is not None:
        raise BackboneError(f"{config.source} is untrained; to read {config.weights} write timm:{config.name}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        if config.kind == "random":
            model = _create(config.name, config.image_size)
        elif config.weights is not None:
            model = _from_file(config, Path(config.weights))
        else:
            model = _from_hub(config)
    size = _input_size(model)
    settings: Any = model.pretrained_cfg
    return VisionTransformer(
        model, f"{config.kind}:{config.name} {size}px", settings["mean"], settings["std"], size, device
    )


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


def _input_size(model: nn.Module) -> int:
    size = getattr(getattr(model, "patch_embed", None), "img_size", None)
    settings: Any = model.pretrained_cfg
    return int(size[0]) if size else int(settings["input_size"][-1])


def _from_file(config: BackboneConfig, path: Path) -> nn.Module:
    if not path.is_file():
        raise BackboneError(f"weights file {path} does not exist; it must be a .safetensors file or a state dict")
    from timm.models import load_state_dict

    _refuse_unknown(config.name)
    try:
        return _with_state(config, load_state_dict(str(path)))
    except BackboneError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BackboneError(
            f"weights file {path} does not hold a {config.name}: {reason[:200]}; "
            "it must be a .safetensors file or a plain state dict of the same architecture"
        ) from error


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


def _from_hub(config: BackboneConfig) -> nn.Module:
    import timm

    _refuse_unknown(config.name)
    if not timm.is_model_pretrained(config.name):
        raise BackboneError(f"timm has no weights of {config.name}; name a local file with `weights:`, {_ADVICE}")
    try:
        return _create(config.name, config.image_size, pretrained=True)
    except BackboneError:
        raise
    except Exception as error:
        from huggingface_hub.constants import HF_HUB_CACHE

        raise BackboneError(
            f"the weights of {config.source} are not in the cache {HF_HUB_CACHE} and the hub could not be reached "
            f"({type(error).__name__}); connect once, name a local file with `weights:`, {_ADVICE}"
        ) from error
