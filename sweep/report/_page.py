"""The report: one HTML file that needs nothing beside it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from frozen.problems import plural
from frozen.readout.exhibit import Exhibit
from frozen.readout.measures import Dimension, Expectation, Headline, Measure
from frozen.terminal import printable
from frozen.whole_files import write_whole
from sweep.report._data import as_script, page_data
from sweep.report._exhibits import Shown, shown
from sweep.report._format import DECIMALS, abbreviations, counted, estimate_text, first_line, symbol_parts
from sweep.report._layout import Layout, labelled, listed
from sweep.report._parameters import parameter_axes
from sweep.report._provenance import dataset_settings, provenance
from sweep.report._rows import Row, prepared
from sweep.report._stories import MOST_STORIES, Story, story_data
from sweep.report._summary import summary
from sweep.report._templates import PAGE, style, template
from sweep.report._vega import vega_script
from sweep.report._verdict import MOST_ANSWERS, answers, verdict
from sweep.results.published import PublishedLine, by_place

SCRIPTS = (
    "state.js",
    "format.js",
    "filters.js",
    "address.js",
    "saving.js",
    "table.js",
    "plot.js",
    "curves.js",
    "heatmap.js",
    "ladder.js",
    "parameters.js",
    "story.js",
    "main.js",
)
_MISSING = '<meta name="missing"'
MOST_ERRORS, MOST_PLACES, MOST_OPEN_EXHIBITS = 100, 12, 12


@dataclass(frozen=True, kw_only=True)
class Heading:
    """What a report says of its study, beside the rows."""

    title: str
    study_yaml: str = ""
    flag_meanings: Mapping[str, str]
    mild_flags: frozenset[str] = frozenset()
    """Flags that say how a number could be better; all others change how it may be read."""
    control_meanings: Mapping[str, str] = field(default_factory=dict)
    """A sentence for each control, in the order in which they are shown."""
    headline: Headline | None = None
    """What is said first of each backbone; None takes the first measure of all rows."""
    expectations: Sequence[Expectation] = ()
    """What controls must give."""
    value_order: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Values of some dimensions as the study orders them."""
    choices: Mapping[str, str] = field(default_factory=dict)
    """Headings of the columns that hold settings chosen for a cell, a JSON object each."""
    n_cells: int | None = None
    """Cells of the whole study, if known."""
    published: Sequence[PublishedLine] = ()
    """Published numbers beside the measured ones."""
    method: str = ""
    """The methods paragraph and citations, for a paper."""
    folder: str = ""
    """Where the results lie, as commands name it."""
    notes: Sequence[str] = ()
    """What else the reader should know, such as a study file that could not be read."""


@dataclass(frozen=True)
class _Failure:
    """An error and the cells that ended in it."""

    summary: str
    error: str
    places: tuple[str, ...]
    n_more: int


def write_report(
    rows: pd.DataFrame,
    dimensions: tuple[Dimension, ...],
    measures: tuple[Measure, ...],
    study: Heading,
    path: Path,
    exhibits: Callable[[], Iterable[Exhibit]] = tuple,
    told: Mapping[str, Story] | None = None,
) -> Path:
    """Write the page, whole or not at all.

    Args:
        rows: result rows; each measure has the columns `X`, `X_low` and `X_high`.
        dimensions: of the read-out.
        measures: what the rows hold.
        study: what is known of the study.
        path: where to write; its folder is made if it is not there.
        exhibits: finds the read-out's own drawings.
        told: stories of cells by their ids, see `stories`.

    Returns:
        The path of the page.
    """
    layout = Layout(dimensions, study.value_order)
    cells = prepared(rows, layout, measures, study.choices)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, page(cells, layout, measures, study, shown(exhibits), told or {}).encode())
    return path


