"""The report: one HTML file that needs nothing beside it."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import jinja2
import pandas as pd

from sweep.readout import Measure
from sweep.report._figures import (
    Picture,
    heatmap_pictures,
    layer_curve_pictures,
    write_pictures,
    write_whole,
)
from sweep.report._format import DECIMALS, abbreviations, estimate_text, first_line, symbol_parts
from sweep.report._provenance import Choices, Fact, chosen_hyperparameters, dataset_settings, provenance
from sweep.report._rows import Estimate, Row, prepared
from sweep.report._summary import summary

N_HEADLINE_MEASURES = 2


@dataclass(frozen=True)
class _MeasureText:
    label: str
    base: str
    subscript: str
    unit: str
    meaning: str


@dataclass(frozen=True)
class _Line:
    """A row of a table of results."""

    mode: str
    probe: str
    layer: str
    failed: bool
    estimates: tuple[tuple[str, str], ...]
    flags: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _Group:
    """The rows of one backbone on one data set."""

    backbone: str
    lines: tuple[_Line, ...]


@dataclass(frozen=True)
class _Results:
    """A table of results: those of one data set."""

    dataset: str
    groups: tuple[_Group, ...]


@dataclass(frozen=True)
class _Flag:
    short: str
    name: str
    n_cells: int
    meaning: str


@dataclass(frozen=True)
class _Failure:
    place: str
    summary: str
    error: str


@dataclass(frozen=True)
class _Image:
    source: str
    width: int
    caption: str


@dataclass(frozen=True)
class _Page:
    """All that the template shows of the rows."""

    summary: str
    measures: tuple[_MeasureText, ...]
    results: tuple[_Results, ...]
    controls: tuple[_Results, ...]
    curves: tuple[_Image, ...]
    heatmaps: tuple[_Image, ...]
    flags: tuple[_Flag, ...]
    failures: tuple[_Failure, ...]
    provenance: tuple[Fact, ...]
    dataset_settings: tuple[Fact, ...]
    choices: Choices


def write_report(
    rows: pd.DataFrame,
    measures: tuple[Measure, ...],
    *,
    title: str,
    study_yaml: str,
    flag_meanings: Mapping[str, str],
    folder: Path,
) -> Path:
    """Write `report.html` and `figures/*.png`, each file whole or not at all.

    Args:
        rows: result rows; each measure has the columns `X`, `X_low` and `X_high`.
        measures: what the rows hold; all are tabled, the first two are drawn.
        title: heading of the report.
        study_yaml: the study as it was resolved.
        flag_meanings: a sentence for each flag that rows may carry.
        folder: where to write; made if it is not there.

    Returns:
        The path of the page.
    """
    cells = prepared(rows, measures)
    curves = layer_curve_pictures(cells, measures[:N_HEADLINE_MEASURES])
    heatmaps = heatmap_pictures(cells, measures[:N_HEADLINE_MEASURES])
    write_pictures([*curves, *heatmaps], folder / "figures")
    contents = _contents(cells, measures, flag_meanings, curves, heatmaps)
    path = folder / "report.html"
    write_whole(path, _template().render(title=title, study_yaml=study_yaml, page=contents).encode())
    return path


def _contents(
    rows: tuple[Row, ...],
    measures: tuple[Measure, ...],
    flag_meanings: Mapping[str, str],
    curves: list[Picture],
    heatmaps: list[Picture],
) -> _Page:
    short = abbreviations(flag for row in rows for flag in row.flags)
    return _Page(
        summary=summary(rows),
        measures=tuple(_MeasureText(m.label, *symbol_parts(m), m.unit, m.meaning) for m in measures),
        results=_results([row for row in rows if not row.is_control], measures, short),
        controls=_results([row for row in rows if row.is_control], measures, short),
        curves=tuple(_image(picture) for picture in curves),
        heatmaps=tuple(_image(picture) for picture in heatmaps),
        flags=_flags(rows, short, flag_meanings),
        failures=_failures(rows),
        provenance=provenance(rows),
        dataset_settings=dataset_settings(rows),
        choices=chosen_hyperparameters(rows),
    )


def _template() -> jinja2.Template:
    """The page's template, in which every value is escaped and a missing one is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html")


def _results(rows: list[Row], measures: tuple[Measure, ...], short: Mapping[str, str]) -> tuple[_Results, ...]:
    tables: dict[str, dict[str, list[_Line]]] = {}
    for row in rows:
        tables.setdefault(row.dataset, {}).setdefault(row.backbone, []).append(_line(row, measures, short))
    return tuple(
        _Results(dataset, tuple(_Group(backbone, tuple(lines)) for backbone, lines in groups.items()))
        for dataset, groups in tables.items()
    )


def _line(row: Row, measures: tuple[Measure, ...], short: Mapping[str, str]) -> _Line:
    return _Line(
        mode=row.mode,
        probe=row.probe,
        layer=row.layer,
        failed=row.failed,
        estimates=tuple(_estimate(row.estimates[measure.column], measure) for measure in measures),
        flags=tuple((short[flag], flag) for flag in row.flags),
    )


def _estimate(estimate: Estimate, measure: Measure) -> tuple[str, str]:
    return estimate_text(estimate.value, estimate.low, estimate.high, DECIMALS[measure.unit])


def _flags(rows: tuple[Row, ...], short: Mapping[str, str], meanings: Mapping[str, str]) -> tuple[_Flag, ...]:
    counts = Counter(flag for row in rows for flag in row.flags)
    return tuple(_Flag(name, flag, counts[flag], meanings.get(flag, "")) for flag, name in short.items())


def _failures(rows: tuple[Row, ...]) -> tuple[_Failure, ...]:
    failed = (row for row in rows if row.failed)
    return tuple(_Failure(" · ".join(row.place), first_line(row.error), row.error.strip()) for row in failed)


def _image(picture: Picture) -> _Image:
    return _Image(f"data:image/png;base64,{base64.b64encode(picture.png).decode()}", picture.width, picture.caption)
