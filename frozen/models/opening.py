"""Opens a model that ships with the project with all its parts, in a notebook as in a study.

model = open_shipped("shapes_clip_objects")
images = model.vectors(split.images(indices))
scores = model.text.scores(images, model.text.encode(["a red square", "a blue circle"]))
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from frozen.data.scenes import GRAMMAR_VERSION
from frozen.models._base import BackboneError
from frozen.models._shipped import is_of_trunk, shipped_header, shipped_path, vision_model
from frozen.models._vision import digest
from frozen.models.parts import Decoder, Head, ShippedModel, Text
from frozen.models.text_tower import AttentionalPooler, CaptionDecoder, TextConfig, TextTower
from frozen.models.words import WordTokenizer

FORMAT = 1
"""Raised when a reader of the old format would misread a file of the new one."""

_LANGUAGE = ("text", "joint", "vocabulary", "grammar", "grammar_version")
_NEEDED = {"class": ("classes",), "clip": _LANGUAGE, "coca": (*_LANGUAGE, "pooler", "decoder")}


def open_shipped(name: str, *, untrained: int | None = None) -> ShippedModel:
    """A shipped model with its head, text tower and decoder, as far as it has them.

    Args:
        name: of the model, such as shapes_clip_objects.
        untrained: a seed; the same architecture with random weights.

    Raises:
        BackboneError: no such model, or one that has no parts.
    """
    return open_file(shipped_path(name), untrained=untrained)


def shipped_decoder(name: str, device: torch.device) -> Decoder | None:
    """The trained caption decoder of a shipped model; None for one that has none.

    Raises:
        BackboneError: no such model.
    """
    if "decoder" not in shipped_header(name):
        return None
    decoder = open_shipped(name).decoder
    return decoder and decoder.to(device)


def open_file(path: Path, *, untrained: int | None = None) -> ShippedModel:
    """A model from its file; see `open_shipped`.

    Raises:
        BackboneError: a header that is not known here, or weights that are not its own.
    """
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        header: dict[str, str] = file.metadata()
        weights = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    settings = _settings(path, header)
    if digest(weights) != settings["digest"]:
        raise BackboneError(f"{path.name}: its weights are not those that its header tells of; get the file again")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(untrained or 0)
        trunk = vision_model(settings["architecture"])
        parts = _modules(settings)
    joint = weights.get("joint.weight", weights.get("head.weight"))
    if untrained is None:
        _load(path, trunk, parts, weights)
    else:
        generator = torch.Generator().manual_seed(untrained)
        assert joint is not None
        joint = torch.randn(joint.shape, generator=generator) * joint.shape[1] ** -0.5
        weights["head.bias"] = torch.zeros(joint.shape[0])
    for module in (trunk, *parts.values()):
        module.eval().requires_grad_(requires_grad=False)
    return _assemble(path.stem, settings, trunk, parts, joint, weights)


def _settings(path: Path, header: dict[str, str]) -> dict[str, Any]:
    """The header's values.

    Raises:
        BackboneError: another format, kind or grammar, or an entry that is missing.
    """
    if "format" not in header:
        raise BackboneError(f"{path.stem} is a trunk without head, text tower and decoder; use it as a backbone")
    settings = {key: json.loads(value) for key, value in header.items()}
    kind = settings.get("kind")
    if settings["format"] != FORMAT or kind not in _NEEDED:
        raise BackboneError(
            f"{path.name}: has format {settings['format']} and kind {kind!r}; this version reads format {FORMAT} and "
            f"the kinds {', '.join(_NEEDED)}; get the file that belongs to it"
        )
    missing = [key for key in ("architecture", "mean", "std", "digest", *_NEEDED[kind]) if key not in settings]
    if missing:
        raise BackboneError(f"{path.name}: its header lacks {', '.join(missing)}; get the file again")
    if settings.get("grammar_version", GRAMMAR_VERSION) != GRAMMAR_VERSION:
        raise BackboneError(
            f"{path.name}: reads captions of grammar version {settings['grammar_version']}, this version writes "
            f"{GRAMMAR_VERSION}; get the file that belongs to it"
        )
    return settings


def _modules(settings: dict[str, Any]) -> dict[str, nn.Module]:
    if settings["kind"] == "class":
        return {}
    config = TextConfig(**settings["text"])
    is_coca = settings["kind"] == "coca"
    joint = settings["joint"]["width"]
    parts: dict[str, nn.Module] = {"text": TextTower(config, joint, summary=is_coca)}
    if is_coca:
        parts["pooler"] = AttentionalPooler(config.width, **settings["pooler"])
        parts["decoder"] = CaptionDecoder(config, settings["decoder"]["depth"])
    return parts


def _load(path: Path, trunk: nn.Module, parts: dict[str, nn.Module], weights: dict[str, Tensor]) -> None:
    try:
        trunk.load_state_dict({name: value for name, value in weights.items() if is_of_trunk(name)})
        for prefix, module in parts.items():
            own = {name.partition(".")[2]: value for name, value in weights.items() if name.startswith(f"{prefix}.")}
            module.load_state_dict(own)
    except RuntimeError as error:
        raise BackboneError(f"{path.name}: its weights do not fit its header; get the file again: {error}") from error


def _assemble(
    name: str,
    settings: dict[str, Any],
    trunk: Any,
    parts: dict[str, nn.Module],
    joint: Tensor | None,
    weights: dict[str, Tensor],
) -> ShippedModel:
    mean, std = (255 * torch.tensor(settings[key]).view(3, 1, 1) for key in ("mean", "std"))

    def pixels(images: np.ndarray) -> Tensor:
        return (torch.from_numpy(images).permute(0, 3, 1, 2).float() - mean) / std

    head = text = decoder = None
    assert joint is not None
    if settings["kind"] == "class":
        head = Head(joint, weights["head.bias"], tuple(settings["classes"]))
    else:
        tower: Any = parts["text"]
        tokenizer = WordTokenizer(settings["vocabulary"][1:-2], settings["text"]["context"])
        text = Text(tokenizer, tower, joint, settings["joint"]["scale"], settings["joint"]["bias"])
        if "decoder" in parts:
            pooler: Any = parts["pooler"]
            blocks: Any = parts["decoder"]
            decoder = Decoder(tokenizer, pooler, tower, blocks)
    return ShippedModel(name, settings, trunk.forward_features, pixels, head, text, decoder)
