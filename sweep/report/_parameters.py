"""Data sets that differ in a number of the study file, on the axis of that number."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from math import log
from typing import Any, NamedTuple

from sweep.report._rows import Row

_NO_AXES = ("seed", "salt")
"""Settings whose size means nothing."""
_LOG_SPAN = 8

Settings = Mapping[str, str]
"""Settings of a data set by dotted name, as JSON."""


class Line(NamedTuple):
    """Data sets that differ in the axis alone."""

    label: str
    """What tells them from the data sets of other lines; may be empty."""
    points: Mapping[str, float]
    """Where each data set stands on the axis."""


class ParameterAxis(NamedTuple):
    """A number, or several that move together, in which data sets differ."""

    title: str
    is_log: bool
    """Whether its values span much, and are spaced more evenly by their logarithms."""
    lines: tuple[Line, ...]


def parameter_axes(rows: Iterable[Row]) -> list[ParameterAxis]:
    """All numbers in which data sets with the same kinds of settings differ, everything else equal.

    Args:
        rows: prepared rows; `dataset_parameters` holds the settings of their data set as a JSON object.
    """
    texts = {row.dataset: row.dataset_parameters for row in rows}
    kinds: dict[tuple[str, ...], dict[str, Settings]] = {}
    for dataset, text in texts.items():
        settings = dict(_flat(_object(text), ""))
        kinds.setdefault(tuple(settings), {})[dataset] = settings
    return [axis for datasets in kinds.values() for axis in _axes(datasets)]


def _object(text: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _flat(settings: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, str]]:
    for name, value in sorted(settings.items()):
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, json.dumps(value, ensure_ascii=False)


def _axes(datasets: Mapping[str, Settings]) -> Iterable[ParameterAxis]:
    for together in _moving_together(datasets):
        names = [name for name in together if _is_axis(name, datasets)]
        lines = _lines(names[0], together, datasets) if names else ()
        if lines:
            values = sorted({x for line in lines for x in line.points.values()})
            yield ParameterAxis(_title(names, together, datasets), _is_log(values), lines)


def _moving_together(datasets: Mapping[str, Settings]) -> list[list[str]]:
    """The settings that differ, those in one list that each follow from every other of it."""
    names = next(iter(datasets.values()))
    columns = {name: [settings[name] for settings in datasets.values()] for name in names}
    found: list[list[str]] = []
    for name, column in columns.items():
        if len(set(column)) == 1:
            continue
        for together in found:
            pairs = set(zip(columns[together[0]], column, strict=True))
            if len(pairs) == len(set(column)) == len(set(columns[together[0]])):
                together.append(name)
                break
        else:
            found.append([name])
    return found


def _is_axis(name: str, datasets: Mapping[str, Settings]) -> bool:
    values = [json.loads(settings[name]) for settings in datasets.values()]
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return numbers and name.rpartition(".")[2] not in _NO_AXES


def _lines(axis: str, together: Sequence[str], datasets: Mapping[str, Settings]) -> tuple[Line, ...]:
    varying = {name for other in _moving_together(datasets) for name in other} - set(together)
    lines: dict[str, dict[str, float]] = {}
    for dataset, settings in datasets.items():
        rest = ", ".join(f"{name}={_word(settings[name])}" for name in settings if name in varying)
        lines.setdefault(rest, {})[dataset] = float(settings[axis])
    return tuple(
        Line(label, dict(sorted(points.items(), key=lambda point: point[1])))
        for label, points in lines.items()
        if len(set(points.values())) > 1
    )


def _title(names: Sequence[str], together: Sequence[str], datasets: Mapping[str, Settings]) -> str:
    """`n_colors = n_shapes`, and in brackets what moves along with other values."""
    equal = [name for name in names if all(of[name] == of[names[0]] for of in datasets.values())]
    others = [name for name in together if name not in equal]
    return " = ".join(equal) + (f" (with {', '.join(others)})" if others else "")


def _is_log(values: Sequence[float]) -> bool:
    if len(values) < 3 or values[0] <= 0 or values[-1] < _LOG_SPAN * values[0]:
        return False
    steps = [after - before for before, after in pairwise(values)]
    factors = [log(after / before) for before, after in pairwise(values)]
    return max(factors) / min(factors) < max(steps) / min(steps)


def _word(value: str) -> str:
    return value.strip('"')
