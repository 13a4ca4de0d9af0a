"""Text that came from elsewhere (names, paths, errors), written so that it cannot act on what shows it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from io import StringIO, TextIOWrapper
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

_ACTING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but tab and newline
    "\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # direction, invisible, lines
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f"  # invisible: shorthand, music, tags
    "\ud800-\udfff]"  # bytes of a path that are no text
)


def printable(text: object) -> str:
    r"""Text with control, direction and invisible characters escaped as Python and YAML write them: \x1b, \u202e.

    Tabs, newlines and the joiners of Persian, Indic scripts and emoji stay.
    """
    return _ACTING.sub(_escaped, str(text))


def on_one_line(text: object) -> str:
    r"""Printable text whose tabs and newlines are escaped as well: a name in a table or a caption."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


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
        _tolerant(file or sys.stdout)
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
        _silence(sys.stdout)


def say(text: object) -> None:
    """Print a line on standard output."""
    _print(text, sys.stdout)


def complain(problem: object) -> None:
    """Print a line on standard error."""
    _print(problem, sys.stderr)


def _print(text: object, stream: Any) -> None:
    _tolerant(stream)
    try:
        print(printable(text), file=stream, flush=True)
    except BrokenPipeError:
        _silence(stream)


def _silence(stream: Any) -> None:
    """Lead a stream whose reader has gone to nowhere, so that flushing it at exit is no error."""
    with suppress(OSError, ValueError):  # no file behind it
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _tolerant(stream: object) -> None:
    """What the stream's encoding lacks is escaped, rather than an error."""
    if getattr(stream, "errors", None) == "strict":
        with suppress(AttributeError, ValueError):  # no text layer of Python's own
            stream.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue]
