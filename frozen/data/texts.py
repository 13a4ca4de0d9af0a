"""Texts that are read by path: words or sentences one a line, with classes or without, and templates for them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from frozen.data.dataset import DataError
from frozen.data.scenes.codes import FeatureSpace
from frozen.data.tables import TABLE_ENDINGS, read_table

TEMPLATES = Path(__file__).with_name("templates.txt")
"""A short list of templates, for photographs."""
BARE = ("{}",)
"""The template of names that are read as they are."""
_SLOT = "{}"


@dataclass(frozen=True)
class Texts:
    """Texts in an order that counts.

    Attributes:
        texts: all different.
        classes: of each text, such as animal; empty where nobody knows.
    """

    texts: tuple[str, ...]
    classes: tuple[str, ...] = ()

    @cached_property
    def fingerprint(self) -> str:
        """Hash of texts and classes."""
        lines = ["\n".join(self.texts), "\n".join(self.classes)]
        return hashlib.sha256("\x00".join(lines).encode()).hexdigest()

    def of(self, *classes: str) -> Texts:
        """The texts of some classes alone."""
        own = [pair for pair in zip(self.texts, self.classes, strict=True) if pair[1] in classes]
        return Texts(tuple(text for text, _ in own), tuple(name for _, name in own))

    def __len__(self) -> int:
        return len(self.texts)


def read_texts(path: Path) -> Texts:
    """Texts of a file, the first of equal ones.

    A file of lines has a text a line; lines that are empty or begin with # are left out. A table (csv, jsonl,
    parquet) has a column `text` or `word`, and may have a column `class`.

    Raises:
        DataError: a file that is not there, is not UTF-8, or has no text.
    """
    rows = _rows(path) if path.name.endswith(TABLE_ENDINGS) else [(line, "") for line in _lines(path)]
    found = dict[str, str]()
    for text, name in rows:
        found.setdefault(text, name)
    if not found:
        raise DataError(f"{path}: has no text; write one a line")
    return Texts(tuple(found), tuple(found.values()) if any(found.values()) else ())


def read_templates(path: Path = TEMPLATES) -> tuple[str, ...]:
    """Templates of a file, one a line; each has one {}, where the name goes.

    Raises:
        DataError: a file that is not there, or a line of another form.
    """
    templates = tuple(dict.fromkeys(_lines(path)))
    if wrong := [line for line in templates if line.count(_SLOT) != 1]:
        raise DataError(f"{path}: a template has one {_SLOT} for the name, got {wrong[0]!r}")
    if not templates:
        raise DataError(f"{path}: has no template; write one a line, such as 'a photo of a {_SLOT}.'")
    return templates


def filled(templates: Sequence[str], names: Iterable[str]) -> list[list[str]]:
    """For each name the sentences that the templates make of it, with `an` for `a` before a vowel."""
    return [[_filled(template, name) for template in templates] for name in names]


def _filled(template: str, name: str) -> str:
    before, after = template.split(_SLOT)
    starts_sentence = before in ("a ", "A ")
    if name[:1].lower() in "aeiou" and name and (before.endswith((" a ", " A ")) or starts_sentence):
        before = f"{before[:-1]}n "
    return f"{before}{name}{after}"


def scene_texts(space: FeatureSpace) -> Texts:
    """What can be named in a scene without any file: its kinds of objects as phrases, and its features as words.

    Of four colours and four shapes these are 16 phrases of class `kind` and 8 words of class `color` or `shape`.
    """
    kinds = [f"a {name}" for name in space.object_names]
    words = [(value, group.name) for group in space.groups for value in group.values]
    return Texts((*kinds, *(value for value, _ in words)), (*("kind" for _ in kinds), *(name for _, name in words)))


def _rows(path: Path) -> list[tuple[str, str]]:
    rows = None
    for columns in (("text", "class"), ("word", "class"), ("text",), ("word",)):
        try:
            rows = list(read_table(path, columns, frozenset()))
            break
        except DataError:
            if columns == ("word",):
                raise
    return [(row[columns[0]], row.get("class", "")) for row in rows or () if row[columns[0]]]


def _lines(path: Path) -> list[str]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); put the file there") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8; save it as such") from error
    return [line for line in lines if line and not line.startswith("#")]
