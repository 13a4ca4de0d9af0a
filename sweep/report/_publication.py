"""Figures and tables for a paper, with intervals, and captions that say the study and its seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import pandas as pd

from frozen.readout.measures import Dimension, Measure
from frozen.terminal import on_one_line
from frozen.whole_files import write_whole
from sweep.report._figures import (
    Picture,
    curve_pictures,
    dataset_suffixes,
    heatmap_pictures,
    parameter_pictures,
)
from sweep.report._format import DECIMALS, counted, decimal, percent, symbol_parts, unit_sign
from sweep.report._layout import Layout, listed
from sweep.report._rows import Estimate, Row, distinct, prepared
from sweep.results.spreadsheet import csv_text

FigureFormat = Literal["pdf", "svg", "png"]
TableFormat = Literal["latex", "markdown", "csv"]
FIGURE_FORMATS: tuple[FigureFormat, ...] = get_args(FigureFormat)
TABLE_FORMATS: tuple[TableFormat, ...] = get_args(TableFormat)
_ENDINGS = {"latex": "tex", "markdown": "md", "csv": "csv"}
_LATEX = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "β": r"$\beta$",
    "≥": r"$\geq$",
    "–": "--",
    "†": r"\textdagger{}",
    "‡": r"\textdaggerdbl{}",
    "§": r"\textsection{}",
    "¶": r"\textparagraph{}",
}
_SIGNS = ("†", "‡", "§", "¶")


def write_figures(
    rows: pd.DataFrame,
    dimensions: tuple[Dimension, ...],
    measures: tuple[Measure, ...],
    study: str,
    formats: Sequence[FigureFormat],
    folder: Path,
    flag_meanings: Mapping[str, str] | None = None,
    mild_flags: frozenset[str] = frozenset(),
) -> list[Path]:
    """Draw every measure over depth, over backbones and depth, and over settings of the data sets.

    `captions.md` beside the figures describes each, and says what the flags of hollow markers mean.

    Args:
        rows: result rows.
        dimensions: of the read-out.
        measures: what to draw.
        study: name of the study.
        formats: files to write of each figure.
        folder: where to write; made if it is not there.
        flag_meanings: a sentence for each flag.
        mild_flags: those that say how a number could be better; they change no marker.

    Returns:
        The paths written.
    """
    layout = Layout(dimensions)
    cells = tuple(
        replace(row, flags=tuple(flag for flag in row.flags if flag not in mild_flags))
        for row in prepared(rows, layout, measures)
    )
    folder.mkdir(parents=True, exist_ok=True)
    paths, captions = [], []
    kinds = (curve_pictures, heatmap_pictures, parameter_pictures)
    pictures: list[Picture] = [picture for draw in kinds for picture in draw(cells, measures, layout)]
    for picture in pictures:
        captions.append(f"**{picture.name}**: {_caption(picture.caption, study, cells)}")
        for ending in formats:
            paths.append(folder / f"{picture.name}.{ending}")
            write_whole(paths[-1], picture.drawn(ending))
    if flags := distinct(flag for row in cells for flag in row.flags):
        meanings = (f"{flag}: {(flag_meanings or {}).get(flag, '')}".rstrip(": ") for flag in flags)
        captions.append(f"A hollow marker carries a flag. {' '.join(meanings)}")
    paths.append(folder / "captions.md")
    write_whole(paths[-1], "\n\n".join([*captions, ""]).encode())
    return paths


def write_tables(
    rows: pd.DataFrame,
    dimensions: tuple[Dimension, ...],
    measures: tuple[Measure, ...],
    study: str,
    formats: Sequence[TableFormat],
    folder: Path,
    flag_meanings: Mapping[str, str] | None = None,
    mild_flags: frozenset[str] = frozenset(),
) -> list[Path]:
    """Write a table a data set, failed cells left out; arguments as of `write_figures`.

    Cells with a flag that changes how they may be read carry a sign, and a footnote says what it means.
    """
    layout = Layout(dimensions)
    cells = prepared(rows, layout, measures)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for dataset, suffix in dataset_suffixes(distinct(row.dataset for row in cells)).items():
        of_dataset = [row for row in cells if row.dataset == dataset and not row.failed]
        caption = _caption(f"Measures by {listed(_heads(layout))}, {dataset}", study, of_dataset)
        notes = _footnotes(of_dataset, flag_meanings or {}, mild_flags)
        for name in formats:
            text = _WRITERS[name](of_dataset, layout, measures, caption, f"tab:results{suffix}", notes)
            paths.append(folder / f"results{suffix}.{_ENDINGS[name]}")
            write_whole(paths[-1], text.encode())
    return paths


def _caption(what: str, study: str, rows: Sequence[Row]) -> str:
    levels = sorted({row.interval_level for row in rows if row.interval_level > 0})
    seeds = sorted({int(row.n_seeds) for row in rows if row.n_seeds > 0})
    samples = sorted({int(row.n_test) for row in rows if row.n_test > 0})
    parts = [f"{what}. Study {on_one_line(study)}"]
    if seeds:
        parts.append(f"{' or '.join(counted(number, 'seed') for number in seeds)} a cell")
    if samples:
        parts.append(f"{' or '.join(f'{number:,}' for number in samples)} test samples")
    if levels:
        parts.append(f"{' or '.join(percent(level) for level in levels)} intervals")
    return ", ".join(parts) + "."


@dataclass(frozen=True)
class _Footnotes:
    """The flags of a table that change how a number may be read: a sign each, and what it means."""

    signs: Mapping[str, str]
    meanings: Mapping[str, str]

    def of(self, row: Row) -> str:
        """The signs of a row, with a space before them; empty for a row without such flags."""
        signs = [sign for flag, sign in self.signs.items() if flag in row.flags]
        return f" {' '.join(signs)}" if signs else ""

    def lines(self) -> list[str]:
        """Each sign, its flag and what that means."""
        return [f"{sign} {flag}: {self.meanings.get(flag, '')}".rstrip(": ") for flag, sign in self.signs.items()]


def _footnotes(rows: Sequence[Row], meanings: Mapping[str, str], mild: frozenset[str]) -> _Footnotes:
    flags = distinct(flag for row in rows for flag in row.flags if flag not in mild)
    signs = {flag: _SIGNS[at % len(_SIGNS)] * (1 + at // len(_SIGNS)) for at, flag in enumerate(flags)}
    return _Footnotes(signs, meanings)


def _latex(
    rows: Sequence[Row],
    layout: Layout,
    measures: tuple[Measure, ...],
    caption: str,
    label: str,
    notes: _Footnotes,
) -> str:
    heads = [*(_in_latex(name) for name in _heads(layout)), *(_latex_symbol(measure) for measure in measures)]
    lines = [
        r"% needs \usepackage{booktabs,longtable}",
        rf"\begin{{longtable}}{{{'l' * (1 + len(layout.dimensions))}{'r' * len(measures)}}}",
        rf"\caption{{{_in_latex(caption)}}}\label{{{label}}}\\",
        r"\toprule",
        " & ".join(heads) + r" \\",
        r"\midrule",
        r"\endhead",
        r"\bottomrule",
        r"\endfoot",
    ]
    for row in rows:
        numbers = [_latex_estimate(row.estimates[measure.column], DECIMALS[measure.unit]) for measure in measures]
        place = [_in_latex(name) for name in _place(row)]
        lines.append(" & ".join([place[0] + _in_latex(notes.of(row)), *place[1:], *numbers]) + r" \\")
    width = 1 + len(layout.dimensions) + len(measures)
    under = [rf"\multicolumn{{{width}}}{{l}}{{\footnotesize {_in_latex(note)}}} \\" for note in notes.lines()]
    if under:
        lines += [r"\midrule", *under]
    return "\n".join([*lines, r"\end{longtable}", ""])


def _latex_symbol(measure: Measure) -> str:
    base, subscript = symbol_parts(measure)
    lower = rf"$_{{\mathrm{{{_in_latex(subscript)}}}}}$" if subscript else ""
    return _in_latex(base) + lower + _in_latex(_sign(measure))


def _latex_estimate(estimate: Estimate, decimals: int) -> str:
    if not estimate.is_defined:
        return "--"
    value = f"${decimal(estimate.value, decimals)}$"
    if not estimate.is_bounded:
        return value
    return rf"{value} {{\scriptsize $[{decimal(estimate.low, decimals)}, {decimal(estimate.high, decimals)}]$}}"


def _in_latex(text: str) -> str:
    escaped = "".join(_LATEX.get(sign, sign) for sign in on_one_line(text))
    return "{}" * escaped.startswith(("[", "*")) + escaped  # which would be arguments of the \\\\ before them


def _markdown(
    rows: Sequence[Row], layout: Layout, measures: tuple[Measure, ...], caption: str, _: str, notes: _Footnotes
) -> str:
    heads = [*_heads(layout), *(m.symbol + _sign(m) for m in measures)]
    rules = [*["---"] * (1 + len(layout.dimensions)), *["---:"] * len(measures)]
    numbers = ([_plain_estimate(row.estimates[m.column], DECIMALS[m.unit]) for m in measures] for row in rows)
    places = ([place + notes.of(row), *rest] for row in rows for place, *rest in [_place(row)])
    lines = [heads, rules, *([*place, *of_row] for place, of_row in zip(places, numbers, strict=True))]
    escaped = [" | ".join(cell.replace("|", r"\|").replace("<", "&lt;") for cell in line) for line in lines]
    under = ["", *(f"{note}  " for note in notes.lines())] if notes.signs else []
    return "\n".join([caption, "", *(f"| {line} |" for line in escaped), *under, ""])


def _plain_estimate(estimate: Estimate, decimals: int) -> str:
    if not estimate.is_defined:
        return "–"
    value = decimal(estimate.value, decimals)
    interval = f" [{decimal(estimate.low, decimals)}, {decimal(estimate.high, decimals)}]"
    return value + (interval if estimate.is_bounded else "")


def _csv(
    rows: Sequence[Row], layout: Layout, measures: tuple[Measure, ...], _: str, __: str, notes: _Footnotes
) -> str:
    ends = [(measure.column, end) for measure in measures for end in ("", "_low", "_high")]
    header = ["backbone", *(one.name for one in layout.dimensions), *(column + end for column, end in ends)]
    if notes.signs:
        header.append("flags")
    numbers = ([number for m in measures for number in _numbers(row.estimates[m.column])] for row in rows)
    flags = ([" ".join(flag for flag in row.flags if flag in notes.signs)] if notes.signs else [] for row in rows)
    places = (_place(row) for row in rows)
    lines = zip(places, numbers, flags, strict=True)
    return csv_text(header, ([*place, *of_row, *of_flags] for place, of_row, of_flags in lines))


def _numbers(estimate: Estimate) -> list[str]:
    return ["" if number != number else repr(number) for number in (estimate.value, estimate.low, estimate.high)]


def _heads(layout: Layout) -> list[str]:
    return ["backbone", *(one.label for one in layout.dimensions)]


def _place(row: Row) -> list[str]:
    return [row.backbone + " (control)" * row.is_control, *row.values.values()]


def _sign(measure: Measure) -> str:
    return f" ({unit_sign(measure)})" if unit_sign(measure) else ""


_WRITERS = {"latex": _latex, "markdown": _markdown, "csv": _csv}
