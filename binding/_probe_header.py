"""What a file of probes says of itself, held against its tensors before any of them is read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, Json, JsonValue, TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor

from binding.fit import Fitted
from binding.probes import FAMILIES, HeadShape, Probe, Target
from frozen.capture.views import Mode
from frozen.data.scenes.codes import FeatureGroup, FeatureSpace
from frozen.models import BackboneConfig
from frozen.problems import ConfigurationError, did_you_mean, shorten
from frozen.rows import Standardizer

VERSION = "1"
MOST_HEADS = 4096
"""Objects, and features, of a file's space: heads are decoded one after the other, and each sees those before it."""
_MOST_SEEDS = 100
_MOST_PIXELS_A_SIDE = 2048


class ProbeFileError(ValueError):
    """A file that holds no tuned probes, or none that can be used as asked."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)


class _SaidFit(_Strict):
    """A trained probe."""

    family: str
    hyperparameters: dict[str, JsonValue]
    shape: HeadShape
    best_epoch: int = Field(ge=0)
    validation_bits: float
    parameters: list[str]


class _Said(_Strict):
    """The metadata of a file: texts, most of them JSON."""

    binding_probes: Literal["1"]
    layer: str
    mode: Mode
    dtype: str
    space: Json[list[FeatureGroup]]
    backbone: Json[BackboneConfig]
    targets: Json[dict[Target, list[_SaidFit]]]
    about: Json[dict[str, JsonValue]]


@dataclass
class ProbeHeader:
    """The header of a file that is open.

    Attributes:
        said: its metadata, each value of the right kind.
        space: of the objects and features.
    """

    said: _Said
    space: FeatureSpace
    _file: Any
    _read: set[str]

    @classmethod
    def open(cls, path: Path) -> ProbeHeader:
        """Read and check the metadata.

        Raises:
            ProbeFileError: no such file, one of another kind, or metadata that is not as it is written.
        """
        if not path.is_file():
            raise ProbeFileError("no such file")
        try:
            file: Any = safe_open(str(path), "pt")
            metadata = file.metadata() or {}
        except (OSError, SafetensorError) as error:
            raise ProbeFileError(f"cannot be read as a safetensors file: {error}") from error
        if metadata.get("binding_probes") != VERSION:
            raise ProbeFileError("holds no tuned probes; they lie in results/NAME/probes/CELL.safetensors")
        try:
            said = _Said.model_validate(metadata)
        except ValidationError as error:
            raise ProbeFileError(_first(error)) from None
        _bound(said)
        return cls(said, _space(said.space), file, set())

    def close(self) -> None:
        """Close the file."""
        self._file.__exit__(None, None, None)

    def fits(self) -> dict[Target, list[Fitted]]:
        """The trained probes of each target, one for each seed.

        Raises:
            ProbeFileError: what is said of them fits neither space nor tensors.
        """
        found: dict[Target, list[Fitted]] = {}
        for target, fits in self.said.targets.items():
            found[target] = [self._fit(f"{target}.{seed}", target, one) for seed, one in enumerate(fits)]
        if extra := sorted(set(self._file.keys()) - self._read - {"standardizer.mean", "standardizer.deviation"}):
            raise ProbeFileError(f"tensor {shorten(extra[0])}: belongs to no probe of the file")
        return found

    @cached_property
    def width(self) -> int:
        """Channels of the activations that the probes read."""
        for target, fits in self.said.targets.items():
            width = fits[0].shape.z_dim
            if target != "given" and width < 1:
                raise ProbeFileError(f"targets.{target}.0.shape.z_dim: must be ≥ 1, got {width}")
            if target != "given":
                return width
        raise ProbeFileError("targets: no probe of it reads activations")

    def standardizer(self) -> Standardizer | None:
        """Of the activations; None if they are read as they are.

        Raises:
            ProbeFileError: statistics of another width, or that cannot be.
        """
        names = ("standardizer.mean", "standardizer.deviation")
        there = [name for name in names if name in self._file.keys()]  # noqa: SIM118, not a mapping
        if not there:
            return None
        mean, deviation = (self._tensor(name, (self.width,), "F64").numpy() for name in names)
        if not (deviation > 0).all():
            raise ProbeFileError("tensor standardizer.deviation: must be > 0 everywhere")
        return Standardizer(mean, deviation)

    def _fit(self, name: str, target: Target, said: _SaidFit) -> Fitted:
        self._check_shape(f"targets.{name}.shape", target, said.shape)
        probe = _probe(f"targets.{name}", said)
        groups = len(self.space.groups)
        if target != "given" and (reason := probe.refuses(self.said.mode, target, groups)):
            raise ProbeFileError(f"targets.{name}.family: {reason}")
        return Fitted(
            probe=probe,
            shape=said.shape,
            parameters=self._parameters(name, probe, said) if said.parameters else None,
            best_epoch=said.best_epoch,
            validation_bits=said.validation_bits,
        )

    def _check_shape(self, field: str, target: Target, shape: HeadShape) -> None:
        """Everything but the width follows from the space and the target."""
        n_objects, n_features, sizes = self.space.n_objects, self.space.n_features, self.space.sizes
        sees_features = target in ("direct", "given")
        may_be: Mapping[str, tuple[Any, ...]] = {
            "z_dim": (0,) if target == "given" else (self.width,),
            "n_heads": (n_features,) if target == "features" else (n_objects,),
            "n_given": (n_features, 0) if sees_features else (0,),
            "group_sizes": ((),) if target == "features" else (sizes,),
        }
        for name, values in may_be.items():
            if (value := getattr(shape, name)) not in values:
                raise ProbeFileError(f"{field}.{name}: must be {_or(values)} in this file, got {shorten(str(value))}")

    def _parameters(self, name: str, probe: Probe, said: _SaidFit) -> dict[str, Tensor]:
        """Those tensors that the probe has in this shape: counted first, because a file may say any rank."""
        stored = sum(math.prod(self._shape(f"{name}.{parameter}")) for parameter in set(said.parameters))
        needed = probe.n_parameters(said.shape)
        if stored != needed:
            raise ProbeFileError(
                f"targets.{name}: a {said.family} probe of this shape has {needed:.4g} parameters, "
                f"its tensors have {stored:.4g}"
            )
        expected = probe.initial(said.shape, torch.Generator().manual_seed(0))
        if sorted(expected) != sorted(said.parameters):
            raise ProbeFileError(f"targets.{name}.parameters: must be {_or(sorted(expected), 'and')}")
        return {key: self._tensor(f"{name}.{key}", tuple(value.shape), "F32") for key, value in expected.items()}

    def _shape(self, name: str) -> tuple[int, ...]:
        try:
            return tuple(self._file.get_slice(name).get_shape())
        except SafetensorError as error:
            raise ProbeFileError(f"tensor {shorten(name)}: is not in the file") from error

    def _tensor(self, name: str, shape: tuple[int, ...], dtype: str) -> Tensor:
        found, kind = self._shape(name), self._file.get_slice(name).get_dtype()
        if found != shape or kind != dtype:
            raise ProbeFileError(f"tensor {name}: must be {dtype} {list(shape)}, got {kind} {list(found)}")
        tensor = self._file.get_tensor(name)
        if not tensor.isfinite().all():
            raise ProbeFileError(f"tensor {name}: holds numbers that are not finite")
        self._read.add(name)
        return tensor


def _bound(said: _Said) -> None:
    """Refuse what would take long, and what is empty."""
    size = said.backbone.image_size
    if size is not None and size > _MOST_PIXELS_A_SIDE:
        raise ProbeFileError(f"backbone.image_size: must be ≤ {_MOST_PIXELS_A_SIDE}, got {size}")
    for target, fits in said.targets.items():
        if not 1 <= len(fits) <= _MOST_SEEDS:
            raise ProbeFileError(f"targets.{target}: must be 1 to {_MOST_SEEDS} probes, got {len(fits)}")


def _space(groups: Sequence[FeatureGroup]) -> FeatureSpace:
    sizes = [len(group.values) for group in groups]
    if sum(sizes) > MOST_HEADS or math.prod(sizes) > MOST_HEADS:
        raise ProbeFileError(
            f"space: groups of {_or(sizes, 'x')} values make more than {MOST_HEADS:,} features or objects; "
            "probes of more are neither written nor read"
        )
    try:
        return FeatureSpace(tuple(groups))
    except ConfigurationError as error:
        problem = error.problems[0]
        raise ProbeFileError(f"space: {shorten(problem.field)}: {_cut(problem.message)}") from None


def _probe(field: str, said: _SaidFit) -> Probe:
    if said.family not in FAMILIES:
        reason = FAMILIES.fault(said.family) or "the package that offers it is not installed"
        raise ProbeFileError(f"{field}.family: these are probes of the family {shorten(said.family)!r}: {reason}")
    family = FAMILIES[said.family]
    names = [item.name for item in fields(family)]
    for name in said.hyperparameters:
        if name not in names:
            raise ProbeFileError(
                f"{field}.hyperparameters: {said.family} has no {shorten(name)!r}; {did_you_mean(name, names)}"
            )
    try:
        return TypeAdapter(family).validate_python(said.hyperparameters)
    except ValidationError as error:
        raise ProbeFileError(f"{field}.hyperparameters.{_first(error)}") from None


def _first(error: ValidationError) -> str:
    """The first fault, as `field: what is wrong`."""
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(shorten(str(step)) for step in first['loc'])}: {_cut(first['msg'])}".lstrip(": ")


def _cut(text: str) -> str:
    """A message of a library, without what it quotes at length."""
    return text if len(text) <= 300 else f"{text[:297]}..."


def _or(values: Sequence[object], word: str = "or") -> str:
    texts = [shorten(str(value)) for value in values[:5]] + ["..."] * (len(values) > 5)
    return f" {word} ".join(texts)
