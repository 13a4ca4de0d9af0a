"""The joint report of several read-outs: what appears at which layer, and the way to each read-out's own report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from markupsafe import Markup

from frozen.intervals import IntervalConfig
from frozen.readout.readout import measured as tell_measures
from frozen.whole_files import write_whole
from sweep.report._depth_chart import colours, depth_chart
from sweep.report._format import DECIMALS, counted, decimal, estimate_text, unit_sign
from sweep.report._layout import Layout
from sweep.report._rows import prepared
from sweep.report._templates import style, template
from sweep.report._verdict import Verdict, verdict
from sweep.results.bounds import Gap, gaps
from sweep.results.columns import all_columns
from sweep.results.depth import Curve, LayerValues, Point, appearance, by_layer, curves, together
from sweep.results.directory import as_frame
from sweep.results.spreadsheet import csv_text

if TYPE_CHECKING:
    from frozen.readout.cells import Cell
    from frozen.readout.measures import DepthColumn
    from frozen.readout.outcome import PerImage
    from frozen.readout.readout import Readout, Readouts
    from sweep.results.directory import ResultsDirectory

_MUCH = 0.5
_POINT = ("layer", "layer_number", "column", "value", "low", "high", "share", "share_low", "share_high", "n_rows")
_GAPS_CSV = (
    *("dataset", "backbone", "layer", "layer_number", "bounds"),
    *("one", "one_readout", "one_how", "one_n_rows", "one_bits"),
    *("other", "other_readout", "other_how", "other_n_rows", "other_bits"),
    *("difference", "low", "high", "p_value", "n_images"),
)
_CSV = ("curve", "readout", "dataset", "backbone", "control", *_POINT)


class _Line(NamedTuple):
    """A curve in the table of appearances."""

    name: str
    colour: str
    readout: str
    measure: str
    most: str
    most_interval: str
    most_at: str
    half_at: str
    half_interval: str
    depth: str


class _Part(NamedTuple):
    """A read-out's own report."""

    name: str
    link: str
    cells: str
    failed: str
    verdict: Verdict | None


def write_joint_page(
    results: ResultsDirectory,
    title: str,
    readouts: Readouts,
    cells: Mapping[str, Sequence[Cell]],
    study_yaml: str,
    *,
    notes: Sequence[str] = (),
    path: Path | None = None,
) -> Path:
    """Write report.html, joint.csv and, where two read-outs bound the same, joint_bounds.csv of a study of several.

    Args:
        results: of the whole study.
        title: of the page.
        readouts: by name.
        cells: of each read-out.
        study_yaml: the study, as it was resolved.
        notes: what else the reader should know.
        path: where to write the page; None for report.html.

    Returns:
        The path of the page.
    """
    rows = results.rows()
    found = curves(readouts, cells, rows)
    results.write_text("joint.csv", csv_text(_CSV, [line for curve in found for line in _values(curve)]))
    layers = list(by_layer(readouts, cells, rows, _declared))
    bounding = by_layer(readouts, cells, rows, lambda readout: readout.depth_columns, whole=True)
    apart = list(gaps(list(bounding), partial(_per_image, results, readouts), IntervalConfig()))
    if apart:
        results.write_text("joint_bounds.csv", csv_text(_GAPS_CSV, map(_gap_values, apart)))
    names = list(dict.fromkeys(_name(curve, found) for curve in found))
    palette = colours(names)
    backbones = dict.fromkeys(curve.backbone for curve in found)
    page = template("joint.html").render(
        title=title,
        parts=[_part(name, readouts[name], own, rows) for name, own in cells.items()],
        notes=[*notes, *_without_curve(found, readouts, cells, rows)],
        cards=[_card(backbone, found, palette) for backbone in backbones],
        legend=list(palette.items()),
        together=[
            (one.one.backbone, _name(one.one, found), _name(one.other, found), one.n_layers, one.rho, one.p_value)
            for one in together(found)
        ],
        tables=_tables(layers),
        gaps=_gaps(apart),
        measures={curve.declared: curve.measure for curve in found},
        study_yaml=study_yaml,
        style=style(),
    )
    if path is None:
        return results.write_text("report.html", page)
    write_whole(path, page)
    return path


