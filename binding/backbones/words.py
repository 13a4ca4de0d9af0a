"""Texts as ids of a small, closed vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

import numpy as np
from jaxtyping import Int64

PAD, START, END = "<pad>", "<start>", "<end>"


class UnknownWordError(ValueError):
    """A word that the vocabulary does not have."""


class WordTokenizer:
    """Words to ids by look-up: padding is 0, then the words, then the start, then the end with the highest id.

    Args:
        words: the vocabulary without padding, start and end.
        context: ids a text has at most, start and end among them.
    """

    def __init__(self, words: Sequence[str], context: int) -> None:
        self.vocabulary = (PAD, *words, START, END)
        self.context = context
        self.pad, self.start, self.end = 0, len(words) + 1, len(words) + 2
        self._ids = {word: i for i, word in enumerate(self.vocabulary)}

    def encode(self, texts: Sequence[str]) -> Int64[np.ndarray, "texts context"]:
        """Start, words and end of each text, padded to the context.

        Raises:
            UnknownWordError: a word outside the vocabulary.
            ValueError: a text that is too long.
        """
        ids = np.zeros((len(texts), self.context), dtype=np.int64)
        for row, text in zip(ids, texts, strict=True):
            words = text.split()
            if len(words) + 2 > self.context:
                raise ValueError(f"{text!r}: has {len(words)} words, the model reads {self.context - 2} at most")
            row[: len(words) + 2] = self.start, *map(self._id, words), self.end
        return ids

    def _id(self, word: str) -> int:
        if (found := self._ids.get(word)) is not None:
            return found
        near = get_close_matches(word, self.vocabulary, n=1, cutoff=0)
        raise UnknownWordError(
            f"unknown word {word!r}; the nearest of the {len(self.vocabulary) - 3} known is {near[0]!r}"
        )

    def decode(self, ids: Int64[np.ndarray, "texts length"]) -> list[str]:
        """The words of each row up to its end, without start and padding."""
        return [self._text(row) for row in ids.tolist()]

    def _text(self, row: list[int]) -> str:
        kept = row[: row.index(self.end)] if self.end in row else row
        return " ".join(self.vocabulary[i] for i in kept if i not in (self.pad, self.start))
