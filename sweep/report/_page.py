"""The report: one HTML file that needs nothing beside it."""

from __future__ import annotations

import base64
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
from sweep.report._format import Estimate, abbreviations, estimate, symbol_parts
from sweep.report._provenance import Fact, dataset_settings, hyperparameters, provenance
from sweep.report._rows import columns_of, distinct, prepared
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
    estimates: tuple[Estimate, ...]
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
    caption: str


@dataclass(frozen=True)
class _Page:
    """All that the template shows."""

    title: str
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
    hyperparameters: pd.DataFrame
    study_yaml: str


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
    frame = prepared(rows, measures)
    curves = layer_curve_pictures(frame, measures[:N_HEADLINE_MEASURES])
    heatmaps = heatmap_pictures(frame, measures[:N_HEADLINE_MEASURES])
    write_pictures([*curves, *heatmaps], folder / "figures")
    short = abbreviations(flag for flags in frame["flags"] for flag in flags)
    page = _Page(
        title=title,
        summary=summary(frame),
        measures=tuple(_MeasureText(m.label, *symbol_parts(m), m.unit, m.meaning) for m in measures),
        results=_results(frame[~frame["is_control"]], measures, short),
        controls=_results(frame[frame["is_control"]], measures, short),
        curves=tuple(_image(picture) for picture in curves),
        heatmaps=tuple(_image(picture) for picture in heatmaps),
        flags=_flags(frame, short, flag_meanings),
        failures=_failures(frame),
        provenance=provenance(frame),
        dataset_settings=dataset_settings(frame),
        hyperparameters=hyperparameters(frame),
        study_yaml=study_yaml,
    )
    path = folder / "report.html"
    write_whole(path, _template().render(page=page).encode())
    return path


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


def _results(frame: pd.DataFrame, measures: tuple[Measure, ...], short: Mapping[str, str]) -> tuple[_Results, ...]:
    tables = []
    for dataset in distinct(frame["dataset"]):
        of_dataset = frame[frame["dataset"] == dataset]
        groups = tuple(
            _Group(backbone, _lines(of_dataset[of_dataset["backbone"] == backbone], measures, short))
            for backbone in distinct(of_dataset["backbone"])
        )
        tables.append(_Results(dataset, groups))
    return tuple(tables)


def _lines(frame: pd.DataFrame, measures: tuple[Measure, ...], short: Mapping[str, str]) -> tuple[_Line, ...]:
    return tuple(
        _Line(
            mode=row["mode"],
            probe=row["probe"],
            layer=row["layer"],
            failed=row["failed"],
            estimates=tuple(estimate(*(row[column] for column in columns_of(m)), m.unit) for m in measures),
            flags=tuple((short[flag], flag) for flag in row["flags"]),
        )
        for row in frame.to_dict("records")
    )


def _flags(frame: pd.DataFrame, short: Mapping[str, str], meanings: Mapping[str, str]) -> tuple[_Flag, ...]:
    return tuple(
        _Flag(name, flag, sum(flag in flags for flags in frame["flags"]), meanings.get(flag, ""))
        for flag, name in short.items()
    )


def _failures(frame: pd.DataFrame) -> tuple[_Failure, ...]:
    failures = []
    for row in frame[frame["failed"]].to_dict("records"):
        place = " · ".join(row[key] for key in ("dataset", "backbone", "mode", "probe", "layer"))
        error = row["error"].strip()
        failures.append(_Failure(place, error.partition("\n")[0] or "no error was recorded", error))
    return tuple(failures)


def _image(picture: Picture) -> _Image:
    return _Image(f"data:image/png;base64,{base64.b64encode(picture.png).decode()}", picture.caption)
