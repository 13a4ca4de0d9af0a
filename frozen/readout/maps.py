"""Maps of activations: fixed functions of what a place of a backbone holds, made elsewhere than where they are used.

A package offers a kind of map as an entry point of the group `frozen.maps`: a module, or an object, with the three
functions of `MapKind`. A read-out whose cells give maps as products says so with `Readout.maps`; the other read-outs
of a study of several find them in `Study.maps`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32

from frozen.capture.reductions import Reduction
from frozen.data.spec import DatasetSpec
from frozen.models import BackboneConfig
from frozen.models.joint import open_joint
from frozen.readout.needs import Product
from frozen.registry import Registry
from frozen.rows import ArrayRows

_BLOCK_NUMBERS = 2**23


@runtime_checkable
class ActivationMap(Protocol):
    """A function of single vectors, with nothing left to train."""

    @property
    def width(self) -> int:
        """Of the vectors it reads."""
        ...

    @property
    def out_width(self) -> int:
        """Of those it gives."""
        ...

    def __call__(self, x: Float32[np.ndarray, "rows width"]) -> Float32[np.ndarray, "rows out"]:
        """Every row by itself."""
        ...


@runtime_checkable
class MapKind(Protocol):
    """A kind of map, such as dictionaries."""

    def opened(self, path: Path) -> ActivationMap:
        """The map of a file.

        Raises:
            ValueError: no such map.
        """
        ...

    def digest(self, path: Path) -> str:
        """sha256 of what the map of a file is made of; part of the identity of cells that use it."""
        ...

    def from_bytes(self, content: bytes) -> ActivationMap:
        """The map of a product."""
        ...


class SelectingMapKind(MapKind, Protocol):
    """A kind of map whose coordinates are of several sorts, such as atoms that stand for features."""

    SELECTIONS: tuple[str, ...]
    """Names of the sorts."""

    def selected(self, content: bytes, selection: str) -> Bool[np.ndarray, " out"]:
        """Which coordinates are of a sort.

        Args:
            content: the product that tells them apart (`OfferedMap.selections`).
            selection: the sort.
        """
        ...


def _problem(name: str, part: object) -> str | None:
    del name
    lacks = [one for one in ("opened", "digest", "from_bytes") if not callable(getattr(part, one, None))]
    return f"must have the functions opened, digest and from_bytes, and lacks {', '.join(lacks)}" if lacks else None


MAPS: Registry[MapKind] = Registry("frozen.maps", {}, _problem)
"""Kinds of maps by name."""


@dataclass(frozen=True)
class OfferedMap:
    """A map that a cell gives, with the place whose activations it reads."""

    kind: str
    """Its name among MAPS."""
    name: str
    """For people: what tells it from others of its kind."""
    product: Product
    dataset: DatasetSpec
    """What it was made on."""
    backbone: BackboneConfig
    control: str | None
    """Control of the backbone that it was made of."""
    reads: Reduction
    """What it reads, as it is captured."""
    is_joint: bool
    """Whether what it reads is projected into the joint space of images and texts first."""
    out_width: int
    selections: tuple[tuple[str, Product], ...] = ()
    """Sorts of its coordinates that can be read alone, with the product that tells which are of each; its kind must
    be a `SelectingMapKind` then."""


class JointMap:
    """From the image's embedding to the joint space of images and texts.

    Args:
        backbone: with a joint space.

    Raises:
        BackboneError: it has none.
    """

    def __init__(self, backbone: BackboneConfig) -> None:
        self._space = open_joint(backbone)

    @property
    def width(self) -> int:
        return self._space.project.shape[1]

    @property
    def out_width(self) -> int:
        return self._space.project.shape[0]

    def __call__(self, x: Float32[np.ndarray, "rows width"]) -> Float32[np.ndarray, "rows out"]:
        return self._space.image_vectors(x)


class Mapped:
    """Rows as a map gives them, computed as they are read; fulfils `ArrayRows`.

    Args:
        array: [samples width] or [samples token width].
        of: the map.

    Raises:
        ValueError: activations of another width than the map reads.
    """

    itemsize = 4

    def __init__(self, array: ArrayRows, of: ActivationMap) -> None:
        if array.shape[-1] != of.width:
            raise ValueError(f"the map reads vectors of width {of.width}, the activations are {array.shape[-1]} wide")
        self._array, self._map = array, of

    @property
    def shape(self) -> tuple[int, ...]:
        """[samples out] or [samples token out]."""
        return (*self._array.shape[:-1], self._map.out_width)

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, rows: Any, /) -> np.ndarray:
        """The rows, float32."""
        given = np.array(self._array[rows], dtype=np.float32)
        return self._map(given.reshape(-1, self._map.width)).reshape(*given.shape[:-1], self._map.out_width)


def through(array: ArrayRows, *maps: ActivationMap) -> np.ndarray:
    """All rows after some maps, one after the other, block by block: float32 [samples out] or [samples token out]."""
    rows: ArrayRows = array
    for one in maps:
        rows = Mapped(rows, one)
    whole = np.empty(rows.shape, dtype=np.float32)
    step = max(1, _BLOCK_NUMBERS // max(1, int(np.prod(rows.shape[1:]))))
    for start in range(0, len(whole), step):
        whole[start : start + step] = rows[start : start + step]
    return whole
