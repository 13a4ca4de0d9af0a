"""Reads each part of a study by itself, so that a mistake in one part does not hide those in another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from frozen.problems import ConfigurationError
from sweep.study.place import Settings
from sweep.study.schema import Study
from sweep.study.sentences import Sentence, sentences, value_path
from sweep.study.yaml import Path

_LOST = object()
_MOST_ATTEMPTS = 8

Made = TypeVar("Made")


class Parts:
    """The parts of a study file, checked against the schema.

    Attributes:
        study: the whole as the schema has it, or None if the schema refuses something.
        found: what is wrong, so far.
    """

    def __init__(self, settings: Settings) -> None:
        self._value: Any = _with_tuples(settings.value)
        self._lost = set(settings.lost)
        self.found: list[Sentence] = []
        self.study: Any = self._checked()

    def _checked(self) -> Any:
        keys: dict[int, tuple[str, ...]] = {}
        try:
            return Study.model_validate(self._value, context=keys)
        except ValidationError as error:
            wrong = list(sentences(error, self._value, keys))
        self.found += [sentence for sentence in wrong if not _is_within(sentence.path, self._lost)]
        self._lost |= {sentence.path for sentence in wrong}
        return None

    def raw(self, key: str, otherwise: Any) -> Any:
        """A value as the file has it."""
        return self._value.get(key, otherwise)

    def section(self, key: str, adapter: TypeAdapter) -> Any | None:
        """A section, by default an empty mapping; None if nothing can be said about it."""
        return self._read(adapter, (key,), self._value.get(key, {}))

    def entries(self, key: str, adapter: TypeAdapter) -> Iterator[tuple[Path, Any]]:
        """The entries of a list and their paths, without those that nothing can be said about."""
        entries = self._value.get(key, ())
        for number, entry in enumerate(entries if isinstance(entries, tuple) else ()):
            model = self._read(adapter, (key, number), entry)
            if model is not None:
                yield (key, number), model

    def _read(self, adapter: TypeAdapter, path: Path, value: Any) -> Any | None:
        """A part without those of its settings that the schema refuses."""
        lost = set(self._lost)
        for _ in range(_MOST_ATTEMPTS):
            if _is_within(path, lost):
                return None
            try:
                return adapter.validate_python(_pruned(value, path, lost))
            except ValidationError as error:
                for details in error.errors(include_url=False):
                    at = (*path, *value_path(details["loc"]))
                    lost.add(at[:-1] if details["type"] == "missing" else at)
        return None

    def note(self, path: Path, message: str) -> None:
        """Add to what is wrong."""
        self.found.append(Sentence(path, message))

    def make(self, path: Path, making: Callable[[], Made]) -> Made | None:
        """What `making` returns, or None if it refuses its settings, which is noted."""
        try:
            return making()
        except ConfigurationError as error:
            for problem in error.problems:
                self.note((*path, *problem.field.split(".")), problem.message)
            return None


def _with_tuples(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_with_tuples, value))
    return {key: _with_tuples(item) for key, item in value.items()} if isinstance(value, dict) else value


def _is_within(path: Path, lost: Set[Path]) -> bool:
    return any(path[:n] in lost for n in range(len(path) + 1))


def _pruned(value: Any, path: Path, lost: Set[Path]) -> Any:
    """A value without the keys of mappings that are lost; a list goes as a whole."""
    if path in lost or (isinstance(value, tuple) and any(other[: len(path)] == path for other in lost)):
        return _LOST
    if not isinstance(value, dict):
        return value
    kept = {key: _pruned(item, (*path, key), lost) for key, item in value.items()}
    return {key: item for key, item in kept.items() if item is not _LOST}
