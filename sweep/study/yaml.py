"""YAML as plain values with line numbers, by the rules of YAML 1.2 and without any of its traps.

PyYAML reads 1e-3 as text and `no` as false, keeps the last of duplicate keys, follows aliases and makes
objects of tags. So only its events are used; what a scalar means is decided here.
"""

from __future__ import annotations

import math
import os
import re
from pathlib import Path as FilePath
from typing import Any, NamedTuple

import yaml

from frozen.problems import shorten, show
from frozen.terminal import printable
from sweep.study.errors import StudyError, StudyProblem

Scalar = str | int | float | bool | None
Value = Scalar | list[Any] | dict[str, Any]
Path = tuple[str | int, ...]
"""Keys and positions that lead to a value, such as ("probes", 1, "rank")."""

MOST_BYTES = 1_000_000
MOST_LEVELS = 32

_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_ELSEWHERE = "?"  # stands in paths for a key that cannot be used


class YamlProblem(NamedTuple):
    """Something that is not accepted."""

    path: Path
    line: int
    message: str
    is_lost: bool
    """Whether the value at `path` could not be read, so that nothing more can be said about it."""


class Document(NamedTuple):
    """A YAML text: its value, the line of each path, and what is not accepted."""

    value: Value
    lines: dict[Path, int]
    problems: list[YamlProblem]


def read_text(path: str | os.PathLike[str]) -> str:
    """Text of a file.

    Raises:
        StudyError: no readable file of at most 1 MB of UTF-8 there.
    """
    try:
        with FilePath(path).open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise _unreadable(path, "there is no such file") from None
    except IsADirectoryError:
        raise _unreadable(path, "this is a folder, expected a file") from None
    except OSError as error:
        raise _unreadable(path, f"cannot be read: {error.strerror}") from None
    if len(content) > MOST_BYTES:
        raise _unreadable(path, f"larger than {MOST_BYTES} bytes, which no study file is")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _unreadable(path, f"not UTF-8 text, got byte 0x{content[error.start]:02x}", line) from None


def _unreadable(path: str | os.PathLike[str], message: str, line: int | None = None) -> StudyError:
    return StudyError([StudyProblem(os.fspath(path), line, "", message)])


def parse(text: str) -> Document:
    """Read a text of one YAML document; never raises."""
    reader = _Reader(text)
    try:
        value = reader.document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        sentence = ", ".join(part for part in (error.problem, error.context) if part)
        return reader.stopped(f"not valid YAML: {sentence}", 1 if mark is None else mark.line + 1)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        return reader.stopped(f"the character U+{int(error.character):04X} is not allowed in YAML", line)
    except _TooDeepError as error:
        return reader.stopped(f"nested more than {MOST_LEVELS} levels deep", error.line)
    except (ValueError, OverflowError):  # PyYAML hands "\Uffffffff" to chr(), and any %YAML version to int()
        return reader.stopped("not valid YAML: an escape names no character, or a number is too long", reader.line)
    return Document(value, reader.lines, reader.problems)


def resolve(text: str) -> Scalar:
    """What an unquoted scalar means.

    Raises:
        ValueError: a number that is not finite or has more than 64 bits.
    """
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        number = int(text, base) if len(text) < 100 else 2**64
        if not -(2**63) <= number < 2**63:
            raise ValueError(f"must fit in 64 bits, got {shorten(text)}")
        return number
    if _NOT_FINITE.fullmatch(text) or (_FLOAT.fullmatch(text) and not math.isfinite(float(text))):
        raise ValueError(f"must be a finite number, got {shorten(text)}")
    return float(text) if _FLOAT.fullmatch(text) else text


class _TooDeepError(Exception):
    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


