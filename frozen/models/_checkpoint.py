"""Weights in files: the tensors of a checkpoint by their names, never running code of it."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from frozen.git_lfs import lfs_pointer
from frozen.models._base import BackboneError, UnavailableError

INDEX_ENDING = ".index.json"
"""Of files that say in which of their neighbours each tensor lies."""
_IS_INDEX = re.compile(r"(index|indices|idxs?|ids|mask|tracked)$")
_IS_WEIGHT = re.compile(r"(weight|bias|gamma|beta|lambda1|scale|token|embed|embeddings?)$")

_WRAPPER = "model."
"""What a module that holds the model as `model` puts before all its names, as training loops do."""
_OTHER_HEADS = ("transformerheads.",)
"""Classifiers of a file that stand beside a model's own: of the token refinement of Naseer et al. (2021)."""


def read_state(path: Path, what: str, chosen: str = "") -> dict[str, Tensor]:
    """The tensors of a .safetensors file, of a checkpoint of torch, or of the shards of an index.

    Args:
        path: of the file.
        what: the model whose weights they must be.
        chosen: one of several sets of weights in a checkpoint, such as model_ema.

    Raises:
        BackboneError: no file, one that holds no weights or several sets of them, or numbers that stand for others.
    """
    if not path.is_file():
        raise UnavailableError(f"weights file {path} does not exist; it must be a .safetensors file or a state dict")
    if pointer := lfs_pointer(path):
        raise BackboneError(misfit(path, what, pointer))
    if path.name.endswith(INDEX_ENDING):
        state: dict[str, Tensor] = {}
        for shard in shards(path):
            state |= read_state(path.with_name(shard), what, chosen)
        return state
    content = _content(path, what)
    state = _only_set(content, path, chosen)
    if not state:
        raise BackboneError(misfit(path, what, "it holds no weights"))
    if reason := _not_plain_numbers(state):
        raise BackboneError(misfit(path, what, reason))
    return state


def shards(index: Path) -> list[str]:
    """The files that an index names, neighbours of it.

    Raises:
        BackboneError: a file that is no index.
    """
    try:
        names = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
        if not names or any(Path(name).name != name for name in names):
            raise ValueError("it must name files of its own folder")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise BackboneError(f"{index}: is no index of weight files ({reason}); get it again") from error
    return names


def _content(path: Path, what: str) -> Any:
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals([argparse.Namespace]):  # timm's own checkpoints have one
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise anything
        raise BackboneError(misfit(path, what, error)) from error


def _only_set(content: Any, path: Path, chosen: str) -> dict[str, Tensor]:
    """One of a checkpoint's sets of weights; its own tensors, where it has no sets."""
    from timm.models import clean_state_dict

    if not isinstance(content, dict):
        return {}
    sets = {str(key): found for key, value in content.items() if (found := _tensors(value))}
    if chosen and chosen not in sets:
        there = f"there are {', '.join(sets)}" if sets else "it has none; name the file alone"
        raise BackboneError(f"weights file {path} has no set of weights {chosen!r}; {there}")
    if len(sets) > 1 and not chosen:
        raise BackboneError(
            f"weights file {path} holds several sets of weights: {', '.join(sets)}; choose one of them, such as "
            f"`weights: {path.name}#{next(iter(sets))}`"
        )
    return clean_state_dict(sets.get(chosen) or next(iter(sets.values()), None) or _tensors(content))


def unwrapped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict as a model of timm has it: without a wrapper's prefix and other classifiers than its own."""
    if state and all(name.startswith(_WRAPPER) for name in state):
        state = {name.removeprefix(_WRAPPER): tensor for name, tensor in state.items()}
    return {name: tensor for name, tensor in state.items() if not name.startswith(_OTHER_HEADS)}


def classes_in(path: Path, what: str, chosen: str = "") -> int | None:
    """How many classes the classifier of a timm model has whose weights are in a file; None where it holds none.

    Raises:
        BackboneError: what `read_state` refuses.
    """
    stat = path.stat()
    return _classes_in(path, what, chosen, stat.st_mtime_ns, stat.st_size)


@cache
def _classes_in(path: Path, what: str, chosen: str, *version: int) -> int | None:
    del version
    weight = unwrapped(read_state(path, what, chosen)).get("head.weight")
    return None if weight is None else len(weight)


def _tensors(value: Any) -> dict[str, Tensor]:
    if not isinstance(value, Mapping):
        return {}
    return {str(name): item for name, item in value.items() if isinstance(item, Tensor)}


def _not_plain_numbers(state: Mapping[str, Tensor]) -> str | None:
    """Why weights are not what their numbers say: whole numbers and eight bits need scales that are not applied."""
    for name, value in state.items():
        if value.is_floating_point() and value.element_size() > 1:
            continue
        is_wide = value.dtype in (torch.int64, torch.bool)  # of counters and indices, where they are no weights
        if value.dim() and (_IS_WEIGHT.search(name) if is_wide else not _IS_INDEX.search(name)):
            kind = str(value.dtype).removeprefix("torch.")
            return f"{name} is {kind}, as quantised weights are; get those in float32, float16 or bfloat16"
    return None


def misfit(path: Path, what: str, error: Exception | str, names: Iterable[str] = ()) -> str:
    """The sentence about a file that does not hold a model; with the `names` of the tensors that it has."""
    reason = " ".join(str(error).split()) or type(error).__name__
    parts = [
        f"weights file {path} does not hold a {what}: {reason[:200]}",
        "it must be a .safetensors file or a plain state dict of the same architecture",
    ]
    if there := sorted(names):
        ends = " .. ".join(dict.fromkeys((there[0], there[-1])))
        parts.append(f"the names in it are {ends[:200]} ({len(there)})")
    return "; ".join(parts)
