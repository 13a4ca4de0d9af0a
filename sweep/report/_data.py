"""The rows as the page's scripts read them: columns instead of records, names written once."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from frozen.readout.measures import Measure
from sweep.report._format import DECIMALS, abbreviations, symbol_parts
from sweep.report._parameters import ParameterAxis
from sweep.report._provenance import chosen_hyperparameters
from sweep.report._rows import Row, distinct

DIMENSIONS = {"dataset": "data set", "backbone": "backbone", "mode": "mode", "probe": "probe"}
"""What the page filters by, with its name."""
_DIGITS = 6


def page_data(
    rows: Sequence[Row],
    measures: Sequence[Measure],
    flag_meanings: Mapping[str, str],
    probe_order: Sequence[str],
    drawings: Sequence[Mapping[str, Any] | None],
    axes: Sequence[ParameterAxis],
) -> dict[str, Any]:
    """Everything that the scripts show, as plain JSON values.

    Args:
        rows: prepared rows.
        measures: what the rows hold.
        flag_meanings: a sentence for each flag.
        probe_order: probe families as the study orders them; others follow.
        drawings: Vega-Lite specifications of the read-out's exhibits, None for pictures.
        axes: numbers in which the data sets differ.
    """
    names = {name: distinct(getattr(row, name) for row in rows) for name in DIMENSIONS}
    names["probe"] = _in_order(names["probe"], probe_order)
    names["layer"] = distinct(row.layer for row in rows)
    names["control"] = ["", *distinct(row.control for row in rows)]
    short = abbreviations(flag for row in rows for flag in row.flags)
    flags = list(short)
    columns: dict[str, Any] = {
        name: _positions((getattr(row, name) for row in rows), of) for name, of in names.items()
    }
    columns["depth"] = [_plain(row.layer_index) for row in rows]
    columns["control_of"] = _positions_or_none((row.control_of for row in rows), names["backbone"])
    columns["failed"] = [int(row.failed) for row in rows]
    columns["flags"] = [[flags.index(flag) for flag in row.flags] for row in rows]
    return {
        "measures": [_measure(measure) for measure in measures],
        "dimensions": DIMENSIONS,
        "names": names,
        "columns": columns,
        "estimates": {measure.column: _estimates(rows, measure.column) for measure in measures},
        "flags": [{"short": short[name], "name": name, "meaning": flag_meanings.get(name, "")} for name in flags],
        "choices": _choices(rows),
        "drawings": drawings,
        "parameters": [_axis(axis, names["dataset"]) for axis in axes],
    }


def as_script(data: Any) -> str:
    """JSON that may stand inside a script element: no character of it can end the element."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    escapes = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
    return text.translate(str.maketrans(escapes))


def _measure(measure: Measure) -> dict[str, Any]:
    base, subscript = symbol_parts(measure)
    return {
        "column": measure.column,
        "label": measure.label,
        "base": base,
        "subscript": subscript,
        "unit": measure.unit,
        "meaning": measure.meaning,
        "decimals": DECIMALS[measure.unit],
    }


def _estimates(rows: Sequence[Row], column: str) -> dict[str, list[float | None]]:
    ends = ("value", "low", "high")
    return {end: [_plain(getattr(row.estimates[column], end)) for row in rows] for end in ends}


def _axis(axis: ParameterAxis, datasets: Sequence[str]) -> dict[str, Any]:
    lines = [
        {"label": line.label, "points": [[datasets.index(name), x] for name, x in line.points.items()]}
        for line in axis.lines
    ]
    return {"title": axis.title, "log": axis.is_log, "lines": lines}


def _choices(rows: Sequence[Row]) -> dict[str, Any]:
    """The tuned hyper-parameters, each text once; positions are those of the rows."""
    choices = chosen_hyperparameters(rows)
    texts = distinct(text for line in choices.lines for text in line.texts)
    position = {text: number for number, text in enumerate(texts)}
    lines = {line.row: [position.get(text, -1) for text in line.texts] for line in choices.lines}
    return {"targets": choices.targets, "texts": texts, "lines": [lines.get(number) for number in range(len(rows))]}


def _positions(values: Iterable[str], names: Sequence[str]) -> list[int]:
    position = {name: number for number, name in enumerate(names)}
    return [position[value] for value in values]


def _positions_or_none(values: Iterable[str], names: Sequence[str]) -> list[int | None]:
    """As `_positions`; None for what is empty, -1 for what is not among the names."""
    position = {name: number for number, name in enumerate(names)}
    return [position.get(value, -1) if value else None for value in values]


def _in_order(names: Sequence[str], order: Sequence[str]) -> list[str]:
    """Names in the given order, numbered namesakes (`linear #2`) after the first; unknown ones at the end."""
    place = {name: number for number, name in enumerate(order)}
    return sorted(names, key=lambda name: place.get(name.partition(" #")[0], len(place)))


def _plain(value: float) -> float | None:
    """A number with the digits that matter, None where there is none."""
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
