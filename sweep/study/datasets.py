"""Data sets of a study file: grids written out, then the data sets themselves."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, replace
from itertools import product
from pathlib import Path as FilePath
from typing import Any, NamedTuple

from frozen.data.readers import READERS
from frozen.data.scenes import SCENES
from frozen.data.spec import DatasetSpec
from frozen.problems import ConfigurationError, show
from frozen.readout.forms import Border, Grid
from sweep.study.paths import study_path
from sweep.study.schema import DATASET_NAME
from sweep.study.sentences import Sentence
from sweep.study.yaml import Path

MOST_DATASETS = 1000

FieldPath = tuple[str, ...]
"""A field of a data set, or of what one of its fields holds: ("split", "train")."""


class Given(NamedTuple):
    """A value and where the study file gives it."""

    value: object
    path: Path


Point = Mapping[FieldPath, Given]
"""Some fields of a data set."""


class Axis(NamedTuple):
    """One direction of a grid; a field with one value is an axis that is not varied."""

    points: Sequence[Point]
    is_varied: bool


def expand(model: Border, path: Path, seed: int, folder: FilePath) -> Iterator[DatasetSpec | Sentence]:
    """The data sets of one entry, or what is wrong with them.

    Args:
        model: the entry, checked against the schema.
        path: where it stands.
        seed: of data sets that have none of their own.
        folder: what relative paths are relative to.
    """
    given = model.given()
    name, vary = given.pop("name"), given.pop("vary", ())
    registry = READERS if "data" in given else SCENES
    kind = given.pop("data") if "data" in given else given.pop("scene")
    cls = registry[kind]
    axes = list(_axes(given, path, ()))
    entries = [_point((), entry, (*path, "vary", number)) for number, entry in enumerate(vary)]
    refused = list(_vary_problems(entries, axes, path))
    if entries:
        axes.insert(0, Axis(entries, is_varied=True))
    size = math.prod(len(axis.points) for axis in axes)
    if size > MOST_DATASETS:
        refused.append(Sentence(path, f"a grid of {size} data sets; there can be at most {MOST_DATASETS}"))
    if refused:
        yield from refused
        return
    for points in product(*(axis.points for axis in axes)):
        varied = [point for point, axis in zip(points, axes, strict=True) if axis.is_varied]
        point = {field: value for one in points for field, value in one.items()}
        label = name + _label(varied)
        yield from _dataset(label, kind, cls, _with_paths(cls, point, folder), path, seed)


def _axes(given: Mapping[str, Any], path: Path, holder: FieldPath) -> Iterator[Axis]:
    for name, value in given.items():
        field, at = (*holder, name), (*path, name)
        if isinstance(value, Grid):
            points = [_point(field, item, (*at, "grid", number)) for number, item in enumerate(value.values)]
            yield Axis(points, is_varied=True)
        elif isinstance(value, Border):
            yield from _axes(value.given(), at, field)
        else:
            yield Axis([{field: Given(value, at)}], is_varied=False)


def _point(field: FieldPath, value: object, path: Path) -> Point:
    if not isinstance(value, Border):
        return {field: Given(value, path)}
    parts = [_point((*field, name), inner, (*path, name)) for name, inner in value.given().items()]
    return {leaf: given for part in parts for leaf, given in part.items()}


def _vary_problems(entries: Sequence[Point], axes: Sequence[Axis], path: Path) -> Iterator[Sentence]:
    elsewhere = {field for axis in axes for point in axis.points for field in point}
    for number, entry in enumerate(entries):
        at = (*path, "vary", number)
        if entry.keys() != entries[0].keys():
            yield Sentence(at, f"must set the same fields as the first entry: {_names(entries[0])}")
        elif not entry:
            yield Sentence(at, "sets no field")
        for field in entry:
            if field in elsewhere:
                yield Sentence(entry[field].path, f"{'.'.join(field)} is given outside of vary too")


def _names(point: Point) -> str:
    return ", ".join(".".join(field) for field in point) or "none"


def _label(points: Sequence[Point]) -> str:
    """What tells the data sets of a grid apart: [n_colors=2,n_shapes=2]."""
    parts = [f"{'.'.join(field)}={_word(given.value)}" for point in points for field, given in point.items()]
    return f"[{','.join(parts)}]" if parts else ""


def _word(value: object) -> str:
    if isinstance(value, tuple):
        return "-".join(map(_word, value))
    text = value if isinstance(value, str) else "null" if value is None else show(value)
    return re.sub(r"[^A-Za-z0-9._+-]+", "-", text)


def _dataset(
    name: str, kind: str, cls: type, point: Point, path: Path, seed: int
) -> Iterator[DatasetSpec | Sentence]:
    if not DATASET_NAME.fullmatch(name):
        yield Sentence(path, f"the grid makes the name {name!r}; use a shorter or simpler one")
        return
    if ("seed",) not in point and any(item.name == "seed" for item in fields(cls)):
        point = {**point, ("seed",): Given(seed, ("seed",))}
    try:
        config = _construct(cls, {field: given.value for field, given in point.items()})
    except ConfigurationError as error:
        for problem in error.problems:
            field = tuple(problem.field.split("."))
            yield Sentence(point[field].path if field in point else (*path, *field), problem.message)
    else:
        yield DatasetSpec(name, kind, config)


def _with_paths(cls: type, point: Point, folder: FilePath) -> Point:
    """The same fields, paths as they are opened."""
    holds_path = {(item.name,) for item in fields(cls) if item.metadata.get("is_path")}
    return {
        field: Given(study_path(folder, given.value), given.path)
        if field in holds_path and isinstance(given.value, str)
        else given
        for field, given in point.items()
    }


def _construct(cls: type, values: Mapping[FieldPath, object]) -> Any:
    """A data set; what is not given of a nested field is that of its default."""
    own = {field[0]: value for field, value in values.items() if len(field) == 1}
    inner: dict[str, dict[str, Any]] = {}
    for field, value in values.items():
        if len(field) > 1:
            inner.setdefault(field[0], {})[field[1]] = value
    nested = {name: replace(_default(cls, name), **changes) for name, changes in inner.items()}
    return cls(**own, **nested)


def _default(cls: type, name: str) -> Any:
    item = next(item for item in fields(cls) if item.name == name)
    return item.default if item.default_factory is MISSING else item.default_factory()
