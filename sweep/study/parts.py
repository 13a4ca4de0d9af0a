"""Reads each part of a study by itself, so that a mistake in one part does not hide those in another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from functools import cached_property
from pathlib import Path as FilePath
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from frozen.paths import StudyPath
from frozen.problems import ConfigurationError
from frozen.readout.readout import Readout, find_readout, readout_names
from sweep.study.paths import study_path
from sweep.study.place import Settings
from sweep.study.schema import DEFAULT_READOUT, EngineKeys, study_form
from sweep.study.sentences import Sentence, sentences, value_path
from sweep.study.yaml import Path

_LOST = object()
_MOST_ATTEMPTS = 8

Made = TypeVar("Made")


class Parts:
    """The parts of a study file, checked against the schema.

    Args:
        settings: what the file and the overrides say.
        folder: what relative paths are relative to, unless the settings name another.

    Attributes:
        folder: what they are relative to.
        study: the whole as the schema has it, or None if the schema refuses something.
        found: what is wrong, so far.
    """

    def __init__(self, settings: Settings, folder: FilePath) -> None:
        self._value: Any = _with_tuples(settings.value)
        named = self._value.get("folder")
        self.folder = FilePath(study_path(folder, named)) if isinstance(named, str) else folder
        self._lost = set(settings.lost)
        self.found: list[Sentence] = []
        self.study: Any = self._checked()

    @cached_property
    def readout_name(self) -> str | None:
        """Name of the study's read-out; None if it is not installed."""
        name = self._value.get("readout", DEFAULT_READOUT)
        return name if name in readout_names() else None

    @cached_property
    def readout(self) -> Readout | None:
        """The study's read-out, whose keys are read with those of the engine."""
        return None if self.readout_name is None else find_readout(self.readout_name)

    def _checked(self) -> Any:
        keys: dict[int, tuple[str, ...]] = {}
        form, value = EngineKeys, self._value
        if self.readout_name is None:  # what else the file says can be held against nothing
            value = {key: item for key, item in value.items() if key in EngineKeys.model_fields}
        else:
            form = study_form(self.readout_name)
        try:
            return form.model_validate(value, context=keys)
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

    def path(self, text: str) -> StudyPath:
        """A path of the study."""
        return study_path(self.folder, text)

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
