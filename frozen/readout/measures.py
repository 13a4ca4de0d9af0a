"""What a read-out declares of the numbers and dimensions of its rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Unit = Literal["bits", "nats", "ratio", "percent", "rank", "cosine", "count", "seconds"]
Role = Literal["panel", "line", "depth", "detail"]


@dataclass(frozen=True)
class Measure:
    """A measured quantity of a row.

    The row's columns `column`, `column_low` and `column_high` hold the estimate and its interval.
    """

    column: str
    label: str
    symbol: str
    unit: Unit
    meaning: str


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """What a control must give: at least a part of its interval lies between two bounds."""

    control: str
    """Its name as a study names it, or the source of a backbone whose answer is known; empty for every row."""
    column: str
    """Of the measure."""
    low: float = -math.inf
    high: float = math.inf
    otherwise: str
    """What it means where it does not hold, and which setting helps: a sentence."""
    where: tuple[tuple[str, str], ...] = ()
    """Only of rows with these values of dimensions."""


@dataclass(frozen=True, kw_only=True)
class DepthColumn:
    """A measure that the report of several read-outs shows layer by layer, beside those of the others.

    The read-out's dimension of role depth must be ordered by `Description.layer_number`.
    """

    name: str
    """What it says of a layer: a few words."""
    column: str
    """Of the measure."""
    where: tuple[tuple[str, str], ...] = ()
    """Only of rows with these values of dimensions or other columns; an empty text where the column is empty."""
    bounds: str = ""
    """What it is a lower bound of, in bits an image, such as `I(O;Z|F)`; such columns of two read-outs are held
    against each other image by image (`Readout.per_image`)."""


@dataclass(frozen=True, kw_only=True)
class DepthCurve(DepthColumn):
    """How much of something each layer holds, for figures over several read-outs."""

    none: float
    """What the measure is where there is nothing of it: 0, or chance."""
    full: float
    """What it is at most."""


@dataclass(frozen=True, kw_only=True)
class Headline:
    """What a report says first of each backbone: the best of some rows by one measure."""

    column: str
    """Of the measure; more is better."""
    beside: str | None = None
    """Of a measure that stands beside it."""
    where: tuple[tuple[str, str], ...] = ()
    """Only of rows with these values of dimensions."""


@dataclass(frozen=True)
class Dimension:
    """A direction of a read-out's grid, beside data set and backbone; a column of the row."""

    name: str
    """Column of the row, and key of `published` entries."""
    label: str
    """Heading in tables and figures."""
    meaning: str
    role: Role
    """panel: a panel for each value; line: a line for each; depth: the horizontal axis; detail: in tables only."""
    order: str | None = None
    """Column that orders the values: a number; None for natural order. A dimension of role depth has one."""
