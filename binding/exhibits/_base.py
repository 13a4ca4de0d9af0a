"""What an exhibit is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from matplotlib.figure import Figure

Drawing: TypeAlias = Figure | Mapping[str, Any] | bytes
"""A matplotlib figure, a Vega-Lite specification, or a PNG."""


class Exhibit(NamedTuple):
    """A titled drawing of a report; drawn only when the report is written, so that one failure stays alone."""

    title: str
    caption: str
    alternative: str
    """What the drawing shows, for readers who cannot see it."""
    draw: Callable[[], Drawing]
    """Draws it. Where the values of a Vega-Lite specification have the fields dataset, backbone, mode or probe,
    the filters of the report apply to them."""
