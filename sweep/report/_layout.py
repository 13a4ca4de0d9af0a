"""What tables and figures make of a read-out's dimensions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from frozen.readout.measures import Dimension, Role
from sweep.report._format import natural_key

Key = tuple[object, ...]
"""Orders values; compares with other keys alone."""


@dataclass(frozen=True)
class Layout:
    """A read-out's dimensions by their role."""

    declared: tuple[Dimension, ...]
    value_order: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Values of some dimensions as the study orders them; others follow in natural order."""

    @cached_property
    def dimensions(self) -> tuple[Dimension, ...]:
        """In the order of a table, which is sorted by them: depth last, so that a line's places follow each other."""
        last = () if self.depth is None else (self.depth,)
        return (*self.panels, *self.lines, *self.details, *last)

    @cached_property
    def depth(self) -> Dimension | None:
        """The horizontal axis; without one every line is a single point."""
        return next((one for one in self.declared if one.role == "depth"), None)

    @cached_property
    def panels(self) -> tuple[Dimension, ...]:
        """A panel for each combination of their values; a second dimension of depth is one of them."""
        deeper = tuple(one for one in self.declared if one.role == "depth" and one is not self.depth)
        return (*self._of("panel"), *deeper)

    @cached_property
    def lines(self) -> tuple[Dimension, ...]:
        """A line for each combination of their values."""
        return self._of("line")

    @cached_property
    def details(self) -> tuple[Dimension, ...]:
        """Of their values figures show the one with the largest estimate."""
        return self._of("detail")

    def _of(self, role: Role) -> tuple[Dimension, ...]:
        return tuple(one for one in self.declared if one.role == role)

    @property
    def numbered(self) -> Dimension | None:
        """The dimension whose value tells apart cells that share a place."""
        return next(iter((*self.lines, *self.panels, *self.details, *self.dimensions)), None)

    @property
    def across(self) -> str:
        """What stands across a heatmap: places in depth, or lines where there is no depth; empty without either."""
        return self.depth.label if self.depth else labelled(self.lines)

    def key(self, dimension: Dimension, value: str, number: float) -> Key:
        """Orders the values of a dimension: by number, as the study orders them, by name.

        Args:
            dimension: the dimension.
            value: its value, numbered namesakes (`linear #2`) after the first.
            number: of the column that orders the dimension; NaN where there is none.
        """
        order = self.value_order.get(dimension.name, ())
        name = value.partition(" #")[0]
        position = order.index(name) if name in order else len(order)
        return math.inf if math.isnan(number) else number, position, natural_key(value)


def labelled(dimensions: Sequence[Dimension]) -> str:
    """Headings of some dimensions as one: `site and head`."""
    return listed([one.label for one in dimensions])


def listed(names: Sequence[str]) -> str:
    """`a, b and c`."""
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else "".join(names)
