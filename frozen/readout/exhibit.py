"""What a read-out draws for the report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Exhibit(NamedTuple):
    """A titled drawing of a report; drawn only when the report is written, so that one failure stays alone."""

    title: str
    caption: str
    alternative: str
    """What the drawing shows, for readers who cannot see it."""
    draw: Callable[[], Any]
    """Makes a matplotlib figure, a Vega-Lite specification (a mapping), or a PNG (bytes).

    Where the values of a specification have the fields dataset, backbone or a dimension of the read-out, the report's
    filters apply to them. Anything raised becomes a note in the report, which is written all the same.
    """


class ShownSample(NamedTuple):
    """A test sample of a cell: what it shows, and what was read of it."""

    key: str
    """The same for equal pictures, which are drawn and kept once for all cells."""
    title: str
    loss: str
    """How badly it was read, with its unit; samples stand by it, the worst first."""
    right: tuple[str, ...]
    """What is there and was read."""
    missed: tuple[str, ...]
    """What is there and was not read."""
    invented: tuple[str, ...]
    """What was read and is not there."""
    picture: Callable[[], bytes]
    """Makes a PNG or JPEG."""
