"""A console that cannot be misled by what it shows."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from io import StringIO, TextIOWrapper
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from frozen.terminal import printable, silence, tolerate


class Terminal(Console):
    """A console that shows text as it is: nothing in it is markup, an emoji's name or a control character.

    Args:
        file: where to write; standard output by default.
        width: columns; those of the terminal by default.
        in_colour: whether to write as to a terminal; by default if it is one.
    """

    def __init__(
        self, file: StringIO | TextIOWrapper | None = None, *, width: int | None = None, in_colour: bool | None = None
    ) -> None:
        tolerate(file or sys.stdout)
        super().__init__(file=file, width=width, force_terminal=in_colour, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **how: Any) -> Text:
        """A string as text, escaped before its width is measured."""
        return super().render_str(printable(text), **how)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Segments of what is to be shown, those of names and errors escaped."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)

    def on_broken_pipe(self) -> None:
        """Who reads has gone (`| head`): nothing more is shown, and the work goes on."""
        self.quiet = True
        silence(sys.stdout)
