"""Mistakes in a study file, as values: all of them are shown at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import NamedTuple


class StudyProblem(NamedTuple):
    """One mistake: where it stands, and a sentence saying what is wrong."""

    file: str
    """The study file, or the override that brought the mistake in."""
    line: int | None
    """Line in the file, from 1; None for what has no line."""
    path: str
    """Such as probes[1].rank; empty for the file as a whole."""
    message: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return ": ".join(part for part in (place, self.path, self.message) if part)


MOST_PROBLEMS = 30


class StudyError(ValueError):
    """A study file with mistakes; the message has a line for each of the first, in the order of the file."""

    def __init__(self, problems: Iterable[StudyProblem]) -> None:
        self.problems = tuple(sorted(dict.fromkeys(problems), key=_position))
        shown = [str(problem) for problem in self.problems[:MOST_PROBLEMS]]
        if more := len(self.problems) - len(shown):
            shown.append(f"{more:,} more mistakes are not shown")
        super().__init__("\n".join(shown))


def _position(problem: StudyProblem) -> tuple[bool, int]:
    return problem.line is None, problem.line or 0


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: the closest known one, else all of them."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
