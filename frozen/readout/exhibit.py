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
