"""Repositories and folders of transformers' models: settings, weights and tokenizers, read by the library."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from frozen.models._base import BackboneError
from frozen.models._checkpoint import INDEX_ENDING, misfit, read_state, shards
from frozen.models._config import BackboneConfig
from frozen.models._hub import Repository
from frozen.models._torchvision_ops import declare_missing_operators

SETTINGS = "config.json"
_PROCESSORS = ("preprocessor_config.json", "processor_config.json")
_TOKENIZERS = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
    "spiece.model",
)
_WEIGHTS = tuple(
    name + ending for name in ("model.safetensors", "pytorch_model.bin") for ending in ("", INDEX_ENDING)
)


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


def place_of(config: BackboneConfig) -> Repository | Folder:
    """Where a model's files lie."""
    name = config.architecture
    if is_folder(name):
        return Folder(Path(name).expanduser(), config.source)
    repository, _, revision = name.partition("@")
    return Repository(repository, revision or None, config.source)


@contextmanager
def library(source: str) -> Iterator[Any]:
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


def whole_settings(place: Repository | Folder) -> Any:
    """Settings of the whole model, both towers of it.

    Raises:
        BackboneError: settings that cannot be had or read.
    """
    path = place.fetch(SETTINGS)
    with library(place.source) as transformers:
        from huggingface_hub.errors import StrictDataclassError

        reader = transformers.AutoConfig
        try:
            return reader.from_pretrained(path.parent, local_files_only=True)
        except (OSError, ValueError, TypeError, StrictDataclassError) as error:
            reason = " ".join(str(error).split())[:200]
            raise BackboneError(f"{place.source}: {path} holds no model's settings: {reason}") from error


def trained(
    cls: Any, config: BackboneConfig, place: Repository | Folder, settings: Any, options: dict[str, Any]
) -> nn.Module:
    """A model of a class of the library, all of whose weights come from a checkpoint.

    Raises:
        BackboneError: a checkpoint that lacks some of them.
    """
    path = config.weights_file or weight_files(place)[0]
    state = read_state(path, config.name, config.weights_set)
    with library(place.source):
        try:
            model, report = cls.from_pretrained(
                None,
                state_dict=state,
                config=settings,
                dtype=torch.float32,
                local_files_only=True,
                output_loading_info=True,
                **options,
            )
        except (RuntimeError, ValueError, TypeError, LookupError) as error:
            raise BackboneError(misfit(path, config.name, error, state)) from error
    for fault in ("missing_keys", "mismatched_keys", "error_msgs"):
        if found := sorted(map(str, report.get(fault) or ())):
            what = f"{fault.replace('_', ' ')}: {found[0]}" + f" and {len(found) - 1} more" * (len(found) > 1)
            raise BackboneError(misfit(path, config.name, what, state))
    return model


def weight_files(place: Repository | Folder, *, refresh: bool = False) -> list[Path]:
    """The files of the weights: one, or an index and the shards that it names."""
    first = place.fetch(*_WEIGHTS, refresh=refresh)
    if not first.name.endswith(INDEX_ENDING):
        return [first]
    return [first, *(place.fetch(shard, refresh=refresh) for shard in shards(first))]


def processors(place: Repository | Folder, *, refresh: bool = False) -> list[Path]:
    found = (place.optional(file, refresh=refresh) for file in _PROCESSORS)
    return [path for path in found if path is not None][:1]


def tokenizer_files(place: Repository | Folder, *, refresh: bool = False) -> list[Path]:
    """The files of a tokenizer, as far as there are any."""
    found = (place.optional(file, refresh=refresh) for file in _TOKENIZERS)
    return [path for path in found if path is not None]
