"""Text towers of transformers' CLIP and SigLIP, with the projection of images into the space that they share."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from frozen.models._base import BackboneError
from frozen.models._config import BackboneConfig
from frozen.models._text_batches import Encode, in_batches
from frozen.models._transformers_files import (
    SETTINGS,
    Folder,
    Repository,
    library,
    place_of,
    tokenizer_files,
    trained,
    whole_settings,
)

_PROJECTIONS = {"clip": "visual_projection", "siglip": "", "siglip2": ""}
"""By the type of a model, the linear layer that leads from the image's embedding to the joint space; empty where the
embedding lies in it."""


class TextSide(NamedTuple):
    """What texts and images meet in.

    Attributes:
        project: float32 [joint width], from the image's embedding.
        encode: texts to float32 [texts joint], not normalised.
        scale: factor of the cosine in a score.
        offset: what a score has beside it.
    """

    project: Float32[np.ndarray, "joint width"]
    encode: Encode
    scale: float
    offset: float


def transformers_text_refusal(config: BackboneConfig) -> str | None:
    """Why a model has no text tower that could be read, or None; of the model only its settings are read."""
    place = place_of(config)
    try:
        settings = whole_settings(place)
        if settings.model_type not in _PROJECTIONS:
            known = ", ".join(_PROJECTIONS)
            return f"{place.source} is a {settings.model_type} without a text tower known here; there are {known}"
        if not _PROJECTIONS[settings.model_type] and not settings.vision_config.vision_use_head:
            return f"{place.source} has no pooling head that makes an image's embedding (vision_use_head)"
        if not tokenizer_files(place):
            raise BackboneError(_no_tokenizer(place, "there is none of its files"))
    except BackboneError as error:
        return str(error)
    return None


def open_transformers_text(config: BackboneConfig) -> TextSide:
    """The text tower of a model with its weights, or with random ones, on the CPU.

    Raises:
        BackboneError: a model without one, or weights or a tokenizer that cannot be had.
    """
    if reason := transformers_text_refusal(config):
        raise BackboneError(reason)
    place = place_of(config)
    settings = whole_settings(place)
    tokenizer = _tokenizer(place)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        with library(place.source) as transformers:
            model = transformers.AutoModel.from_config(settings, dtype=torch.float32)
        if config.kind != "random":
            model = trained(type(model), config, place, settings, {})
    model: Any = model.eval().requires_grad_(requires_grad=False)
    width = int(settings.vision_config.hidden_size)
    layer = _PROJECTIONS[settings.model_type]
    project = model.get_submodule(layer).weight.numpy() if layer else np.eye(width, dtype=np.float32)
    length = int(settings.text_config.max_position_embeddings)
    needs_mask = settings.model_type == "clip"  # SigLIP was trained to see its padding

    def encode(texts: list[str]) -> Tensor:
        found = tokenizer(texts, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
        mask = {"attention_mask": found["attention_mask"]} if needs_mask else {}
        return model.get_text_features(input_ids=found["input_ids"], **mask).pooler_output

    offset = float(getattr(model, "logit_bias", 0.0))
    del model.vision_model
    return TextSide(project, in_batches(encode, len(project)), float(model.logit_scale.exp()), offset)


def _tokenizer(place: Repository | Folder) -> Any:
    """The tokenizer that lies beside the weights.

    Raises:
        BackboneError: there is none, or it cannot be read.
    """
    files = tokenizer_files(place)
    with library(place.source) as transformers:
        try:
            return transformers.AutoTokenizer.from_pretrained(files[0].parent, local_files_only=True)
        except ImportError as error:  # of SigLIP's first version; the library asks for sentencepiece itself
            raise BackboneError(_no_tokenizer(place, " ".join(str(error).split())[:160])) from error
        except Exception as error:  # damaged files can raise anything
            raise BackboneError(_no_tokenizer(place, " ".join(str(error).split())[:160])) from error


def _no_tokenizer(place: Repository | Folder, reason: str) -> str:
    return (
        f"{place.source}: no tokenizer can be read beside its {SETTINGS}: {reason}; "
        "save it there with the tokenizer's `save_pretrained`"
    )
