"""Activations that were made elsewhere, as a backbone that reads them from files."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from frozen.data.dataset import Dataset
from frozen.data.scenes import Scene
from frozen.data.spec import open_split, split_names, split_number
from frozen.models._activation_files import ActivationFile, open_file
from frozen.models._base import BackboneError, Batch, Description, Reader, TokenLayout, whole
from frozen.models._config import BackboneConfig


def describe_activations(config: BackboneConfig, scene: Scene | Dataset) -> Description:
    """Layers and token layout, from the header of the file of the data set's first split.

    Raises:
        BackboneError: a file that is not there, or other tokens than the study says.
    """
    path = split_file(config, split_names(scene)[0])
    return _description(config, path, open_file(path))


def split_file(config: BackboneConfig, split: str) -> Path:
    """The file of a split."""
    return Path(config.name.replace("{split}", split)).expanduser()


def _description(config: BackboneConfig, path: Path, file: ActivationFile) -> Description:
    tokens = config.tokens
    shape = next(iter(file.shapes.values()))
    layout = TokenLayout(tokens.has_cls, tokens.n_registers, tokens.grid, shape[-1])
    n_tokens = shape[1] if len(shape) == 3 else 1
    if n_tokens != layout.n_tokens:
        raise BackboneError(
            f"{path}: has {n_tokens} tokens a sample, `tokens` of the study describes {layout.n_tokens} "
            f"(CLS {int(tokens.has_cls)}, registers {tokens.n_registers}, grid {tokens.grid[0]} x {tokens.grid[1]})"
        )
    return Description(tuple(sorted(file.shapes, key=_depth)), layout, image_size=0)


def _depth(layer: str) -> float:
    return {"embed": -1.0, "final": float("inf")}.get(layer) or float(layer)


class Activations:
    """Rows of files, one a split, in the order of the data set's samples.

    Raises:
        BackboneError: files that differ in more than their rows, or do not have a row for each sample.
    """

    reads_images = False
    trunk = None
    head = None
    decoder = None

    def __init__(self, config: BackboneConfig, scene: Scene | Dataset) -> None:
        splits = split_names(scene)
        self._paths = [split_file(config, split) for split in splits]
        self._files = [open_file(path) for path in self._paths]
        self.description = _description(config, self._paths[0], self._files[0])
        for split, path, file in zip(splits, self._paths, self._files, strict=True):
            if (other := _description(config, path, file)) != self.description:
                ours, theirs = (f"{' '.join(d.layers)}, width {d.layout.width}" for d in (self.description, other))
                raise BackboneError(f"{path}: has the layers {theirs}; {self._paths[0].name} has {ours}")
            _check_rows(
                path, next(iter(file.shapes.values()))[0], len(open_split(scene, split)), config.tokens.first_rows
            )
        self._by_stream = dict(zip(map(split_number, splits), self._files, strict=True))

    @property
    def identity(self) -> str:
        """The token layout; the layers' names and values are in the digest."""
        return f"activations {tuple(self.description.layout)}"

    @property
    def weights_digest(self) -> str:
        """sha256 of the files' digests."""
        digests = [_digest(path, path.stat().st_size, path.stat().st_mtime_ns) for path in self._paths]
        return hashlib.sha256("".join(digests).encode()).hexdigest()

    def forward(self, batch: Batch, read: Reader = whole) -> dict[str, Any]:
        """The samples' rows as tokens of every layer."""
        values = {
            layer: read(layer, self._tokens(self._by_stream[batch.stream], layer, batch.indices))
            for layer in self.description.layers
        }
        return {layer: value for layer, value in values.items() if value is not None}

    def _tokens(self, file: ActivationFile, layer: str, indices: np.ndarray) -> Float32[Tensor, "batch token dim"]:
        runs = np.split(indices, np.flatnonzero(np.diff(indices) != 1) + 1)
        parts = [file.rows(layer, int(run[0]), int(run[-1]) + 1) for run in runs]
        layout = self.description.layout
        return torch.cat(parts).reshape(len(indices), layout.n_tokens, layout.width)


def _check_rows(path: Path, n_rows: int, n_samples: int, first_rows: bool) -> None:
    if n_rows == n_samples or (first_rows and n_rows > n_samples):
        return
    hint = "; with `first_rows: true` under `tokens` those left over are not read" if n_rows > n_samples else ""
    raise BackboneError(f"{path}: has {n_rows} rows, the data set has {n_samples} samples in this split{hint}")


@lru_cache(maxsize=64)
def _digest(path: Path, n_bytes: int, changed_at: int) -> str:
    del n_bytes, changed_at
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
