"""Result rows made ready for reading: plain types, nothing missing, one order."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from frozen.readout.measures import Dimension, Measure
from frozen.terminal import on_one_line, printable
from sweep.report._format import NOTHING, natural_key
from sweep.report._layout import Key, Layout


@dataclass(frozen=True)
class Estimate:
    """A measure's value and the ends of its interval; NaN for what is not defined."""

    value: float
    low: float
    high: float

    @property
    def is_defined(self) -> bool:
        return math.isfinite(self.value)

    @property
    def is_bounded(self) -> bool:
        return math.isfinite(self.low) and math.isfinite(self.high)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One cell: where it stands in the grid, what was measured, and how. Missing numbers are NaN."""

    layout: Layout
    """The dimensions of all rows."""
    cell_id: str
    dataset: str
    dataset_parameters: str
    backbone: str
    values: Mapping[str, str]
    """Of the dimensions, by name, in the order of a table."""
    numbers: Mapping[str, float]
    """What orders the values of a dimension, by its name; NaN where that is not known or there is nothing."""
    is_control: bool
    control: str
    """Which control it is, empty for a measurement."""
    control_of: str
    """The backbone it is a control of, empty for a control of the data set."""
    failed: bool
    error: str
    estimates: Mapping[str, Estimate]
    flags: tuple[str, ...]
    choices: Mapping[str, str]
    """Settings that were chosen for the cell, by column; a JSON object each."""
    n_test: float
    n_seeds: float
    interval_level: float
    wall_s: float
    versions: str
    git_commit: str
    device: str
    host: str
    n_skipped: float = math.nan

    @property
    def place(self) -> tuple[str, ...]:
        """Data set, backbone, and a value a dimension."""
        return self.dataset, self.backbone, *self.values.values()

    @property
    def panel(self) -> str:
        """The values that it shares with its panel; empty for read-outs without such dimensions."""
        return self._joined(self.layout.panels)

    @property
    def line(self) -> str:
        """The values that it shares with its line; empty for read-outs without such dimensions."""
        return self._joined(self.layout.lines)

    @property
    def at(self) -> str:
        """Name of its place on the axis of depth; empty for read-outs without one."""
        return "" if self.layout.depth is None else self.values[self.layout.depth.name]

    @property
    def depth(self) -> float:
        """Its place on the axis of depth; NaN where it is not known, 0 for read-outs without such an axis."""
        return 0.0 if self.layout.depth is None else self.numbers[self.layout.depth.name]

    def _joined(self, dimensions: Sequence[Dimension]) -> str:
        return " · ".join(self.values[one.name] for one in dimensions)

    def key(self, dimensions: Sequence[Dimension]) -> tuple[Key, ...]:
        """Orders rows by their values of some dimensions."""
        return tuple(self.layout.key(one, self.values[one.name], self.numbers[one.name]) for one in dimensions)


def prepared(
    rows: pd.DataFrame, layout: Layout, measures: Sequence[Measure], choices: Iterable[str] = ()
) -> tuple[Row, ...]:
    """Read and order the rows of a table, in which any column may be missing.

    Args:
        rows: result rows.
        layout: the dimensions.
        measures: what the rows hold.
        choices: columns of settings that were chosen for a cell.

    Returns:
        All rows, controls last, by data set, backbone and dimensions. Data sets and cells that share a name but not a
        meaning have distinct names.
    """
    columns = tuple(choices)
    records = [{str(name): value for name, value in record.items()} for record in rows.to_dict(orient="records")]
    read = _with_dataset_labels([_row(record, layout, measures, columns) for record in records])
    return tuple(_with_numbered_namesakes(sorted(_with_numbers(read), key=_position)))


def panels_of(rows: Iterable[Row]) -> list[str]:
    """The panels of some rows, in their order."""
    return _ordered(rows, lambda row: row.panel, lambda row: row.key(row.layout.panels))


def lines_of(rows: Iterable[Row]) -> list[str]:
    """The lines of some rows, in their order."""
    return _ordered(rows, lambda row: row.line, lambda row: row.key(row.layout.lines))


def depths_of(rows: Iterable[Row]) -> list[str]:
    """Names on the axis of depth; one that ends several backbones of unequal depth comes where it is deepest."""
    return _ordered(rows, lambda row: row.at, lambda row: row.key([one for one in [row.layout.depth] if one]))


def values_of(rows: Iterable[Row], dimension: Dimension) -> list[str]:
    """The values of a dimension, in their order."""
    return _ordered(rows, lambda row: row.values[dimension.name], lambda row: row.key([dimension]))


def _ordered(rows: Iterable[Row], name: Callable[[Row], str], key: Callable[[Row], tuple[Key, ...]]) -> list[str]:
    places: dict[str, tuple[Key, ...]] = {}
    for row in rows:
        places[name(row)] = max(places.get(name(row), key(row)), key(row))
    return sorted(places, key=places.__getitem__)


def foremost(rows: Iterable[Row], measure: Measure) -> list[Row]:
    """Of the rows that figures draw in one place, details apart, the one with the largest estimate."""
    found: dict[tuple[str, ...], Row] = {}
    for row in rows:
        place = (row.dataset, row.backbone, row.panel, row.line, row.at)
        if place not in found or _value(row, measure) > _value(found[place], measure):
            found[place] = row
    return list(found.values())


def _value(row: Row, measure: Measure) -> float:
    value = row.estimates[measure.column].value
    return -math.inf if math.isnan(value) else value


def distinct(values: Iterable[str]) -> list[str]:
    """The values that are not empty, once each, in natural order."""
    return sorted({value for value in values if value}, key=natural_key)


def _row(record: Mapping[str, Any], layout: Layout, measures: Sequence[Measure], choices: Sequence[str]) -> Row:
    def text(name: str) -> str:
        return on_one_line(_text(record.get(name)))

    def number(name: str) -> float:
        return _number(record.get(name))

    is_control = not _is_missing(record.get("is_control")) and bool(record["is_control"])
    return Row(
        layout=layout,
        cell_id=text("cell_id"),
        dataset=text("dataset") or NOTHING,
        dataset_parameters=_text(record.get("dataset_parameters")),
        backbone=text("backbone") or NOTHING,
        values={one.name: text(one.name) or NOTHING for one in layout.dimensions},
        numbers={one.name: number(one.order) if one.order else math.nan for one in layout.dimensions},
        is_control=is_control,
        control=(text("control") or text("backbone") or NOTHING) if is_control else "",
        control_of=text("control_of") if is_control else "",
        failed=text("status") == "failed",
        error=printable(_text(record.get("error"))),
        estimates={measure.column: _estimate(record, measure.column) for measure in measures},
        flags=_flags(record.get("flags")),
        choices={name: _text(record.get(name)) for name in choices if text(name)},
        n_test=number("n_test"),
        n_seeds=number("n_seeds"),
        interval_level=number("interval_level"),
        wall_s=number("wall_s"),
        versions=text("versions"),
        git_commit=text("git_commit"),
        device=text("device"),
        host=text("host"),
        n_skipped=number("n_skipped"),
    )


def _estimate(record: Mapping[str, Any], column: str) -> Estimate:
    return Estimate(*(_number(record.get(name)) for name in (column, f"{column}_low", f"{column}_high")))


def _is_missing(value: object) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def _text(value: object) -> str:
    return "" if _is_missing(value) else str(value)


def _number(value: Any) -> float:
    return math.nan if _is_missing(value) else float(value)


def _flags(value: Any) -> tuple[str, ...]:
    if _is_missing(value):
        return ()
    return (on_one_line(value),) if isinstance(value, str) else tuple(on_one_line(flag) for flag in value)


def _position(row: Row) -> tuple[Any, ...]:
    return (
        row.is_control,
        natural_key(row.dataset),
        natural_key(row.backbone),
        row.key(row.layout.dimensions),
        row.cell_id,
    )


def _with_numbers(rows: list[Row]) -> list[Row]:
    """Give a failed cell, which may not know what orders its values, that of the cells that share the value."""
    known = {
        (row.backbone, name, row.values[name]): number
        for row in rows
        for name, number in row.numbers.items()
        if not math.isnan(number)
    }

    def number(row: Row, name: str) -> float:
        own = row.numbers[name]
        return known.get((row.backbone, name, row.values[name]), math.nan) if math.isnan(own) else own

    return [replace(row, numbers={name: number(row, name) for name in row.numbers}) for row in rows]


def _with_dataset_labels(rows: list[Row]) -> list[Row]:
    """Add to the names that several data sets share the parameters in which these differ."""
    labels: dict[tuple[str, str], str] = {}
    for name in distinct(row.dataset for row in rows):
        texts = distinct(row.dataset_parameters for row in rows if row.dataset == name)
        parsed = [_parameters(text) for text in texts]
        keys = dict.fromkeys(key for parameters in parsed for key in parameters)
        varying = [key for key in keys if len({_setting(parameters, key) for parameters in parsed}) > 1]
        for text, parameters in zip(texts, parsed, strict=True):
            settings = ", ".join(f"{key}={_setting(parameters, key)}" for key in varying)
            labels[name, text] = f"{name} ({settings})" if settings else name
    return [replace(row, dataset=labels.get((row.dataset, row.dataset_parameters), row.dataset)) for row in rows]


def _parameters(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    return value if isinstance(value, dict) else {"parameters": value}


def _setting(parameters: Mapping[str, Any], key: str) -> str:
    value = parameters.get(key)
    return on_one_line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _with_numbered_namesakes(rows: Iterable[Row]) -> list[Row]:
    """Number the cells that share a place of the grid."""
    seen: Counter[tuple[str, ...]] = Counter()
    labelled = []
    for row in rows:
        seen[row.place] += 1
        labelled.append(row if seen[row.place] == 1 else _numbered(row, seen[row.place]))
    return labelled


def _numbered(row: Row, again: int) -> Row:
    dimension = row.layout.numbered
    if dimension is None:
        return replace(row, backbone=f"{row.backbone} #{again}")
    return replace(row, values={**row.values, dimension.name: f"{row.values[dimension.name]} #{again}"})
