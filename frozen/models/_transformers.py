"""Vision transformers of Hugging Face's transformers; of models with two towers, the vision tower alone."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from inspect import signature
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from frozen.models._base import BackboneError, Description, TokenLayout, dropped_pixels
from frozen.models._checkpoint import INDEX_ENDING, misfit, read_state, shards
from frozen.models._config import BackboneConfig
from frozen.models._hub import Repository
from frozen.models._parts import probe
from frozen.models._preprocessing import Preprocessing, read_preprocessing
from frozen.models._torchvision_ops import declare_missing_operators
from frozen.models._vision import ADVICE, Tower, VisionTransformer, check_image_size

_SETTINGS = "config.json"
_PROCESSORS = ("preprocessor_config.json", "processor_config.json")
_WEIGHTS = tuple(
    name + ending for name in ("model.safetensors", "pytorch_model.bin") for ending in ("", INDEX_ENDING)
)


class Family(NamedTuple):
    """How models of one type are built.

    Attributes:
        blocks: path of the transformer blocks.
        norm: path of the final norm where the model's own output comes before it; empty where it comes after.
        has_cls: whether token 0 is a CLS token.
        options: of the constructor, to leave out heads behind the tokens.
        overrides: settings that are replaced, for the same reason or to see every patch.
    """

    blocks: str
    has_cls: bool
    norm: str = ""
    options: tuple[tuple[str, Any], ...] = ()
    overrides: tuple[tuple[str, Any], ...] = ()


FAMILIES = {
    "dinov2": Family("encoder.layer", has_cls=True),
    "dinov2_with_registers": Family("encoder.layer", has_cls=True),
    "dinov3_vit": Family("model.layer", has_cls=True),
    "clip_vision_model": Family("encoder.layers", has_cls=True, norm="post_layernorm"),
    "siglip_vision_model": Family("encoder.layers", has_cls=False, overrides=(("vision_use_head", False),)),
    "vit": Family("layers", has_cls=True, options=(("add_pooling_layer", False),)),
    "vit_mae": Family("layers", has_cls=True, overrides=(("mask_ratio", 0.0),)),
    "ijepa": Family("layers", has_cls=False, options=(("add_pooling_layer", False),)),
}


class Folder(NamedTuple):
    """A folder written by `save_pretrained`, in the place of a repository."""

    root: Path
    source: str

    def fetch(self, *alternatives: str, refresh: bool = False) -> Path:
        """The first of some files that the folder has."""
        del refresh
        for file in alternatives:
            if (self.root / file).is_file():
                return self.root / file
        raise BackboneError(f"{self.source}: the folder {self.root} has none of {', '.join(alternatives)}")

    def optional(self, file: str, *, refresh: bool = False) -> Path | None:
        """A file that the folder may lack."""
        del refresh
        path = self.root / file
        return path if path.is_file() else None


def is_folder(name: str) -> bool:
    """Whether a name is a path and not a repository of the hub."""
    return name.startswith((".", "/", "~"))


def _place(config: BackboneConfig) -> Repository | Folder:
    name = config.architecture
    if is_folder(name):
        return Folder(Path(name).expanduser(), config.source)
    repository, _, revision = name.partition("@")
    return Repository(repository, revision or None, config.source)


def describe_transformers(config: BackboneConfig) -> Description:
    """A transformers model's description, from its settings alone.

    Raises:
        BackboneError: settings that cannot be had, or an architecture whose tokens have no known layout.
    """
    return _described(_place(config), config.image_size)


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
            raise BackboneError(f"{place.source}: its {_SETTINGS} makes no model: {reason}") from error
    return tower._replace(notes=(*tower.notes, *_preprocessing(place, size).notes)).describe(size)


def load_transformers(config: BackboneConfig, device: torch.device) -> VisionTransformer:
    """A transformers model with weights from the hub, a folder or a file, or untrained.

    Raises:
        BackboneError: a model that cannot be had, or weights that do not fit it.
    """
    place = _place(config)
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
    return f"{prefix}folder:{hashlib.sha256(folder.fetch(_SETTINGS).read_bytes()).hexdigest()[:16]}"


def fetch_transformers(config: BackboneConfig, *, refresh: bool = False) -> list[Path]:
    """Every file that loading a model reads, downloaded if need be.

    Raises:
        BackboneError: a file that cannot be had.
    """
    place = _place(config)
    files = [place.fetch(_SETTINGS, refresh=refresh), *_processors(place, refresh=refresh)]
    if config.kind == "random" or config.weights is not None:
        return files
    return files + _weight_files(place, refresh=refresh)


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
    arguments = _arguments(model, rows * columns)

    def run(pixels: Tensor) -> Tensor:
        return norm(model(pixels, **arguments(pixels)).last_hidden_state)

    parts, notes = [probe(block) for block in blocks], dropped_pixels(image_size, side)
    return Tower(model, list(blocks), run, layout, parts, notes=notes)


def _arguments(model: nn.Module, n_patches: int) -> Callable[[Tensor], dict[str, Any]]:
    """What a model has to be told so that it takes any image size and keeps all patches in their order."""
    known = signature(model.forward).parameters
    fixed = {"interpolate_pos_encoding": True} if "interpolate_pos_encoding" in known else {}
    if "noise" not in known:
        return lambda _pixels: fixed

    def with_noise(pixels: Tensor) -> dict[str, Any]:
        """Masked autoencoders sort their patches by noise, even where none is masked."""
        order = torch.arange(n_patches, dtype=torch.float32, device=pixels.device)
        return {**fixed, "noise": order.expand(len(pixels), -1)}

    return with_noise


@contextmanager
def _library(source: str) -> Iterator[Any]:
    """The transformers library, with nothing to say of its own.

    Raises:
        BackboneError: it is not installed.
    """
    declare_missing_operators()
    try:
        import transformers
    except ImportError as error:
        raise BackboneError(
            f"{source} needs the transformers library; install it with `pip install binding-sweep[hf]`"
        ) from error
    logger = logging.getLogger("transformers")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    transformers.utils.logging.disable_progress_bar()
    try:
        yield transformers
    finally:
        logger.setLevel(level)


def _settings(place: Repository | Folder) -> Any:
    """Settings of the vision tower."""
    path = place.fetch(_SETTINGS)
    with _library(place.source) as transformers:
        from huggingface_hub.errors import StrictDataclassError

        reader = transformers.AutoConfig
        try:
            whole = reader.from_pretrained(path.parent, local_files_only=True)
        except (OSError, ValueError, TypeError, StrictDataclassError) as error:
            reason = " ".join(str(error).split())[:200]
            raise BackboneError(f"{place.source}: {path} holds no model's settings: {reason}") from error
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
    size = settings.image_size
    sides = set(size) if isinstance(size, list | tuple) else {size}
    if len(sides) != 1:
        raise BackboneError(f"{source} reads images of {tuple(size)} pixels; name a square image_size")
    return int(sides.pop())


def _untrained(settings: Any) -> nn.Module:
    with _library(settings.model_type) as transformers:
        options = dict(FAMILIES[settings.model_type].options)
        return transformers.AutoModel.from_config(settings, dtype=torch.float32, **options)


def _trained(config: BackboneConfig, place: Repository | Folder, settings: Any) -> nn.Module:
    """A model all of whose weights come from a checkpoint; text towers, heads and decoders stay in the file.

    Raises:
        BackboneError: a checkpoint that lacks some of them.
    """
    path = config.weights_file or _weight_files(place)[0]
    state = read_state(path, config.name, config.weights_set)
    with torch.device("meta"):
        cls: Any = type(_untrained(settings))
    with _library(place.source):
        try:
            model, report = cls.from_pretrained(
                None,
                state_dict=state,
                config=settings,
                dtype=torch.float32,
                local_files_only=True,
                output_loading_info=True,
                **dict(FAMILIES[settings.model_type].options),
            )
        except (RuntimeError, ValueError, TypeError, LookupError) as error:
            raise BackboneError(misfit(path, config.name, error, state)) from error
    for fault in ("missing_keys", "mismatched_keys", "error_msgs"):
        if found := sorted(map(str, report.get(fault) or ())):
            what = f"{fault.replace('_', ' ')}: {found[0]}" + f" and {len(found) - 1} more" * (len(found) > 1)
            raise BackboneError(misfit(path, config.name, what, state))
    return model


def _weight_files(place: Repository | Folder, *, refresh: bool = False) -> list[Path]:
    """The files of the weights: one, or an index and the shards that it names."""
    first = place.fetch(*_WEIGHTS, refresh=refresh)
    if not first.name.endswith(INDEX_ENDING):
        return [first]
    return [first, *(place.fetch(shard, refresh=refresh) for shard in shards(first))]


def _processors(place: Repository | Folder, *, refresh: bool = False) -> list[Path]:
    found = (place.optional(file, refresh=refresh) for file in _PROCESSORS)
    return [path for path in found if path is not None][:1]


def _preprocessing(place: Repository | Folder, image_size: int) -> Preprocessing:
    return read_preprocessing(next(iter(_processors(place)), None), place.source, image_size)
