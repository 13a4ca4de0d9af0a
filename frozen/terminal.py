"""Text that came from elsewhere (names, paths, errors), written so that it cannot act on what shows it."""

from __future__ import annotations

import argparse
import gc
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from frozen.allocator import collect_rarely

_COLOURS = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_ACTING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but tab and newline
    "\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # direction, invisible, lines
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f"  # invisible: shorthand, music, tags
    "\ud800-\udfff]"  # bytes of a path that are no text
)

_INTERRUPTED = 130


def printable(text: object) -> str:
    r"""Text with control, direction and invisible characters escaped as Python and YAML write them: \x1b, \u202e.

    Tabs, newlines and the joiners of Persian, Indic scripts and emoji stay.
    """
    return _ACTING.sub(_escaped, str(text))


def on_one_line(text: object) -> str:
    r"""Printable text whose tabs and newlines are escaped as well: a name in a table or a caption."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def without_colours(text: str) -> str:
    """Text without the sequences that colour it on a terminal."""
    return _COLOURS.sub("", text)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


class Arguments(argparse.ArgumentParser):
    """Reads a command's arguments; a mistake in them is one line."""

    def error(self, message: str) -> NoReturn:
        """End the command with exit code 2."""
        complain(f"{self.prog}: {message}; `{self.prog} --help` says what there is")
        sys.exit(2)


def run_command(main: Callable[[], int]) -> NoReturn:
    """Run a command and end the process with its exit code, 130 where it was interrupted.

    There is no last look for garbage, which takes long.
    """
    collect_rarely()
    try:
        code = main()
    except KeyboardInterrupt:  # while it imports what it needs, or where it leaves nothing half done
        complain("\ninterrupted")
        code = _INTERRUPTED
    finally:
        gc.freeze()
    sys.exit(code)


def say(text: object) -> None:
    """Print a line on standard output."""
    _print(text, sys.stdout)


def complain(problem: object) -> None:
    """Print a line on standard error."""
    _print(problem, sys.stderr)


def _print(text: object, stream: Any) -> None:
    tolerate(stream)
    try:
        print(printable(text), file=stream, flush=True)
    except BrokenPipeError:
        silence(stream)


def silence(stream: Any) -> None:
    """Lead a stream whose reader has gone to nowhere, so that flushing it at exit is no error."""
    with suppress(OSError, ValueError):  # no file behind it
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def tolerate(stream: object) -> None:
    """What the stream's encoding lacks is escaped, rather than an error."""
    if getattr(stream, "errors", None) == "strict":
        with suppress(AttributeError, ValueError):  # no text layer of Python's own
            stream.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue]
