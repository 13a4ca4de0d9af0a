"""Result rows made ready for reading: plain types, nothing missing, one order."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from frozen.readout.measures import Measure
from frozen.terminal import on_one_line, printable
from sweep.report._format import NOTHING, natural_key


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

    cell_id: str
    dataset: str
    dataset_parameters: str
    backbone: str
    mode: str
    probe: str
    layer: str
    layer_index: float
    is_control: bool
    control: str
    """Which control it is, empty for a measurement."""
    control_of: str
    """The backbone it is a control of, empty for a control of the data set."""
    failed: bool
    error: str
    estimates: Mapping[str, Estimate]
    flags: tuple[str, ...]
    hyperparameters: Mapping[str, str]
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
    def place(self) -> tuple[str, str, str, str, str]:
        return self.dataset, self.backbone, self.mode, self.probe, self.layer


def prepared(rows: pd.DataFrame, measures: tuple[Measure, ...]) -> tuple[Row, ...]:
    """Read and order the rows of a table, in which any column may be missing.

    Returns:
        All rows, controls last, by data set, backbone, mode, probe and depth. Data sets and probes that share a name
        but not a meaning have distinct names.
    """
    records = [{str(name): value for name, value in record.items()} for record in rows.to_dict(orient="records")]
    read = _with_dataset_labels([_row(record, measures) for record in records])
    return tuple(_with_probe_labels(sorted(_with_layer_indices(read), key=_position)))


def distinct(values: Iterable[str]) -> list[str]:
    """The values that are not empty, once each, in natural order."""
    return sorted({value for value in values if value}, key=natural_key)


def _row(record: Mapping[str, Any], measures: tuple[Measure, ...]) -> Row:
    def text(name: str) -> str:
        return on_one_line(_text(record.get(name)))

    def number(name: str) -> float:
        return _number(record.get(name))

    is_control = not _is_missing(record.get("is_control")) and bool(record["is_control"])
    hyperparameters = (name for name in sorted(record) if name.startswith("hyperparameters"))
    return Row(
        cell_id=text("cell_id"),
        dataset=text("dataset") or NOTHING,
        dataset_parameters=_text(record.get("dataset_parameters")),
        backbone=text("backbone") or NOTHING,
        mode=text("mode") or NOTHING,
        probe=text("probe") or NOTHING,
        layer=text("layer") or NOTHING,
        layer_index=number("layer_index"),
        is_control=is_control,
        control=(text("control") or text("backbone") or NOTHING) if is_control else "",
        control_of=text("control_of") if is_control else "",
        failed=text("status") == "failed",
        error=printable(_text(record.get("error"))),
        estimates={measure.column: _estimate(record, measure.column) for measure in measures},
        flags=_flags(record.get("flags")),
        hyperparameters={name: _text(record[name]) for name in hyperparameters if text(name)},
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
    depth = math.inf if math.isnan(row.layer_index) else row.layer_index
    names = (natural_key(name) for name in (row.dataset, row.backbone, row.mode, row.probe))
    return row.is_control, *names, depth, natural_key(row.layer), row.cell_id


def _with_layer_indices(rows: list[Row]) -> list[Row]:
    """Give a failed cell, which may not know its layer's index, that of the cells that share the layer."""
    known = [row for row in rows if not math.isnan(row.layer_index)]
    index = {(row.backbone, row.layer): row.layer_index for row in known}
    unknown = (row for row in rows if math.isnan(row.layer_index))
    return known + [replace(row, layer_index=index.get((row.backbone, row.layer), math.nan)) for row in unknown]


def _with_dataset_labels(rows: list[Row]) -> list[Row]:
    """Add to the names that several data sets share the parameters in which these differ."""
    labels: dict[tuple[str, str], str] = {}
    for name in distinct(row.dataset for row in rows):
        texts = distinct(row.dataset_parameters for row in rows if row.dataset == name)
        parsed = [_parameters(text) for text in texts]
        keys = dict.fromkeys(key for parameters in parsed for key in parameters)
        varying = [key for key in keys if len({_value(parameters, key) for parameters in parsed}) > 1]
        for text, parameters in zip(texts, parsed, strict=True):
            settings = ", ".join(f"{key}={_value(parameters, key)}" for key in varying)
            labels[name, text] = f"{name} ({settings})" if settings else name
    return [replace(row, dataset=labels.get((row.dataset, row.dataset_parameters), row.dataset)) for row in rows]


def _parameters(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    return value if isinstance(value, dict) else {"parameters": value}


def _value(parameters: Mapping[str, Any], key: str) -> str:
    value = parameters.get(key)
    return on_one_line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _with_probe_labels(rows: Iterable[Row]) -> list[Row]:
    """Number the probes that share a name at one place of the grid."""
    seen: Counter[tuple[str, ...]] = Counter()
    labelled = []
    for row in rows:
        seen[row.place] += 1
        again = seen[row.place]
        labelled.append(row if again == 1 else replace(row, probe=f"{row.probe} #{again}"))
    return labelled
