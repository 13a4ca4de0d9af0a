"""A study or one of its cells in the terminal: `python -m sweep.show RESULTS [--cell ID | --method]`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
from rich.console import Console
from rich.table import Table
from rich.text import Text

from frozen.console import Terminal
from frozen.readout.readout import Readout, find_readout
from frozen.terminal import Arguments, complain, on_one_line, run_command, say
from sweep.results.columns import VOLATILE_COLUMNS
from sweep.results.directory import ResultsDirectory, Row
from sweep.results.rows import row_files
from sweep.results.stored import StudyRows, study_folders, study_rows

_BARS = "▁▂▃▄▅▆▇█"
_LONGEST_CURVE = 60


class ShowError(ValueError):
    """Something to show that is not there."""


def overview(study: StudyRows, console: Console) -> None:
    """Done, failed and missing cells of each data set and backbone, and the failures."""
    rows = study.rows
    counts: dict[tuple[str, str], Counter[str]] = {}
    for row in rows.values():
        counts.setdefault((str(row["dataset"]), str(row["backbone"])), Counter())[str(row["status"])] += 1
    table = Table("data set", "backbone", "done", "failed", box=None, pad_edge=False)
    for (dataset, backbone), states in sorted(counts.items()):
        names = (Text(on_one_line(name)) for name in (dataset, backbone))
        table.add_row(*names, str(states["done"]), str(states["failed"]))
    console.print(table)
    states = Counter(str(row["status"]) for row in rows.values())
    left = "" if study.cells is None else f", {len(set(study.cells) - set(rows))} missing"
    console.print(f"{len(rows)} cells: {states['done']} done, {states['failed']} failed{left}", highlight=False)
    for remark in study.remarks():
        console.print(remark, highlight=False, markup=False, soft_wrap=True)
    for cell, row in rows.items():
        if row["status"] == "failed":
            first = str(row["error"]).splitlines()[0]
            console.print(f"{cell[:8]}  {_where(row)}: {first}", highlight=False, markup=False, soft_wrap=True)


def paragraph(results: ResultsDirectory, rows: Mapping[str, Row]) -> str:
    """What a paper says of the study.

    Raises:
        ShowError: the study cannot be read.
    """
    from sweep.results.method import method
    from sweep.study.load import StudyError, load_study

    try:
        study = load_study(results.root / "study.yaml")
    except (OSError, ValueError, StudyError) as error:
        raise ShowError(f"the methods paragraph needs the study beside its rows: {error}") from error
    return method(study, find_readout(study.readout), list(rows.values()))


def story(results: ResultsDirectory, row: Row, console: Console, remark: str = "") -> None:
    """Everything that is known of a cell."""
    readout = find_readout(str(row["readout"]))
    lines = [_where(row), f"cell {row['cell_id']}, {row['status']}{remark}", *_identity(row)]
    if row["status"] == "failed":
        lines += ["", str(row["error"])]
    else:
        lines += [
            "",
            *_numbers(row, readout),
            "",
            *_chosen(row, readout),
            "",
            *_learning(results, str(row["cell_id"])),
        ]
    flags = row.get("flags")
    for flag in flags if isinstance(flags, list) else []:
        lines += ["", f"{flag}: {readout.flag_meanings.get(flag, 'unknown to this version')}"]
    files = results.files_of(str(row["cell_id"]))
    lines += ["", *(f"{path.relative_to(results.root)}  {path.stat().st_size:,} bytes" for path in files)]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _where(row: Row) -> str:
    names = ("dataset", "backbone", *(one.name for one in find_readout(str(row["readout"])).dimensions))
    return " · ".join(str(row[name]) for name in names)


def _identity(row: Row) -> Iterator[str]:
    for name in ("study", "data_fingerprint", "weights_digest", *VOLATILE_COLUMNS):
        if row.get(name) not in (None, ""):
            yield f"{name}: {row[name]}"


def _numbers(row: Row, readout: Readout) -> Iterator[str]:
    """Every number of the read-out with its interval; `low` and `high` are columns of their own."""
    known = {measure.column: measure for measure in readout.measures}
    for name in readout.columns:
        value = row.get(name)
        if name.endswith(("_low", "_high")) or isinstance(value, bool) or not isinstance(value, int | float):
            continue
        low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
        interval = (
            f" [{low:.4g}, {high:.4g}]" if isinstance(low, int | float) and isinstance(high, int | float) else ""
        )
        symbol = f"  {known[name].symbol}" if name in known else ""
        yield f"{name:36}{value:.4g}{interval}{symbol}"


def _chosen(row: Row, readout: Readout) -> Iterator[str]:
    """The settings that were chosen for the cell."""
    for name, heading in readout.choices.items():
        value = row.get(name)
        if isinstance(value, str):
            chosen = ", ".join(f"{key} {_plain(item)}" for key, item in json.loads(value).items())
            epochs = row.get(f"best_epoch_{heading}")
            yield f"{heading}: {chosen}" + (f"; best epoch of each seed {epochs}" if epochs else "")


def _plain(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _learning(results: ResultsDirectory, cell: str) -> Iterator[str]:
    """A small curve of the last number of every epoch, for each training."""
    try:
        curves = results.curves(cell)
    except (OSError, ValueError) as error:  # ValueError: what pyarrow raises of a damaged file
        yield f"its learning curves cannot be read: {error}"
        return
    if curves is None:
        return
    *names, shown = (name for name in curves.column_names if name != "epoch")
    keys = [name for name in names if not pa.types.is_floating(curves.schema.field(name).type)]
    values: dict[tuple[str, ...], list[float]] = {}
    for point in curves.to_pylist():
        key = tuple(str(point[name]) if name == keys[0] else f"{name} {point[name]}" for name in keys)
        values.setdefault(key, []).append(point[shown])
    yield f"{shown} by epoch"
    for key, found in values.items():
        yield f"{' '.join(key):17} {sparkline(found)}  {found[0]:.4g} → {min(found):.4g}"


def sparkline(values: Sequence[float]) -> str:
    """A curve of one line, its lowest and highest value at the lowest and highest bar."""
    step = max(1, -(-len(values) // _LONGEST_CURVE))
    shown = list(values[::step])
    low, high = min(shown), max(shown)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BARS[round((value - low) * scale)] for value in shown)


def find(rows: Mapping[str, Row], prefix: str) -> Row:
    """The row of a cell whose id begins with `prefix`.

    Raises:
        ShowError: there is none, or more than one.
    """
    found = [cell for cell in rows if cell.startswith(prefix)]
    if len(found) == 1:
        return rows[found[0]]
    if not found:
        raise ShowError(f"no cell begins with {prefix!r}; without --cell all of them are counted")
    shown = ", ".join(found[:5]) + (", ..." if len(found) > 5 else "")
    raise ShowError(f"{len(found)} cells begin with {prefix!r}: {shown}; give more of the id")


def _with_cell(folders: Sequence[Path], prefix: str) -> Path:
    """Of the folders of several read-outs the one that has a cell, or the first."""
    has = (folder for folder in folders if any(row.stem.startswith(prefix) for row in row_files(folder)))
    return next(has, folders[0])


def _show(results: ResultsDirectory, cell: str | None, console: Console, *, wants_method: bool) -> None:
    """Print a study, one of its cells, or its method.

    Raises:
        ShowError: there is nothing to show.
    """
    study = study_rows(results.root)
    if not study.rows and not (study.foreign and cell):
        remarks = "".join(f"\n{remark}" for remark in study.remarks())
        raise ShowError(f"{results.root} holds no rows; it should be a folder such as results/quickstart{remarks}")
    if wants_method:
        say(paragraph(results, study.rows).rstrip())
        for remark in study.remarks():
            complain(remark)
    elif cell is None:
        overview(study, console)
    else:
        row = find({**study.rows, **study.foreign}, cell)
        story(results, row, console, ", of other settings" if row["cell_id"] in study.foreign else "")


def main(argv: Sequence[str] | None = None) -> int:
    """Print a study or a cell; returns the exit code."""
    parser = Arguments(prog="python -m sweep.show", description="Show a study, or one of its cells.")
    parser.add_argument("results", type=Path, help="folder of a study's results, such as results/quickstart")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--cell", metavar="ID", help="a cell, by the beginning of its id")
    what.add_argument(
        "--method", action="store_true", help="the methods paragraph and citations, to be pasted into a paper"
    )
    options = parser.parse_args(argv)
    console = Terminal()
    try:
        folders = study_folders(options.results)
        if options.cell is not None and len(folders) > 1:
            folders = [_with_cell(folders, options.cell)]
        for folder in folders:
            if len(folders) > 1:
                console.print(f"\n{folder.name}", highlight=False)
            _show(ResultsDirectory(folder), options.cell, console, wants_method=options.method)
    except ShowError as error:
        complain(error)
        return 2
    return 0


if __name__ == "__main__":
    run_command(main)