def page(
    rows: tuple[Row, ...],
    layout: Layout,
    measures: tuple[Measure, ...],
    study: Heading,
    exhibits: Sequence[Shown],
    told: Mapping[str, Story],
) -> str:
    """The page's HTML; every name from a study or a row is escaped."""
    drawings = [exhibit.specification for exhibit in exhibits]
    axes = parameter_axes(rows)
    data = page_data(rows, layout, measures, study.flag_meanings, study.mild_flags, study.choices, drawings, axes)
    data |= _printable(
        {
            "title": study.title,
            "folder": study.folder,
            "headings": dict(study.choices),
            "stories": story_data(told, (row.cell_id for row in rows)),
            "texts": {
                number: _texts(row) for number, row in enumerate(rows[:MOST_STORIES]) if row.choices or row.error
            },
        }
    )
    missing = [*(one for one in exhibits if one.note), *(one for one in told.values() if one.note)]
    found = answers(rows, measures, study.headline)
    return template("page.html").render(
        study=study,
        n_missing=len(missing) + data["stories"]["unread"],
        published=by_place(study.published),
        summary=summary(rows),
        verdict=verdict(rows, measures, study.expectations),
        answers=found[:MOST_ANSWERS],
        n_more_answers=max(0, len(found) - MOST_ANSWERS),
        names_dataset=len({row.dataset for row in rows}) > 1,
        progress=_progress(rows, study),
        measures=[(symbol_parts(measure), measure) for measure in measures],
        layout=layout,
        labels=_labels(layout),
        has_choices=any(row.choices for row in rows),
        exhibits=exhibits,
        n_open=MOST_OPEN_EXHIBITS,
        controls=_controls(rows, study.control_meanings),
        parameters=axes,
        tables=_tables(rows, measures),
        flags=_flags(rows, study.flag_meanings, study.mild_flags),
        failures=_failures(rows),
        provenance=provenance(rows),
        dataset_settings=dataset_settings(rows),
        n_rows=len(rows),
        data=Markup(as_script(data)),  # noqa: S704 - as_script escapes it
        style=style(),
        vega=Markup(vega_script()) if rows else "",  # noqa: S704 - the library
        script=Markup(_script()),  # noqa: S704 - our own files
    )


def is_whole(path: Path) -> bool:
    """Whether all of a page could be made: no exhibit, story or picture of it is missing."""
    return _MISSING not in path.read_text(encoding="utf-8")


def _printable(value: Any) -> Any:
    """Plain data with signs that act on what shows them escaped."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {key: _printable(one) for key, one in value.items()}
    return [_printable(one) for one in value] if isinstance(value, list | tuple) else value


def _texts(row: Row) -> dict[str, Any]:
    """What only a cell's own story says: every setting that was chosen, and the error."""
    return {"choices": dict(row.choices), "error": row.error}


def _labels(layout: Layout) -> dict[str, str]:
    """Words of the page for the dimensions; empty for roles that none has."""
    apart = [one.label for one in layout.dimensions if one is not layout.depth]
    return {
        "depth": layout.depth.label if layout.depth else "",
        "depths": plural(layout.depth.label) if layout.depth else "",
        "line": labelled(layout.lines),
        "lines": listed([plural(one.label) for one in layout.lines]),
        "across": layout.across,
        "group": listed(["data set", "backbone", *apart]),
        "details": listed([plural(one.label) for one in layout.details]),
    }


def _script() -> str:
    return "\n".join((PAGE / name).read_text(encoding="utf-8") for name in SCRIPTS)


def _progress(rows: Sequence[Row], study: Heading) -> str:
    if study.n_cells is None or study.n_cells <= len(rows):
        return ""
    return f"{len(rows):,} of {counted(study.n_cells, 'cell')} so far"


def _controls(rows: Sequence[Row], meanings: Mapping[str, str]) -> dict[str, str]:
    """What the controls of the rows are, those without a meaning left out."""
    present = {row.control for row in rows}
    return {name: meaning for name, meaning in meanings.items() if name in present}


def _tables(rows: Sequence[Row], measures: tuple[Measure, ...]) -> list[dict[str, Any]]:
    """All rows as text, a table a data set, for readers without scripts."""
    short = abbreviations(flag for row in rows for flag in row.flags)
    tables: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        estimates = [_estimate(row, measure) for measure in measures]
        flags = " ".join(short[flag] for flag in row.flags)
        tables[row.dataset].append({"row": row, "estimates": estimates, "flags": flags})
    return [{"dataset": dataset, "lines": lines} for dataset, lines in tables.items()]


def _estimate(row: Row, measure: Measure) -> str:
    one = row.estimates[measure.column]
    return " ".join(estimate_text(one.value, one.low, one.high, DECIMALS[measure.unit])).rstrip()


def _flags(rows: Sequence[Row], meanings: Mapping[str, str], mild: frozenset[str]) -> list[dict[str, Any]]:
    """The flags of the rows, those first that change how a number may be read."""
    short = abbreviations(flag for row in rows for flag in row.flags)
    counts = Counter(flag for row in rows for flag in row.flags)
    return [
        {
            "short": name,
            "name": flag,
            "n_cells": counts[flag],
            "meaning": meanings.get(flag, ""),
            "mild": flag in mild,
        }
        for flag, name in sorted(short.items(), key=lambda item: item[0] in mild)
    ]


def _failures(rows: Sequence[Row]) -> list[_Failure]:
    """The errors, each once with the cells that it ended, most frequent first."""
    places: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row.failed:
            places[row.error.strip()].append(" · ".join(row.place))
    frequent = sorted(places.items(), key=lambda item: -len(item[1]))
    return [
        _Failure(first_line(error), error, tuple(of_error[:MOST_PLACES]), max(0, len(of_error) - MOST_PLACES))
        for error, of_error in frequent[:MOST_ERRORS]
    ]
