"""Studies that name several read-outs: what stands at the top is shared, what stands under a read-out is its own.

Each read-out's part is arranged as a study of its own, and checked and read as one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from frozen.plain import Plain
from frozen.problems import did_you_mean, shorten, show
from frozen.readout.readout import readout_names
from frozen.readout.study import Study
from sweep.study.place import Settings
from sweep.study.schema import EngineKeys, json_forms, study_form
from sweep.study.yaml import Path

READOUTS = "readouts"
"""Key of the read-outs' own parts."""
CHOOSE = ("datasets", "backbones")
"""Keys under a read-out that choose among what stands at the top, by name or source."""
OF_PART = (*CHOOSE, "controls", "intervals", "published")
"""Keys of the engine that can stand under a read-out."""
AT_TOP = tuple(key for key in EngineKeys.model_fields if key not in ("readout", "published"))
"""Keys of the engine that can stand at the top."""

_CHOICE = {"type": "array", "items": {"type": "string"}, "minItems": 1}
_CHOICES = {
    "datasets": "Names of those of the study's data sets that this read-out reads; all of them if it is left out.",
    "backbones": "Sources of those of the study's backbones that it reads; all of them if it is left out.",
}


@dataclass(frozen=True)
class StudyFile:
    """What a study file asks for: one study, or several that share a store, a plan and a folder of results."""

    name: str
    """Results go to a folder of this name; those of several studies to folders in it, named as their read-outs."""
    studies: Mapping[str, Study]
    """By their read-outs, in the order of the file."""
    is_joint: bool
    """Whether it names several read-outs, under `readouts`."""

    @property
    def first(self) -> Study:
        """The study, or the first of several."""
        return next(iter(self.studies.values()))

    def resolved(self) -> dict[str, Plain]:
        """The file with nothing left to defaults."""
        return self.first.resolved() if not self.is_joint else self._joined(self._each(Study.resolved))

    def resolved_in(self, place: FilePath | None) -> dict[str, Plain]:
        """The same for a file in another folder, see `Study.resolved_in`."""
        if not self.is_joint:
            return self.first.resolved_in(place)
        return self._joined(self._each(lambda study: study.resolved_in(place)))

    def _each(self, resolved: Callable[[Study], dict[str, Any]]) -> dict[str, dict[str, Any]]:
        return {name: resolved(study) for name, study in self.studies.items()}

    def _joined(self, studies: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        top: dict[str, Any] = {"name": self.name}
        for study in studies.values():
            top |= {key: study[key] for key in ("folder", "seed", "store") if key in study}
        top |= {key: _distinct(study[key] for study in studies.values()) for key in CHOOSE}
        return {**top, READOUTS: {name: _own(study) for name, study in studies.items()}}


def _own(resolved: Mapping[str, Any]) -> dict[str, Any]:
    """A study as the part of a file."""
    own = {key: value for key, value in resolved.items() if key not in ("name", "folder", "readout", "seed", "store")}
    return {**own, **{key: list(dict.fromkeys(_name(key, entry) for entry in resolved[key])) for key in CHOOSE}}


def _distinct(lists: Iterator[Any]) -> list[Any]:
    """The entries of some lists, each once."""
    found: list[Any] = []
    for entries in lists:
        found += [entry for entry in entries if entry not in found]
    return found


def is_joint(settings: Settings) -> bool:
    """Whether settings name several read-outs."""
    return isinstance(settings.value, dict) and READOUTS in settings.value


def parts_of(settings: Settings) -> dict[str, Settings]:
    """The settings of each read-out, as those of a study of its own; what is wrong with the whole is noted."""
    found = list(_problems(settings))
    settings.problems += [settings.problem(path, message) for path, message in found]
    whole: dict[str, Any] = settings.value  # pyright: ignore[reportAssignmentType]
    named = whole[READOUTS] if isinstance(whole[READOUTS], dict) else {}
    return {
        name: _part(settings, name, own or {})
        for name, own in named.items()
        if name in readout_names() and isinstance(own, dict | None)
    }


def _part(settings: Settings, name: str, own: Mapping[str, Any]) -> Settings:
    """The part of a read-out arranged as a study: what is its own takes the place of what is shared."""
    whole: dict[str, Any] = settings.value  # pyright: ignore[reportAssignmentType]
    keys = study_form(name).model_fields
    shared = [key for key in whole if key in keys or key in AT_TOP]
    value: dict[str, Any] = {**{key: whole[key] for key in shared}, "readout": name}
    origins: dict[Path, Path] = {(): (READOUTS, name)}
    origins.update({(key,): (key,) for key in shared})
    for key, given in own.items():
        if key in CHOOSE:
            places = [i for i, entry in enumerate(_list(whole.get(key))) if _name(key, entry) in _list(given)]
            value[key] = [whole[key][i] for i in places]
            origins |= {(key,): (READOUTS, name, key)} | {(key, n): (key, i) for n, i in enumerate(places)}
        elif key in OF_PART or key not in AT_TOP:
            value[key] = given
            origins[key,] = (READOUTS, name, key)
    part = settings.view(value, origins)
    part.lost |= {(key,) for key in CHOOSE if key in own and not value[key]}  # told already
    return part


def _name(key: str, entry: object) -> object:
    """What an entry of the top is chosen by; data sets of a grid by the name of all of them."""
    if isinstance(entry, str):
        return entry
    given = entry if isinstance(entry, dict) else {}
    return given.get("name" if key == "datasets" else "source")


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _problems(settings: Settings) -> Iterator[tuple[Path, str]]:
    """What is wrong with the file as a whole."""
    whole: dict[str, Any] = settings.value  # pyright: ignore[reportAssignmentType]
    named = whole[READOUTS]
    if not isinstance(named, dict) or not named:
        yield (READOUTS,), f"expected read-outs, each with its own keys, got {show(named) if named else 'none'}"
        return
    if "readout" in whole:
        yield ("readout",), f"name read-outs under {READOUTS!r}, or a single one here"
    known = readout_names()
    for name, own in named.items():
        if name not in known:
            yield (READOUTS, name), f"unknown readout {show(name)}; {did_you_mean(str(name), known)}"
        elif own is not None and not isinstance(own, dict):
            yield (READOUTS, name), f"expected a mapping of keys to values, got {show(own)}"
        else:
            yield from _problems_of_part(whole, name, own or {})
    yield from _unknown(whole, [name for name in named if name in known])
    yield from _unused(whole, named)


def _unknown(whole: Mapping[str, Any], names: list[str]) -> Iterator[tuple[Path, str]]:
    keys = dict.fromkeys((*AT_TOP, READOUTS, *(key for name in names for key in study_form(name).model_fields)))
    for key in whole:
        if key == "published":
            yield (key,), "published numbers stand under the read-out that they are of"
        elif key not in keys and key != "readout":
            yield (key,), f"unknown key {shorten(key)!r}; {did_you_mean(key, keys)}"


def _problems_of_part(whole: Mapping[str, Any], name: str, own: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    for key in own:
        if key in (*AT_TOP, "readout") and key not in OF_PART:
            yield (READOUTS, name, key), f"{key!r} is of the whole study, and stands at its top"
    for key in CHOOSE:
        if key not in own:
            continue
        there = [str(_name(key, entry)) for entry in _list(whole.get(key))]
        if not isinstance(own[key], list):
            yield (READOUTS, name, key), f"expected a list of {key} that stand at the top, got {show(own[key])}"
        for number, chosen in enumerate(_list(own[key])):
            if chosen not in there:
                what = "data set of this name" if key == "datasets" else "backbone of this source"
                text = f"there is no {what} at the top, got {show(chosen)}; {did_you_mean(str(chosen), there)}"
                yield (READOUTS, name, key, number), text


def _unused(whole: Mapping[str, Any], named: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """Data sets and backbones that nobody chooses."""
    for key in CHOOSE:
        chosen = [(own or {}).get(key) for own in named.values() if isinstance(own, dict | None)]
        if not chosen or not all(isinstance(one, list) for one in chosen):
            continue  # who chooses nothing reads all of them
        for number, entry in enumerate(_list(whole.get(key))):
            if not any(_name(key, entry) in one for one in chosen if one is not None):
                yield (key, number), "no read-out reads it; name it under one of them, or leave it out"


def json_schema() -> dict[str, Any]:
    """JSON schema of study files, for editors: which keys a study has depends on its read-outs."""
    names = readout_names()
    one = json_forms(names)
    joint = {"if": {"required": [READOUTS]}, "then": {"$ref": "#/$defs/several"}, "else": one.chosen}
    whole: dict[str, Any] = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return whole | joint | {"$defs": {**one.forms, "several": _json_of_several(one.forms), **one.definitions}}


def _json_of_several(forms: Mapping[str, Any]) -> dict[str, Any]:
    """Of a file that names several read-outs: a key at the top has the form that one of them gives it."""
    shared: dict[str, Any] = {}
    parts: dict[str, Any] = {}
    for name, form in forms.items():
        refs = {key: {"$ref": f"#/$defs/{name}/properties/{key}"} for key in form["properties"]}
        own = {key: ref for key, ref in refs.items() if key in OF_PART or key not in EngineKeys.model_fields}
        own |= {key: {**_CHOICE, "description": _CHOICES[key]} for key in CHOOSE}
        parts[name] = {"type": ["object", "null"], "additionalProperties": False, "properties": own}
        for key, ref in refs.items():
            if key in AT_TOP or key not in EngineKeys.model_fields:
                shared.setdefault(key, []).append(ref)
    for key in AT_TOP:
        shared[key] = shared[key][:1]
    top = {key: refs[0] if len(refs) == 1 else {"anyOf": refs} for key, refs in shared.items()}
    top["controls"] = {"type": "array", "items": {"type": "string"}, "description": "Controls of all read-outs."}
    readouts = {
        "type": "object",
        "description": "Several read-outs of one study, each with its own keys under its name.",
        "additionalProperties": False,
        "minProperties": 1,
        "properties": parts,
    }
    return {
        "type": "object",
        "description": "A study of several read-outs, which share what stands at the top.",
        "additionalProperties": False,
        "required": ["name", "datasets", READOUTS],
        "properties": {**top, READOUTS: readouts},
    }
