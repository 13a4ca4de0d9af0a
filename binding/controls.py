"""Controls: backbones whose answer is known beforehand, measured on the same path as real ones (section 2.4).

The module is a library of models, `control:NAME`, found by its entry point as those of other packages are.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch.nn.functional import adaptive_avg_pool2d

from frozen.data.scenes import Scene
from frozen.data.spec import has_object_codes
from frozen.models import BackboneConfig, BackboneError, Batch, Description, Reader, TokenLayout, whole
from frozen.readout.measures import Expectation

NOISE_WIDTH = 128
ERASURE_RATE = 0.5
_LAYER = "code"
CONTROL_MEANINGS = {
    "oracle_objects": "the object code itself: all can be read, β* = 1",
    "oracle_features": "the feature code itself: all features and no binding, B*_direct = 0",
    "noise": "random numbers: nothing can be read, B*_direct = 0",
    "erased": "the object code, or nothing, with equal probability: half of all bits can be read",
    "pixels": "the mean colour of every patch: what the raw image gives away",
    "random_init": "the same backbone with random weights, never trained: what its architecture gives away",
    "shuffled": "the backbone's last layer with its samples permuted: nothing can be read, B*_direct = 0",
}
"""What each control is, and what it must give."""
_RATIO = "direct_binding_ratio"
_TOO_LOW = (
    "The probes do not learn what is there, so a small binding ratio says nothing of a layer: train longer, give "
    "more samples or tune the learning rate."
)
_TOO_HIGH = (
    "What does not bind seems to bind, so no binding ratio of this data set may be read: the declared prior is not "
    "the true one. Read V-information, or set `prior: estimated`."
)
EXPECTATIONS = (
    Expectation(control="oracle_objects", column=_RATIO, low=0.95, otherwise=_TOO_LOW),
    Expectation(control="erased", column=_RATIO, low=0.4, high=0.55, otherwise=_TOO_LOW),
    *(
        Expectation(control=name, column=_RATIO, low=low, high=high, otherwise=otherwise)
        for name in ("oracle_features", "noise", "shuffled")
        for low, high, otherwise in ((-math.inf, 0.01, _TOO_HIGH), (-0.05, math.inf, _TOO_LOW))
    ),
)
"""What the direct binding ratio of a control must be."""
CONTROL_ALIASES = {"oracle": "oracle_objects"}


class Control(ABC):
    """One token a sample, at one layer; there are no weights."""

    name: ClassVar[str]
    reads_images: bool = False
    reads_codes: ClassVar[bool] = True
    trunk = None
    head = None
    decoder = None

    def __init__(self, scene: Scene, seed: int) -> None:
        self._seed = seed
        layout = TokenLayout(has_cls=True, n_registers=0, grid=(0, 0), width=self.width(scene))
        self.description = Description((_LAYER,), layout, image_size=0, is_control=True)
        self.weights_digest = ""

    @property
    def identity(self) -> str:
        """The control's name and seed."""
        return f"control:{self.name} seed {self._seed}"

    @staticmethod
    @abstractmethod
    def width(scene: Scene) -> int:
        """Width of the vector."""

    @abstractmethod
    def vectors(self, batch: Batch) -> Float[np.ndarray, "batch dim"]:
        """One vector a sample."""

    def forward(self, batch: Batch, read: Reader = whole) -> dict[str, Any]:
        """The vectors as the only token of the only layer."""
        value = read(_LAYER, torch.from_numpy(self.vectors(batch).astype(np.float32))[:, None])
        return {} if value is None else {_LAYER: value}

    def _streams(self, batch: Batch) -> list[np.random.Generator]:
        """A random stream for each sample, the same whichever batch it comes in."""
        return [np.random.default_rng([self._seed, batch.stream, int(i)]) for i in batch.indices]


class OracleObjects(Control):
    """Z = O: everything is known, β* = 1."""

    name = "oracle_objects"

    @staticmethod
    def width(scene: Scene) -> int:
        return scene.space.n_objects

    def vectors(self, batch: Batch) -> Float[np.ndarray, "batch dim"]:
        return batch.object_codes.astype(np.float32)


class OracleFeatures(Control):
    """Z = F: all features and no binding, B* = 0."""

    name = "oracle_features"

    @staticmethod
    def width(scene: Scene) -> int:
        return scene.space.n_features

    def vectors(self, batch: Batch) -> Float[np.ndarray, "batch dim"]:
        return batch.feature_codes.astype(np.float32)


class Noise(Control):
    """Z = standard normal numbers: no information, B_O ≤ 0."""

    name = "noise"
    reads_codes = False

    @staticmethod
    def width(scene: Scene) -> int:
        del scene
        return NOISE_WIDTH

    def vectors(self, batch: Batch) -> Float[np.ndarray, "batch dim"]:
        return np.stack([stream.standard_normal(NOISE_WIDTH) for stream in self._streams(batch)])


class Erased(Control):
    """Z = O, or all zeros and a flag with probability 1/2: I(O;Z) = H(O) / 2 and I(O;Z|F) = H(O|F) / 2."""

    name = "erased"

    @staticmethod
    def width(scene: Scene) -> int:
        return scene.space.n_objects + 1

    def vectors(self, batch: Batch) -> Float[np.ndarray, "batch dim"]:
        erased = np.array([stream.random() < ERASURE_RATE for stream in self._streams(batch)])[:, None]
        return np.concatenate([np.where(erased, 0, batch.object_codes), erased], axis=1).astype(np.float32)


class Pixels(Control):
    """Z = the mean colour of each patch of an 8 x 8 grid (16 x 16 above 64 pixels): what a raw image gives away."""

    name = "pixels"
    reads_codes = False
    reads_images = True

    @staticmethod
    def width(scene: Scene) -> int:
        return 3 * _grid(scene.image_size) ** 2

    def vectors(self, batch: Batch) -> Float[np.ndarray, "batch dim"]:
        pixels = torch.from_numpy(batch.images).permute(0, 3, 1, 2).float().div(255)
        return adaptive_avg_pool2d(pixels, _grid(pixels.shape[-1])).flatten(1).numpy()


def _grid(image_size: int) -> int:
    return 8 if image_size <= 64 else 16


CONTROL_CLASSES: dict[str, type[Control]] = {
    control.name: control for control in (OracleObjects, OracleFeatures, Noise, Erased, Pixels)
}


def control_class(name: str) -> type[Control]:
    """The control of a name."""
    if name not in CONTROL_CLASSES:
        raise BackboneError(f"there is no control {name!r}; there are {', '.join(CONTROL_CLASSES)}")
    return CONTROL_CLASSES[name]


CONTROLS = tuple(CONTROL_CLASSES)
names = CONTROLS


def describe(config: BackboneConfig, scene: Scene) -> Description:
    """The one layer of a control on a data set.

    Raises:
        BackboneError: there is no such control, or the data set lacks what it is made of.
    """
    return _control(config, scene).description


def load(config: BackboneConfig, scene: Scene, device: torch.device) -> Control:
    """A control; it computes on the CPU.

    Raises:
        BackboneError: there is no such control.
    """
    del device
    return _control(config, scene)


def _control(config: BackboneConfig, scene: Scene) -> Control:
    cls = control_class(config.name)
    if cls.reads_codes and not has_object_codes(scene):
        raise BackboneError(f"the control {config.name} is made of object codes, and a data set has none")
    return cls(scene, config.seed)


def prefetch(config: BackboneConfig) -> list[Path]:
    """Controls need no download."""
    del config
    return []