def _part(name: str, readout: Readout, cells: Sequence[Cell], rows: Mapping[str, Mapping[str, Any]]) -> _Part:
    own = [rows[cell.cell_id] for cell in cells if cell.cell_id in rows]
    failed = sum(row["status"] == "failed" for row in own)
    measured = counted(len(own), "cell") if len(own) == len(cells) else f"{len(own)} of {counted(len(cells), 'cell')}"
    measures = tell_measures(readout, own)
    table = prepared(as_frame(own, all_columns(readout)), Layout(readout.dimensions), measures)
    controls = verdict(table, measures, readout.expectations)
    return _Part(name, f"{name}/report.html", measured, f"{failed} failed" if failed else "", controls)


def _without_curve(
    found: Sequence[Curve],
    readouts: Readouts,
    cells: Mapping[str, Sequence[Cell]],
    rows: Mapping[str, Mapping[str, Any]],
) -> Iterator[str]:
    """What to say of read-outs that could show a curve by depth, have rows, and show none."""
    drawn = {curve.readout for curve in found}
    for name, own in cells.items():
        shown = (rows[cell.cell_id] for cell in own if cell.cell_id in rows and not cell.description.is_control)
        done = any(row["status"] == "done" for row in shown)
        if done and readouts[name].depth_curves and name not in drawn:
            measures = " or ".join(dict.fromkeys(one.name for one in readouts[name].depth_curves))
            yield f"{name} has no curve by depth: no backbone has {measures} at two layers and more."


def _name(curve: Curve, of: Sequence[Curve]) -> str:
    """Name of a curve; with its data set where the backbone has it of several."""
    same = {one.dataset for one in of if (one.declared, one.backbone) == (curve.declared, curve.backbone)}
    return curve.declared.name if len(same) == 1 else f"{curve.declared.name} · {curve.dataset}"


def _card(backbone: str, found: Sequence[Curve], palette: Mapping[str, str]) -> dict[str, Any]:
    own = [curve for curve in found if curve.backbone == backbone]
    measured = [curve for curve in own if not curve.control]
    drawn = [(_name(curve, found), curve) for curve in own]
    return {
        "backbone": backbone,
        "chart": Markup(depth_chart(drawn, palette)),  # noqa: S704 - escapes what it writes
        "lines": [_line(curve, _name(curve, found), palette) for curve in measured],
        "datasets": ", ".join(dict.fromkeys(curve.dataset for curve in own)),
        "contrasts": _contrasts(own, found),
    }


def _contrasts(own: Sequence[Curve], found: Sequence[Curve]) -> list[str]:
    """What one curve does not find where another finds more than half of all there can be, at the latter's best."""
    measured = [curve for curve in own if not curve.control]
    absent = [curve for curve in measured if appearance(curve) is None]
    present = [curve for curve in measured if curve.share(curve.best.low) > _MUCH]
    return [
        f"{_name(one, found)} is not above nothing at any of its {len(one.points)} layers, while "
        f"{_name(other, found)} reaches {decimal(other.share(other.best.value), 2)} of its scale at "
        f"{other.best.layer}: a layer holds more than this read-out can say of it."
        for one in absent
        for other in present
    ]


def _line(curve: Curve, name: str, palette: Mapping[str, str]) -> _Line:
    best, decimals, sign = curve.best, DECIMALS[curve.measure.unit], unit_sign(curve.measure)
    value, interval = estimate_text(best.value, best.low, best.high, decimals)
    seen = appearance(curve)
    half, between, depth = "not above nothing", "", ""
    if seen is not None:
        half, between = seen.first.layer, _between(seen.low, seen.high)
        depth = decimal(_depth(curve, seen.first), 2)
    measure = f"{curve.measure.label}, from {curve.declared.none:g} to {curve.declared.full:g}"
    return _Line(
        name,
        palette[name],
        curve.readout,
        measure,
        f"{value} {sign}".strip(),
        interval,
        best.layer,
        half,
        between,
        depth,
    )


