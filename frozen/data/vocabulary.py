"""Makes a list of English words for what can be seen: `python -m frozen.data.vocabulary words.csv`.

The words are those of WordNet among the most frequent English ones, each with the class of its most frequent
sense. Both sources are packages: `apt-get install wordnet-base` and `pip install symspellpy`, of which only a text
file is read. The list is not part of this project: where it is passed on, WordNet's licence asks for its notice.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from frozen.data.dataset import DataError
from frozen.terminal import complain, say

VISIBLE = ("animal", "artifact", "body", "food", "object", "person", "plant", "color")
"""Classes of what can be seen: WordNet's lexicographer files of nouns, and the adjectives of colour."""
_NOUN_FILES = [
    "Tops",
    "act",
    "animal",
    "artifact",
    "attribute",
    "body",
    "cognition",
    "communication",
    "event",
    "feeling",
    "food",
    "group",
    "location",
    "motive",
    "object",
    "person",
    "phenomenon",
    "plant",
    "possession",
    "process",
    "quantity",
    "relation",
    "shape",
    "state",
    "substance",
    "time",
]
"""In the order of their numbers, from 3."""
_FIRST_NOUN_FILE = 3
_PARTS = {"1": "noun", "2": "verb", "3": "adj", "4": "adv", "5": "adj"}
"""Parts of speech by their number in a sense key."""
_COLOR_HEADS = ("chromatic", "achromatic")
_COLORS = ("black", "white")
"""Heads of their own in WordNet, like neither."""
_FUNCTION_WORDS = frozenset(
    [
        "a",
        "about",
        "above",
        "after",
        "all",
        "am",
        "an",
        "and",
        "any",
        "are",
        "as",
        "at",
        "be",
        "been",
        "below",
        "but",
        "by",
        "can",
        "could",
        "did",
        "do",
        "does",
        "down",
        "for",
        "from",
        "had",
        "has",
        "have",
        "he",
        "her",
        "here",
        "hers",
        "him",
        "his",
        "how",
        "if",
        "in",
        "into",
        "is",
        "it",
        "its",
        "just",
        "like",
        "may",
        "me",
        "might",
        "mine",
        "more",
        "most",
        "must",
        "my",
        "no",
        "nor",
        "not",
        "of",
        "off",
        "on",
        "or",
        "our",
        "out",
        "over",
        "she",
        "should",
        "so",
        "some",
        "such",
        "than",
        "that",
        "the",
        "their",
        "them",
        "then",
        "there",
        "these",
        "they",
        "this",
        "those",
        "through",
        "to",
        "too",
        "under",
        "up",
        "us",
        "was",
        "we",
        "were",
        "what",
        "when",
        "where",
        "which",
        "who",
        "whom",
        "whose",
        "why",
        "will",
        "with",
        "would",
        "you",
        "your",
    ]
)
"""WordNet takes many of them for nouns: in is indium, us a country, will a testament."""
_WORDNET = Path("/usr/share/wordnet")
_FREQUENCIES = "frequency_dictionary_en_82_765.txt"
_NOTICE = (
    "words and classes: WordNet 3.0 (c) 2006 Princeton University, WordNet licence; order: symspellpy, MIT licence"
)


class Word(NamedTuple):
    """A word, its class and its place among the most frequent ones."""

    word: str
    name: str
    rank: int


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m frozen.data.vocabulary", description=__doc__)
    parser.add_argument(
        "output", type=Path, help="file to write: .csv with word, class and rank, .txt with words alone"
    )
    parser.add_argument("--wordnet", type=Path, default=_WORDNET, help="folder of index.noun and data.noun")
    parser.add_argument("--frequencies", type=Path, help="file of lines WORD COUNT; by default that of symspellpy")
    parser.add_argument("--most", type=int, default=20_000, help="how many of the most frequent words are looked up")
    parser.add_argument("--classes", nargs="+", default=list(VISIBLE), help="classes to keep; all for every one")
    arguments = parser.parse_args(argv)
    if arguments.output.suffix not in (".csv", ".txt"):
        complain(f"the output must end in .csv or .txt, got {arguments.output}")
        return 2
    try:
        frequencies = arguments.frequencies or _of_symspellpy()
        words = list(vocabulary(arguments.wordnet, frequencies, arguments.most, arguments.classes))
    except DataError as error:
        complain(str(error))
        return 2
    write(arguments.output, words)
    counts = {name: sum(word.name == name for word in words) for name in sorted({word.name for word in words})}
    say(f"{arguments.output}: {len(words):,} words: {', '.join(f'{n:,} {name}' for name, n in counts.items())}")
    say(_NOTICE)
    return 0


