"""Tuned probes as safetensors files: enough to read the same activations of new images with them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from binding._probe_header import MOST_HEADS, VERSION, ProbeFileError, ProbeHeader
from binding.fit import Fitted
from binding.measurement import Measurement
from binding.probes import Target
from frozen.capture.views import Mode
from frozen.data.scenes.codes import FeatureSpace
from frozen.models import BackboneConfig
from frozen.rows import Standardizer

__all__ = ["ProbeFile", "ProbeFileError"]


@dataclass(frozen=True)
class ProbeFile:
    """The tuned probes of one cell.

    Attributes:
        space: the objects and features they tell of.
        backbone: whose activations they read.
        layer: of it.
        mode: what of the layer's tokens.
        dtype: in which activations were stored; its rounding is far below what probes see, and not repeated.
        standardizer: of the training activations; None if they are read as they are.
        targets: the trained probes, one for each kept seed.
        about: the cell's identity and digests, as its row says them.
    """

    space: FeatureSpace
    backbone: BackboneConfig
    layer: str
    mode: Mode
    dtype: str
    standardizer: Standardizer | None
    targets: Mapping[Target, list[Fitted]]
    about: Mapping[str, Any]

    def to_bytes(self, most_bytes: int) -> bytes | None:
        """The file, with as many seeds of each target as fit; None if none does, or there are too many heads."""
        if max(self.space.n_objects, self.space.n_features) > MOST_HEADS:
            return None
        most_seeds = max(len(fits) for fits in self.targets.values())
        for n_seeds in range(most_seeds, 0, -1):
            tensors = self._tensors(n_seeds)
            if sum(tensor.nbytes for tensor in tensors.values()) <= most_bytes:
                return save(tensors, self._metadata(n_seeds))
        return None

    def _tensors(self, n_seeds: int) -> dict[str, Tensor]:
        """By name: TARGET.SEED.PARAMETER, standardizer.mean and standardizer.deviation."""
        # cloned: targets may share their tensors, which the format refuses
        tensors = {
            f"{target}.{seed}.{name}": value.cpu().clone(memory_format=torch.contiguous_format)
            for target, fits in self.targets.items()
            for seed, fitted in enumerate(fits[:n_seeds])
            for name, value in (fitted.parameters or {}).items()
        }
        for name, values in {} if self.standardizer is None else self.standardizer._asdict().items():
            tensors[f"standardizer.{name}"] = torch.from_numpy(values)
        return tensors

    def _metadata(self, n_seeds: int) -> dict[str, str]:
        targets = {target: [_described(one) for one in fits[:n_seeds]] for target, fits in self.targets.items()}
        plain = {
            "space": [asdict(group) for group in self.space.groups],
            "backbone": asdict(self.backbone),
            "targets": targets,
            "about": dict(self.about),
        }
        texts = {name: json.dumps(value) for name, value in plain.items()}
        return {"binding_probes": VERSION, "layer": self.layer, "mode": self.mode, "dtype": self.dtype, **texts}

    @classmethod
    def of(cls, measurement: Measurement, **where: Any) -> ProbeFile:
        """The probes of a measurement; `where` are the other attributes."""
        fits: dict[Target, list[Fitted]] = {name: result.fits for name, result in measurement.targets.items()}
        return cls(standardizer=measurement.standardizer, targets=fits, **where)

    @classmethod
    def read(cls, path: str | Path) -> ProbeFile:
        """Read a file, of whoever made it: nothing is allocated before its header says that all fits together.

        Raises:
            ProbeFileError: no such file, one of another kind, or one whose parts do not fit together.
        """
        try:
            with closing(ProbeHeader.open(Path(path))) as header:
                return cls(
                    space=header.space,
                    backbone=header.said.backbone,
                    layer=header.said.layer,
                    mode=header.said.mode,
                    dtype=header.said.dtype,
                    standardizer=header.standardizer(),
                    targets=header.fits(),
                    about=header.said.about,
                )
        except ProbeFileError as error:
            raise ProbeFileError(f"{path}: {error}") from error

    def standardized(self, activations: np.ndarray) -> np.ndarray:
        """Activations of a backbone as the probes read them, float32."""
        if self.standardizer is None:
            return activations.astype(np.float32)
        mean, deviation = self.standardizer
        return ((activations - mean) / deviation).astype(np.float32)


def _described(fitted: Fitted) -> dict[str, Any]:
    probe = fitted.probe
    return {
        "family": probe.family,
        "hyperparameters": {item.name: getattr(probe, item.name) for item in fields(probe)},
        "shape": asdict(fitted.shape),
        "best_epoch": fitted.best_epoch,
        "validation_bits": fitted.validation_bits,
        "parameters": sorted(fitted.parameters or ()),
    }
