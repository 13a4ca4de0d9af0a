"""The rows as the page's scripts read them: columns instead of records, names written once."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from frozen.readout.measures import Measure
from sweep.report._format import DECIMALS, abbreviations, ceiling, symbol_parts, unit_sign
from sweep.report._groups import measure_groups
from sweep.report._layout import Layout, labelled
from sweep.report._parameters import ParameterAxis
from sweep.report._provenance import chosen_settings
from sweep.report._rows import Row, depths_of, distinct, lines_of, panels_of, values_of

_DIGITS = 6


def page_data(
    rows: Sequence[Row],
    layout: Layout,
    measures: Sequence[Measure],
    flag_meanings: Mapping[str, str],
    mild_flags: frozenset[str],
    choices: Mapping[str, str],
    drawings: Sequence[Mapping[str, Any] | None],
    axes: Sequence[ParameterAxis],
) -> dict[str, Any]:
    """Everything that the scripts show, as plain JSON values.

    Args:
        rows: prepared rows.
        layout: the dimensions.
        measures: what the rows hold.
        flag_meanings: a sentence for each flag.
        mild_flags: those that say how a number could be better.
        choices: headings of the columns of chosen settings.
        drawings: Vega-Lite specifications of the read-out's exhibits, None for pictures.
        axes: numbers in which the data sets differ.
    """
    names = {
        "dataset": distinct(row.dataset for row in rows),
        "backbone": distinct(row.backbone for row in rows),
        "control": ["", *distinct(row.control for row in rows)],
        **{one.name: values_of(rows, one) for one in layout.dimensions},
    }
    values = {
        "dataset": [row.dataset for row in rows],
        "backbone": [row.backbone for row in rows],
        "control": [row.control for row in rows],
        **{one.name: [row.values[one.name] for row in rows] for one in layout.dimensions},
    }
    short = abbreviations(flag for row in rows for flag in row.flags)
    flags = list(short)
    columns = [measure.column for measure in measures]
    return {
        "ids": [row.cell_id for row in rows],
        "groups": [
            {
                "stages": [names[layout.panels[0].name].index(name) for name in group.stages],
                "measures": [columns.index(one.column) for one in group.measures],
            }
            for group in measure_groups(rows, layout, measures)
        ],
        "measures": [_measure(measure) for measure in measures],
        "dimensions": _dimensions(layout),
        "names": names,
        "columns": {name: _positions(values[name], names[name]) for name in names},
        "parts": {
            "panel": _part([row.panel for row in rows], panels_of(rows)),
            "line": _part([row.line for row in rows], lines_of(rows)),
            "place": _part([row.at for row in rows], depths_of(rows)),
        },
        "labels": {
            "line": labelled(layout.lines),
            "depth": layout.depth.label if layout.depth else None,
            "across": layout.across,
        },
        "depth": [_plain(row.depth) for row in rows],
        "control_of": _positions_or_none((row.control_of for row in rows), names["backbone"]),
        "failed": [int(row.failed) for row in rows],
        "raised": [[flags.index(flag) for flag in row.flags] for row in rows],
        "estimates": {measure.column: _estimates(rows, measure.column) for measure in measures},
        "flags": [
            {"short": short[name], "name": name, "meaning": flag_meanings.get(name, ""), "mild": name in mild_flags}
            for name in flags
        ],
        "choices": _choices(rows, choices),
        "drawings": drawings,
        "parameters": [_axis(axis, names["dataset"]) for axis in axes],
    }


def _dimensions(layout: Layout) -> list[dict[str, str]]:
    """Columns that say where a cell stands, in the order of a table, and what figures make of them."""
    of_readout = (
        {"name": one.name, "label": one.label, "role": "panel" if one in layout.panels else one.role}
        for one in layout.dimensions
    )
    return [
        {"name": "dataset", "label": "data set", "role": "dataset"},
        {"name": "backbone", "label": "backbone", "role": "backbone"},
        *of_readout,
    ]


def _part(values: Sequence[str], names: Sequence[str]) -> dict[str, Any]:
    """What several dimensions are together: the names, and the position of that of each row."""
    return {"names": names, "rows": _positions(values, names)}


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
        "sign": unit_sign(measure),
        "ceiling": ceiling(measure),
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


def _choices(rows: Sequence[Row], headings: Mapping[str, str]) -> dict[str, Any]:
    """The chosen settings, each text once; positions are those of the rows."""
    choices = chosen_settings(rows, headings)
    texts = distinct(text for line in choices.lines for text in line.texts)
    position = {text: number for number, text in enumerate(texts)}
    lines = {line.row: [position.get(text, -1) for text in line.texts] for line in choices.lines}
    return {"headings": choices.headings, "texts": texts, "lines": [lines.get(number) for number in range(len(rows))]}


def _positions(values: Iterable[str], names: Sequence[str]) -> list[int]:
    position = {name: number for number, name in enumerate(names)}
    return [position[value] for value in values]


def _positions_or_none(values: Iterable[str], names: Sequence[str]) -> list[int | None]:
    """As `_positions`; None for what is empty, -1 for what is not among the names."""
    position = {name: number for number, name in enumerate(names)}
    return [position.get(value, -1) if value else None for value in values]


def _plain(value: float) -> float | None:
    """A number with the digits that matter, None where there is none."""
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
