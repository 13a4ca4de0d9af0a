"""Tuned probes as safetensors files: enough to read the same activations of new images with them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from binding.fit import Fitted
from binding.measurement import Measurement
from binding.probes import FAMILIES, HeadShape, Target
from frozen.capture.views import Mode
from frozen.data.scenes.codes import FeatureGroup, FeatureSpace
from frozen.models import BackboneConfig, TokenNames
from frozen.rows import Standardizer

_VERSION = "1"


class ProbeFileError(ValueError):
    """A file that holds no tuned probes, or none that can be used as asked."""


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
        """The file, with as many seeds of every target as fit; None if not even one does."""
        most_seeds = max(len(fits) for fits in self.targets.values())
        for n_seeds in range(most_seeds, 0, -1):
            tensors = self._tensors(n_seeds)
            if sum(tensor.nbytes for tensor in tensors.values()) <= most_bytes:
                return save(tensors, self._metadata(n_seeds))
        return None

    def _tensors(self, n_seeds: int) -> dict[str, Tensor]:
        """By name: TARGET.SEED.PARAMETER, standardizer.mean and standardizer.deviation."""
        tensors = {
            f"{target}.{seed}.{name}": value.cpu().contiguous()
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
        return {"binding_probes": _VERSION, "layer": self.layer, "mode": self.mode, "dtype": self.dtype, **texts}

    @classmethod
    def of(cls, measurement: Measurement, **where: Any) -> ProbeFile:
        """The probes of a measurement; `where` are the other attributes."""
        fits: dict[Target, list[Fitted]] = {name: result.fits for name, result in measurement.targets.items()}
        return cls(standardizer=measurement.standardizer, targets=fits, **where)

    @classmethod
    def read(cls, path: str | Path) -> ProbeFile:
        """Read a file.

        Raises:
            ProbeFileError: no such file, or one of another kind.
        """
        try:
            with safe_open(str(path), "pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, not a mapping
                metadata = file.metadata() or {}
        except (OSError, SafetensorError) as error:
            raise ProbeFileError(f"{path} cannot be read as a safetensors file: {error}") from error
        if metadata.get("binding_probes") != _VERSION:
            raise ProbeFileError(f"{path} holds no tuned probes; they lie in results/NAME/probes/CELL.safetensors")
        return cls._parsed(tensors, metadata)

    @classmethod
    def _parsed(cls, tensors: dict[str, Tensor], metadata: Mapping[str, str]) -> ProbeFile:
        mean = tensors.get("standardizer.mean")
        groups = [FeatureGroup(group["name"], tuple(group["values"])) for group in json.loads(metadata["space"])]
        mode: Any = metadata["mode"]
        return cls(
            space=FeatureSpace(tuple(groups)),
            backbone=_backbone(json.loads(metadata["backbone"])),
            layer=metadata["layer"],
            mode=mode,
            dtype=metadata["dtype"],
            standardizer=None
            if mean is None
            else Standardizer(mean.numpy(), tensors["standardizer.deviation"].numpy()),
            targets={
                target: [_restored(one, tensors, f"{target}.{seed}.") for seed, one in enumerate(fits)]
                for target, fits in json.loads(metadata["targets"]).items()
            },
            about=json.loads(metadata["about"]),
        )

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


def _restored(described: Mapping[str, Any], tensors: Mapping[str, Tensor], prefix: str) -> Fitted:
    family = described["family"]
    if family not in FAMILIES:
        reason = FAMILIES.fault(family) or "the package that offers it is not installed"
        raise ProbeFileError(f"these are probes of the family {family!r}: {reason}")
    shape = {**described["shape"], "group_sizes": tuple(described["shape"]["group_sizes"])}
    return Fitted(
        probe=FAMILIES[family](**described["hyperparameters"]),
        shape=HeadShape(**shape),
        parameters={name: tensors[prefix + name] for name in described["parameters"]} or None,
        best_epoch=described["best_epoch"],
        validation_bits=described["validation_bits"],
    )


def _backbone(given: dict[str, Any]) -> BackboneConfig:
    tokens = given["tokens"]
    parts: dict[str, Any] = {**given, "tokens": TokenNames(**{**tokens, "grid": tuple(tokens["grid"])})}
    return BackboneConfig(**parts)