class _Reader:
    """Builds the value of a document from PyYAML's events."""

    def __init__(self, text: str) -> None:
        self.lines: dict[Path, int] = {}
        self.problems: list[YamlProblem] = []
        self.line = 1
        self._events = yaml.parse(text, Loader=yaml.SafeLoader)
        self._level = 0

    def stopped(self, message: str, line: int) -> Document:
        """What remains of a document that could not be read to its end."""
        self._refuse((), message, line, is_lost=True)
        return Document(None, self.lines, self.problems)

    def document(self) -> Value:
        self._next()
        if isinstance(self._next(), yaml.StreamEndEvent):
            return None
        value = self._value(self._next(), ())
        self._next()
        if not isinstance(self._next(), yaml.StreamEndEvent):
            self._refuse((), "holds more than one YAML document, expected one")
        return value

    def _next(self) -> yaml.Event:
        event = next(self._events)
        self.line = event.start_mark.line + 1
        if isinstance(event, yaml.CollectionStartEvent):
            self._level += 1
            if self._level > MOST_LEVELS:
                raise _TooDeepError(self.line)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._level -= 1
        return event

    def _refuse(self, path: Path, message: str, line: int | None = None, *, is_lost: bool = False) -> None:
        self.problems.append(YamlProblem(path, line or self.line, message, is_lost))

    def _value(self, event: yaml.Event, path: Path) -> Value:
        self.lines.setdefault(path, self.line)
        self._refuse_extras(event, path)
        if isinstance(event, yaml.SequenceStartEvent):
            items: list[Value] = []
            while not isinstance(event := self._next(), yaml.SequenceEndEvent):
                items.append(self._value(event, (*path, len(items))))
            return items
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path)
        return self._scalar(event, path) if isinstance(event, yaml.ScalarEvent) else None

    def _refuse_extras(self, event: yaml.Event, path: Path) -> None:
        """Anchors, aliases and tags."""
        anchor, tag = getattr(event, "anchor", None), getattr(event, "tag", None)
        if isinstance(event, yaml.AliasEvent):
            message = f"aliases are not supported, got *{shorten(str(anchor))}; write the value again"
            self._refuse(path, message, is_lost=True)
        elif anchor is not None:
            self._refuse(path, f"anchors are not supported, got &{shorten(anchor)}")
        if tag is not None:
            name = tag.replace("tag:yaml.org,2002:", "!!")
            self._refuse(path, f"tags are not supported, got {shorten(name)}", is_lost=True)

    def _scalar(self, event: yaml.ScalarEvent, path: Path) -> Scalar:
        try:
            event.value.encode()
            return resolve(event.value) if event.style is None else event.value
        except UnicodeEncodeError:
            self._refuse(path, "holds half of a surrogate pair, which is no character", is_lost=True)
        except ValueError as error:
            self._refuse(path, str(error), is_lost=True)
        return None

    def _mapping(self, path: Path) -> dict[str, Value]:
        mapping: dict[str, Value] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            line = self.line
            key = self._key(event, path)
            if key is None:
                self._value(self._next(), (*path, _ELSEWHERE))
            elif key in mapping:
                first = self.lines[*path, key]
                self._refuse((*path, key), f"duplicate key {shorten(key)!r}, first on line {first}", line)
                self._value(self._next(), (*path, _ELSEWHERE))
            else:
                self.lines[*path, key] = line
                mapping[key] = self._value(self._next(), (*path, key))
        return mapping

    def _key(self, event: yaml.Event, path: Path) -> str | None:
        """The text of a key, or None for one that cannot be used."""
        line, known = self.line, len(self.problems)
        key = self._value(event, (*path, _ELSEWHERE))
        if len(self.problems) > known:
            return None
        if key == "<<" and getattr(event, "style", None) is None:
            self._refuse(path, "merge keys are not supported, got <<; write the keys out", line)
            return None
        if not isinstance(key, str):
            self._refuse(path, f"keys must be text, got {show(key)}", line)
            return None
        return key


class _Dumper(yaml.SafeDumper):
    """Writes what `parse` reads back."""

    def ignore_aliases(self, data: object) -> bool:
        del data
        return True


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    plain = text.isascii() and re.fullmatch(r"[A-Za-z]([\w./+-]|[ :](?=\w))*", text)
    style = None if plain and text not in _WORDS else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _represent_text)


def dump_yaml(value: object) -> str:
    """YAML of plain values, small lists and mappings on one line; `load_study` reads it back unchanged."""
    text = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)
    return printable(text)  # all but plain ASCII is in double quotes, where these escapes are YAML's own
