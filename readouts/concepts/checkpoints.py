"""Dictionaries of others: the paper's published checkpoints, and sae-lens' format in both directions."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from readouts.concepts.dictionary import Dictionary, DictionaryError

_PUBLISHED = {
    "bias": "tied_bias",
    "before": "pre_encoder_bias._bias_reference",
    "encoder": "encoder._weight",
    "encoder_bias": "encoder._bias",
    "decoder": "decoder._weight",
    "after": "post_decoder_bias._bias_reference",
}
_WEIGHTS, _CONFIG = "sae_weights.safetensors", "cfg.json"
_ARCHITECTURES = {"relu_l1": "standard", "topk": "topk", "gated": "gated"}


def read_dictionary(path: Path) -> Dictionary:
    """A dictionary from a file of this read-out (.safetensors), of the paper's code (.pt), or a folder of sae-lens.

    Raises:
        DictionaryError: nothing of these.
    """
    if path.is_dir():
        return from_sae_lens(path)
    if path.suffix == ".safetensors" and path.is_file():
        return Dictionary.from_bytes(path.read_bytes())
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise DictionaryError(f"{path}: is no dictionary that can be read: {error}") from error
    return from_published(state)


def content_digest(path: Path) -> str:
    """sha256 of a dictionary's file, of sae-lens' folder that of its weights; part of the identity of its cells."""
    file = path / _WEIGHTS if path.is_dir() else path
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""


def from_published(state: Mapping[str, Any]) -> Dictionary:
    """A checkpoint of the paper's code: six tensors, with an axis of size 1 for components.

    Raises:
        DictionaryError: a tensor that is missing, or of another shape.
    """
    missing = [name for name in _PUBLISHED.values() if not isinstance(state.get(name), Tensor)]
    if missing:
        raise DictionaryError(f"a published checkpoint has {', '.join(missing)}, which this one lacks")
    found: dict[str, Tensor] = {own: state[name].float() for own, name in _PUBLISHED.items()}
    if found["encoder"].ndim != 3 or found["encoder"].shape[0] != 1:
        raise DictionaryError(f"{_PUBLISHED['encoder']} must be [1 latents dim], got {list(found['encoder'].shape)}")
    _, m, d = found["encoder"].shape
    shapes = {"bias": (1, d), "before": (1, d), "after": (1, d), "encoder_bias": (1, m), "decoder": (1, d, m)}
    for own, shape in shapes.items():
        if tuple(found[own].shape) != shape:
            raise DictionaryError(f"{_PUBLISHED[own]} must be {list(shape)}, got {list(found[own].shape)}")
    if not (torch.equal(found["bias"], found["before"]) and torch.equal(found["bias"], found["after"])):
        raise DictionaryError("its three biases are one tensor in the published code; here they differ")
    return _plain(
        kind="relu_l1",
        k=0,
        encoder=found["encoder"][0],
        encoder_bias=found["encoder_bias"][0],
        decoder=found["decoder"][0].T,
        bias=found["bias"][0],
    )


def _plain(*, kind: Any, k: int, **tensors: Tensor) -> Dictionary:
    """A dictionary in units of the activations."""
    m, d = tensors["encoder"].shape
    zeros = {name: torch.zeros(m) for name in ("threshold", "gain", "magnitude_bias")} | {"centre": torch.zeros(d)}
    every = {name: one.float().contiguous() for name, one in {**zeros, **tensors}.items()}
    return Dictionary(kind, k, 1.0, **every)


def to_sae_lens(dictionary: Dictionary, folder: Path) -> None:
    """Write a folder that `SAE.load_from_disk` of sae-lens reads; centre and scale become part of the weights.

    Kinds with a followed or learned threshold become `jumprelu`, as in sae-lens itself.
    """
    one = dictionary
    architecture = _ARCHITECTURES.get(one.kind, "jumprelu")
    tensors = {
        "W_enc": (one.encoder * one.scale).T,
        "W_dec": one.decoder / one.scale,
        "b_dec": one.centre + one.bias / one.scale,
    }
    if architecture == "gated":
        tensors |= {"b_gate": one.encoder_bias, "r_mag": one.gain, "b_mag": one.magnitude_bias}
    else:
        tensors["b_enc"] = one.encoder_bias
    if architecture == "jumprelu":
        tensors["threshold"] = one.threshold
    config: dict[str, Any] = {
        "architecture": architecture,
        "d_in": one.width,
        "d_sae": one.n_atoms,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {},
    }
    if architecture == "topk":
        config["k"] = one.k
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in tensors.items()}, folder / _WEIGHTS)
    (folder / _CONFIG).write_text(json.dumps(config, indent=2), encoding="utf-8")


def from_sae_lens(folder: Path) -> Dictionary:
    """A dictionary that sae-lens saved, of the architectures standard, topk, jumprelu and gated.

    Raises:
        DictionaryError: files that are missing, another architecture, or activations that sae-lens normalised.
    """
    try:
        config: dict[str, Any] = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
        tensors = load_file(folder / _WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        raise DictionaryError(f"{folder}: is no folder of sae-lens: {error}") from error
    architecture = config.get("architecture")
    kinds = {"standard": "relu_l1", "topk": "topk", "jumprelu": "jumprelu", "gated": "gated"}
    if architecture not in kinds:
        raise DictionaryError(f"{folder}: architecture {architecture!r}; known: {', '.join(kinds)}")
    if config.get("normalize_activations", "none") != "none":
        raise DictionaryError(f"{folder}: was trained on normalised activations; save it with them folded in")
    try:
        encoder, decoder, bias = tensors["W_enc"].T, tensors["W_dec"], tensors["b_dec"]
        own = tensors["b_gate"] if architecture == "gated" else tensors["b_enc"]
        extra = {"threshold": tensors["threshold"]} if architecture == "jumprelu" else {}
        if architecture == "gated":
            extra = {"gain": tensors["r_mag"], "magnitude_bias": tensors["b_mag"]}
    except KeyError as error:
        raise DictionaryError(f"{folder}: its weights lack {error}") from error
    if not config.get("apply_b_dec_to_input", True):
        own = own + encoder @ bias
    return _plain(
        kind=kinds[architecture],
        k=int(config.get("k", 0)),
        encoder=encoder,
        encoder_bias=own,
        decoder=decoder,
        bias=bias,
        **extra,
    )