def _per_image(results: ResultsDirectory, readouts: Readouts, of: LayerValues, point: Point) -> PerImage | None:
    try:
        samples = results.samples(point.cell_id)
        return None if samples is None else readouts[of.readout].per_image(of.declared.column, samples)
    except (OSError, ValueError):  # a damaged table: `sweep.verify` tells of it, and the page is written all the same
        return None


def _gap_values(gap: Gap) -> tuple[object, ...]:
    one, at = gap.one, gap.at[0]
    both = zip((gap.one, gap.other), gap.at, strict=True)
    return (
        *(one.dataset, one.backbone, at.layer, at.number, one.declared.bounds),
        *(text for of, at in both for text in (of.declared.name, of.readout, at.how, at.n_rows, at.value)),
        *gap.difference,
        gap.p_value,
        gap.n_images,
    )


class _Gaps(NamedTuple):
    """Differences of two read-outs' bounds of one quantity, of a backbone on a data set."""

    backbone: str
    dataset: str
    bounds: str
    lines: list[tuple[str, ...]]
    """Of every layer its name, both measures, and the difference with its interval."""


def _gaps(found: Sequence[Gap]) -> list[_Gaps]:
    places: dict[tuple[str, str, str], list[tuple[str, ...]]] = {}
    decimals = DECIMALS["bits"]
    for gap in found:
        place = (gap.one.backbone, gap.one.dataset, gap.one.declared.bounds)
        both = zip((gap.one, gap.other), gap.at, strict=True)
        named = (f"{of.declared.name} {decimal(point.value, decimals)} ({point.how})" for of, point in both)
        line = (gap.at[0].layer, *named, *estimate_text(*gap.difference, decimals))
        places.setdefault(place, []).append(line)
    return [_Gaps(*place, lines) for place, lines in places.items()]


class _Table(NamedTuple):
    """Measures of a backbone, layer by layer."""

    backbone: str
    columns: list[tuple[str, str]]
    """Name and meaning."""
    lines: list[tuple[str, list[tuple[str, str]]]]
    """Of every layer its name, and of every column the value and its interval."""


def _declared(readout: Readout) -> list[DepthColumn]:
    """What the tables show; a measure that is both a curve and a column once."""
    curves_of = {(one.column, one.where) for one in readout.depth_curves}
    return [*readout.depth_curves, *(o for o in readout.depth_columns if (o.column, o.where) not in curves_of)]


def _tables(found: Sequence[LayerValues]) -> list[_Table]:
    """A table a backbone of what was measured of it, with at least two measures."""
    measured = [one for one in found if not one.control]
    tables = []
    for backbone in dict.fromkeys(one.backbone for one in measured):
        own = [one for one in measured if one.backbone == backbone]
        numbers = {point.number: point.layer.partition(".")[0] for one in reversed(own) for point in one.points}
        texts = [{point.number: _text(one, point) for point in one.points} for one in own]
        columns = [(f"{one.declared.name} · {one.dataset}", f"{one.readout}: {one.measure.meaning}") for one in own]
        lines = [(numbers[at], [text.get(at, ("", "")) for text in texts]) for at in sorted(numbers)]
        if len(own) > 1:
            tables.append(_Table(backbone, columns, lines))
    return tables


def _text(of: LayerValues, point: Point) -> tuple[str, str]:
    value, interval = estimate_text(point.value, point.low, point.high, DECIMALS[of.measure.unit])
    return f"{value} {unit_sign(of.measure)}".strip(), interval


def _between(low: Point, high: Point) -> str:
    return f"[{low.layer}, {high.layer}]"


def _depth(curve: Curve, point: Point) -> float:
    """0 at embed, 1 after the last block."""
    return min(1.0, (point.number + 1) / (curve.final + 1))


def _values(curve: Curve) -> list[tuple[object, ...]]:
    own = (curve.declared.name, curve.readout, curve.dataset, curve.backbone, curve.control)
    return [
        (
            *own,
            *(point.layer, point.number, curve.declared.column, point.value, point.low, point.high),
            *map(curve.share, (point.value, point.low, point.high)),
            point.n_rows,
        )
        for point in curve.points
    ]
