"""What a language model is asked of a caption."""

from __future__ import annotations

from readouts.captions.categories.names import CATEGORIES

VERSION = 1
"""Raised when the words change; a part of the key of stored answers."""


def messages(caption: str) -> list[dict[str, str]]:
    """The conversation: the task, two worked examples, and the caption."""
    return [
        {"role": "system", "content": _SYSTEM},
        {"role": "user", "content": "two brown dogs running on a beach"},
        {"role": "assistant", "content": _CLEAN},
        {"role": "user", "content": "red 's wqe red -"},
        {"role": "assistant", "content": _GARBAGE},
        {"role": "user", "content": caption},
    ]


_SYSTEM = (
    "You label the parts of image captions. Split the caption into its meaningful parts (a word, or words that "
    "belong together, such as 'ice cream'). Keep parts that are repeated. Leave out pieces that are no words, such "
    "as \"'s\" or '-'. Give every part up to three labels from this list, the best one first: "
    f"{', '.join(CATEGORIES)}. Use UNKNOWN for what you do not understand; do not guess. Answer with one JSON "
    'object and nothing else: {"part": ["label", "label", "label"], ...}, with "" where there are fewer than three '
    "labels."
)
_CLEAN = (
    '{"two": ["quantity & number & size", "", ""], "brown": ["color", "", ""], "dogs": ["animal", "", ""], '
    '"running": ["action", "", ""], "on": ["position", "preposition", ""], "beach": ["outdoor scene", "nature", ""]}'
)
_GARBAGE = '{"red": ["color", "", ""], "wqe": ["UNKNOWN", "", ""], "red": ["color", "", ""]}'
