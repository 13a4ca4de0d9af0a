"""Cells: the points of a study's grid, and their identities."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from frozen.data.dataset import Missing
from frozen.data.spec import DatasetSpec
from frozen.models import BackboneConfig, Description
from frozen.paths import written
from frozen.plain import json_of
from frozen.readout.needs import Need

Path = tuple[str | int, ...]
"""Where in a study file something is said."""


@dataclass(frozen=True)
class Cell:
    """One measurement, which becomes one row."""

    readout: str
    """Name of the read-out that measures it."""
    dataset: DatasetSpec
    backbone: BackboneConfig
    description: Description
    """Of the backbone on this data set."""
    columns: tuple[tuple[str, object], ...]
    """Values of the read-out's dimensions, and of the columns that order them."""
    names: tuple[str, ...]
    """For people: the dimensions by which cells of one data set and backbone are told apart."""
    settings: Any
    """How it is measured: a frozen value of the read-out's."""
    identity: tuple[tuple[str, object], ...]
    """All that the measurement depends on, as the study says it: plain or frozen values by name."""
    needs: tuple[tuple[str, Need], ...] = ()
    """By a name of the read-out's."""
    gives: tuple[str, ...] = ()
    """Names of the products it makes."""
    control: str | None = None
    """Control of a backbone: random_init or shuffled."""
    control_of: str | None = None
    """Source of the backbone it is a control of."""
    seed: int = 0
    """Of what the engine draws for it: the order of the control `shuffled`."""
    absent: tuple[Missing, ...] = ()
    """Files that the read-out's keys name and that are not there: a plan says so, and a run does not begin."""

    @cached_property
    def cell_id(self) -> str:
        """Hash of everything the measurement depends on, as the study file says it; data and weights apart."""
        content = {name: json_of(value) for name, value in self.identity}
        if self.control is not None:
            content |= {"control": json.dumps(self.control), "control_of": json.dumps(self.control_of)}
        text = ", ".join(f"{json.dumps(name)}: {content[name]}" for name in sorted(content))
        return hashlib.sha256(f"{{{text}}}".encode()).hexdigest()[:20]

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        """Of names only, once: grids have many cells, and hashing all their settings again and again takes long.

        The same in every process, because it travels with the cell.
        """
        return zlib.crc32("|".join((self.dataset.name, self.label, *self.names)).encode())

    @property
    def name(self) -> str:
        """For people: data set, backbone and dimensions; the id tells apart what differs in settings only."""
        return f"{' · '.join((self.dataset.name, self.label, *self.names))} ({self.cell_id[:8]})"

    @property
    def is_control(self) -> bool:
        """Whether it is a control: of a backbone, or an input whose answer is known beforehand."""
        return self.control is not None or self.description.is_control

    @property
    def label(self) -> str:
        """The backbone's source, the control's name, or both."""
        if self.control is not None:
            return f"{self.control}:{self.control_of}"
        return self.backbone.name if self.description.is_control else written(self.backbone.source)

    def column(self, name: str) -> object:
        """The value of a dimension."""
        return dict(self.columns)[name]

    def needs_of(self, kind: type[Any]) -> Iterator[tuple[str, Any]]:
        """The needs of one kind, with their names."""
        return ((name, need) for name, need in self.needs if isinstance(need, kind))


class LeftOut(NamedTuple):
    """Cells of the grid that cannot be measured, and why."""

    where: str
    reason: str


class Mistake(NamedTuple):
    """Something a study asks for that does not exist, and where it asks for it."""

    path: Path
    message: str
