"""Values of a study by their path, and where each of them was written."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from frozen.problems import path_text, shorten, show
from sweep.study.errors import StudyError, StudyProblem
from sweep.study.yaml import Document, Path, Value, parse

_OVERRIDE = re.compile(r"(?P<path>[^=]*)=(?P<value>.*)", re.DOTALL)
_STEP = re.compile(r"(?P<key>[A-Za-z_][A-Za-z0-9_]*)(?P<positions>(\[[0-9]{1,6}\])*)")


class Settings:
    """What a study file and its overrides say, before it is checked.

    Attributes:
        value: the plain values.
        problems: what could not be read.
        lost: paths whose value could not be read.
    """

    def __init__(self, file: str, document: Document) -> None:
        self.value = document.value
        self._file = file
        self._places: dict[Path, int | str] = dict(document.lines)
        self.problems = [
            StudyProblem(file, problem.line, path_text(problem.path), problem.message)
            for problem in document.problems
        ]
        self.lost = {problem.path for problem in document.problems if problem.is_lost}

    def problem(self, path: Path, message: str) -> StudyProblem:
        """A problem at a path, with the line of the value or of the closest one that holds it."""
        known = next((path[:n] for n in range(len(path), -1, -1) if path[:n] in self._places), ())
        place = self._places.get(known, 1)
        if isinstance(place, str):
            return StudyProblem(place, None, path_text(path), message)
        return StudyProblem(self._file, place, path_text(path), message)

    def view(self, value: Value, origins: Mapping[Path, Path]) -> Settings:
        """Some of the values arranged as another file would have them; mistakes there are told where they stand here.

        Args:
            value: the values, arranged.
            origins: paths of the view and the paths here that they and all below them come from.
        """
        return _View(self, value, origins)

    def override(self, text: str) -> None:
        """Replace or add one setting: `fit.epochs=5`."""
        origin = f"override {shorten(text)}"
        match = _OVERRIDE.fullmatch(text)
        path = None if match is None else _parsed_path(match["path"].strip())
        if match is None or path is None:
            message = "expected key=value with a key such as fit.epochs or datasets[0].n_colors"
            self.problems.append(StudyProblem(origin, None, "", message))
            return
        document = parse(match["value"])
        if document.problems:
            self.problems += [
                StudyProblem(origin, None, path_text((*path, *problem.path)), problem.message)
                for problem in document.problems
            ]
            return
        refusal = self._put(path, document.value, origin)
        if refusal is not None:
            self.problems.append(StudyProblem(origin, None, "", refusal))

    def _put(self, path: Path, value: Value, origin: str) -> str | None:
        """Set a value; returns why it cannot be done, or None."""
        holder, last = self.value, len(path) - 1
        for depth, step in enumerate(path):
            if isinstance(step, int) and not isinstance(holder, list):
                return f"{path_text(path[:depth])} is {show(holder)}, not a list"
            if isinstance(step, str) and not isinstance(holder, dict):
                return f"{path_text(path[:depth]) or 'the file'} is {show(holder)}, not a mapping"
            if isinstance(step, int) and isinstance(holder, list) and step >= len(holder):
                return f"{path_text(path[:depth])} has {len(holder)} entries, there is no [{step}]"
            if depth == last:
                holder[step] = value  # pyright: ignore
            elif isinstance(holder, dict) and step not in holder:
                holder[str(step)] = {}
                self._places[path[: depth + 1]] = origin
            holder = holder[step]  # pyright: ignore
        for old in [known for known in self._places if known[: len(path)] == path]:
            del self._places[old]
        self._places[path] = origin
        return None


class _View(Settings):
    """Values of other settings, arranged anew."""

    def __init__(self, whole: Settings, value: Value, origins: Mapping[Path, Path]) -> None:
        self.value, self._whole, self._origins = value, whole, origins
        self.problems = []
        self.lost = {
            (*path, *lost[len(origin) :])
            for lost in whole.lost
            for path, origin in origins.items()
            if lost[: len(origin)] == origin
        }

    def problem(self, path: Path, message: str) -> StudyProblem:
        known = next((path[:n] for n in range(len(path), -1, -1) if path[:n] in self._origins), None)
        return self._whole.problem(path if known is None else (*self._origins[known], *path[len(known) :]), message)


def _parsed_path(text: str) -> Path | None:
    path: list[str | int] = []
    for part in text.split("."):
        match = _STEP.fullmatch(part)
        if match is None:
            return None
        path += [match["key"], *(int(number) for number in re.findall(r"[0-9]+", match["positions"]))]
    return tuple(path)


def read_settings(file: str, text: str, overrides: Sequence[str]) -> Settings:
    """Parse a study file's text and apply overrides in their order.

    Raises:
        StudyError: the text is no mapping, so that there is nothing to check.
    """
    settings = Settings(file, parse(text))
    if () in settings.lost:
        raise StudyError(settings.problems)
    if not isinstance(settings.value, dict):
        got = (
            "the file is empty" if settings.value is None else f"expected keys and values, got {show(settings.value)}"
        )
        raise StudyError([*settings.problems, settings.problem((), got)])
    for override in overrides:
        settings.override(override)
    return settings
