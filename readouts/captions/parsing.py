"""What a caption says of objects: attributes, pairs of them, and a number."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from frozen.data.scenes.codes import FeatureSpace

NUMBERS = {
    "one": 1,
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "seven": 7,
    "eight": 8,
    "nine": 9,
    "ten": 10,
}
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")

Pair = tuple[int, int]
"""Values of the two groups that are bound, by their numbers in the groups."""


class Said(NamedTuple):
    """What a caption says.

    Attributes:
        values: of each group, the numbers of the values it names, each once.
        pairs: what it binds: values of the two bound groups in one phrase, each pair once.
        number: the first word that is a number; None without one.
    """

    values: tuple[frozenset[int], ...]
    pairs: frozenset[Pair]
    number: int | None


def words_of(caption: str) -> list[str]:
    """Its words in lower case, without punctuation."""
    return _WORD.findall(caption.lower())


@dataclass(frozen=True)
class Parser:
    """Reads captions in the words of a feature space.

    A phrase is a run of attribute words of different groups: "a small red cube" binds red and cube, "red and blue and
    circle" binds nothing. Words outside the space are not read, and end a phrase.

    Attributes:
        space: groups of values.
    """

    space: FeatureSpace

    @cached_property
    def bound(self) -> tuple[int, int] | None:
        """Numbers of the two groups that make a pair: colour and shape, else the first two; None without two."""
        names = [group.name for group in self.space.groups]
        if "color" in names and "shape" in names:
            return names.index("color"), names.index("shape")
        return (0, 1) if len(names) > 1 else None

    @cached_property
    def _meanings(self) -> dict[str, tuple[int, int]]:
        """Group and value of each word; a word that is a value of two groups is read as the first."""
        found: dict[str, tuple[int, int]] = {}
        for number, group in enumerate(self.space.groups):
            for value, word in enumerate(group.values):
                found.setdefault(word.lower(), (number, value))
        return found

    def read(self, caption: str) -> Said:
        """What it says."""
        words = words_of(caption)
        values: list[set[int]] = [set() for _ in self.space.groups]
        pairs: set[Pair] = set()
        phrase: dict[int, int] = {}
        for word in (*words, ""):
            meaning = self._meanings.get(word)
            if meaning is None or meaning[0] in phrase:
                pairs |= self._bound_in(phrase)
                phrase = {}
            if meaning is not None:
                phrase[meaning[0]] = meaning[1]
                values[meaning[0]].add(meaning[1])
        number = next((NUMBERS[word] for word in words if word in NUMBERS), None)
        return Said(tuple(map(frozenset, values)), frozenset(pairs), number)

    def read_all(self, captions: Sequence[str]) -> list[Said]:
        """What each of some captions says; equal captions are read once."""
        known = {text: self.read(text) for text in dict.fromkeys(captions)}
        return [known[text] for text in captions]

    def _bound_in(self, phrase: dict[int, int]) -> set[Pair]:
        if self.bound is None or not all(group in phrase for group in self.bound):
            return set()
        first, second = self.bound
        return {(phrase[first], phrase[second])}