def _of_symspellpy() -> Path:
    found = find_spec("symspellpy")
    if found is None or found.origin is None:
        raise DataError("there is no symspellpy; `pip install symspellpy`, or give --frequencies FILE")
    return Path(found.origin).with_name(_FREQUENCIES)


def vocabulary(wordnet: Path, frequencies: Path, most: int, classes: Iterable[str] = VISIBLE) -> Iterator[Word]:
    """Words of some classes among the most frequent ones, in the order of frequency.

    A word has the class of its most frequent sense, whatever its part of speech; where WordNet has counted none,
    a noun comes first. Function words and words of fewer than three letters are left out.

    Args:
        wordnet: folder of WordNet 3.0's database files.
        frequencies: lines WORD COUNT, the most frequent first.
        most: how many of them are looked up.
        classes: lexicographer files of nouns, such as animal, or color; `all` for every word with a class.

    Raises:
        DataError: a file that is not there, or of another form.
    """
    lexicon, wanted = Lexicon(wordnet), set(classes)
    for rank, line in enumerate(_lines(frequencies)[:most], start=1):
        word = line.split()[0]
        if len(word) < 3 or not word.isalpha() or word in _FUNCTION_WORDS:
            continue
        name = lexicon.class_of(word)
        if name and ("all" in wanted or name in wanted):
            yield Word(word, name, rank)


class Lexicon:
    """Classes of words by WordNet.

    Args:
        folder: of its database files.
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / "index.noun").exists():
            raise DataError(f"{folder}: has no index.noun; `apt-get install wordnet-base`, or give --wordnet FOLDER")
        self._nouns = _first_senses(folder / "index.noun")
        self._adjectives = _first_senses(folder / "index.adj")
        self._synsets = {line[:8]: line.split(" | ")[0].split() for line in _lines(folder / "data.noun")}
        self._colors = _colors(folder / "data.adj")
        self._counts = _counts(folder / "cntlist.rev")

    def class_of(self, word: str) -> str | None:
        """Class of a word's most frequent sense: a lexicographer file of nouns, or color; None for others."""
        counts = self._counts.get(word, {})
        offset = self._nouns.get(word)
        name = None if offset is None else self._noun_class(word, self._synsets[offset])
        others = max((count for part, count in counts.items() if part != "noun"), default=0)
        is_color = word in _COLORS or self._adjectives.get(word) in self._colors
        if is_color and (name not in VISIBLE or others > counts.get("noun", 0)):
            return "color"  # rose is a plant first
        return None if others > counts.get("noun", 0) else name

    def _noun_class(self, word: str, synset: Sequence[str]) -> str | None:
        """The lexicographer file of a sense; None where the word is a name there, with a capital."""
        return _NOUN_FILES[int(synset[1]) - _FIRST_NOUN_FILE] if word in synset else None


def _first_senses(path: Path) -> dict[str, str]:
    """Offset of each word's first sense, which is the most frequent one."""
    found = {}
    for line in _lines(path):
        if not line.startswith(" "):  # the licence
            fields = line.split()
            found[fields[0]] = fields[-int(fields[2])]
    return found


def _colors(path: Path) -> set[str]:
    """Offsets of the adjectives that WordNet says are like chromatic or achromatic."""
    found = set[str]()
    for line in _lines(path):
        fields = line.split()
        if len(fields) > 4 and fields[2] == "a" and fields[4] in _COLOR_HEADS:
            found |= {other for mark, other in pairwise(fields) if mark == "&"}
    return found


def _counts(path: Path) -> dict[str, dict[str, int]]:
    """How often the most frequent sense of each word and part of speech was counted in texts."""
    found = dict[str, dict[str, int]]()
    for line in _lines(path):
        key, _, count = line.split()
        word, _, sense = key.partition("%")
        own = found.setdefault(word, {})
        own[_PARTS[sense[0]]] = max(own.get(_PARTS[sense[0]], 0), int(count))
    return found


def write(path: Path, words: Sequence[Word]) -> None:
    """A list of words, as a table with classes or as lines."""
    with path.open("w", encoding="utf-8", newline="") as file:
        if path.suffix == ".txt":
            file.writelines([f"# {_NOTICE}\n", *(f"{word.word}\n" for word in words)])
            return
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("word", "class", "rank"))
        table.writerows(words)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


if __name__ == "__main__":
    sys.exit(main())
