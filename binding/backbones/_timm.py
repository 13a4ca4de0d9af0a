"""Vision transformers of timm: tokens after the embedding, after every block, and after the final norm."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import resources
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
        tokens: dict[str, Tensor] = {}
        with _recording(self._model, tokens):
            tokens["final"] = self._model.forward_features(self._pixels(batch.images))  # pyright: ignore
        layout = self.description.layout
        expected = (len(batch.images), layout.n_tokens, layout.width)
        for layer, value in tokens.items():
            if tuple(value.shape) != expected:
                raise BackboneError(f"{self.identity}: layer {layer} has tokens {tuple(value.shape)}, not {expected}")
        return tokens

    def _pixels(self, images: UInt8[Any, "batch height width 3"]) -> Float[Tensor, "batch 3 height width"]:
        size = self.description.image_size
        pixels = torch.from_numpy(images).to(self._device).permute(0, 3, 1, 2).float().div(255)
        if pixels.shape[-2:] != (size, size):
            pixels = interpolate(pixels, size=(size, size), mode="bilinear", align_corners=False)
        return (pixels - self._mean) / self._std


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
        total.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


@cache
def describe_timm(name: str, image_size: int | None) -> Description:
    """A timm model's description, without its weights."""
    with torch.device("meta"):
        model = _create(name, image_size)
    return describe_model(model, _input_size(model))


def load_timm(config: BackboneConfig, device: torch.device) -> VisionTransformer:
    """A timm model with weights from the hub, from a file, or untrained.

    Raises:
        BackboneError: an unknown name, or weights that cannot be had or do not fit.
    """
    if config.kind == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
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


def _create(name: str, image_size: int | None, **options: Any) -> nn.Module:
    declare_missing_operators()
    import timm

    if not timm.is_model(name.partition(".")[0]):
        close = timm.list_models(f"*{name.partition('.')[0].partition('_')[0]}*")[:3]
        hint = f"; did you mean one of {', '.join(close)}?" if close else ""
        raise BackboneError(f"timm has no model {name!r}{hint}")
    size = {} if image_size is None else {"img_size": image_size}
    try:
        return timm.create_model(name, num_classes=0, **size, **options)
    except TypeError as error:
        if "img_size" not in str(error):
            raise
        raise BackboneError(f"timm model {name} does not take an image_size; leave it out") from error


def _input_size(model: nn.Module) -> int:
    size = getattr(getattr(model, "patch_embed", None), "img_size", None)
    settings: Any = model.pretrained_cfg
    return int(size[0]) if size else int(settings["input_size"][-1])


def _from_file(config: BackboneConfig, path: Path) -> nn.Module:
    if not path.is_file():
        raise BackboneError(f"weights file {path} does not exist")
    overlay = {"file": str(path), "custom_load": False}
    try:
        return _create(config.name, config.image_size, pretrained=True, pretrained_cfg_overlay=overlay)
    except BackboneError:
        raise
    except Exception as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise BackboneError(
            f"weights file {path} does not hold a {config.name}: {first[:200]}; "
            "it must be a .safetensors file or a plain state dict of the same architecture"
        ) from error


def _from_hub(config: BackboneConfig) -> nn.Module:
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


def _shipped_path(name: str) -> Path:
    if name not in SHIPPED:
        raise BackboneError(f"no backbone {name!r} ships with the project; there are {', '.join(SHIPPED)}")
    return Path(str(resources.files("binding.backbones") / "weights" / f"{name}.safetensors"))


@cache
def shipped_header(name: str) -> dict[str, str]:
    """Metadata of a shipped file: architecture, mean, std, and how it was trained."""
    with _shipped_path(name).open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        return json.loads(file.read(length))["__metadata__"]


def describe_shipped(name: str) -> Description:
    """A shipped model's description, from its file's header."""
    architecture = json.loads(shipped_header(name)["architecture"])
    side = architecture["img_size"] // architecture["patch_size"]
    layers = ("embed", *(str(i) for i in range(architecture["depth"])), "final")
    layout = TokenLayout(has_cls=True, n_registers=0, grid=(side, side), width=architecture["embed_dim"])
    return Description(layers, layout, architecture["img_size"])


def load_shipped(config: BackboneConfig, device: torch.device) -> VisionTransformer:
    """One of the two small ViTs that ship with the project."""
    declare_missing_operators()
    from safetensors.torch import load_file
    from timm.models.vision_transformer import VisionTransformer as Model

    header = shipped_header(config.name)
    architecture = json.loads(header["architecture"])
    if config.image_size not in (None, architecture["img_size"]) or config.weights is not None:
        raise BackboneError(f"{config.source} has its own weights and reads {architecture['img_size']} px only")
    model = Model(**architecture, num_classes=0)
    model.load_state_dict(load_file(_shipped_path(config.name)))
    mean, std = json.loads(header["mean"]), json.loads(header["std"])
    size = architecture["img_size"]
    return VisionTransformer(model, f"{config.source} {size}px", mean, std, size, device)
