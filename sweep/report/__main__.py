"""The command line: `python -m sweep.report RESULTS`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from frozen.readout.readout import Readout, find_readout, measured
from frozen.readout.study import Study
from frozen.terminal import Arguments, complain, run_command, say
from sweep.report._publication import FIGURE_FORMATS, TABLE_FORMATS, write_figures, write_tables
from sweep.results.columns import all_columns
from sweep.results.directory import LinkError, ResultsDirectory, Row, as_frame
from sweep.results.of_file import write_joint
from sweep.results.rows import row_files
from sweep.results.stored import study_folders, study_rows
from sweep.results.views import write_page
from sweep.study.load import StudyError, load_study
from sweep.study.schema import DEFAULT_READOUT

DONE, USER_ERROR = 0, 2
WATCH_S = 5.0


class ReportError(ValueError):
    """Results that cannot be reported, with what to do."""


@dataclass(frozen=True)
class _Found:
    """What lies in a folder of results."""

    results: ResultsDirectory
    rows: list[Row]
    readout: Readout
    space: Study | None
    study_yaml: str
    n_cells: int | None
    notes: tuple[str, ...]


def parser() -> argparse.ArgumentParser:
    """The command line's arguments."""
    arguments = Arguments(
        prog="python -m sweep.report",
        description="Write report.html from the rows that are there, also while the study runs.",
    )
    arguments.add_argument("results", type=Path, help="folder of a study's results, such as results/quickstart")
    arguments.add_argument("--watch", action="store_true", help="write it again whenever rows change, until Ctrl-C")
    arguments.add_argument(
        "--output", type=Path, metavar="FILE", help="where to write; by default RESULTS/report.html"
    )
    arguments.add_argument(
        "--figures",
        type=_some_of(FIGURE_FORMATS),
        metavar="pdf,svg,png",
        help="also figures for a paper, in RESULTS/figures",
    )
    arguments.add_argument(
        "--tables", type=_some_of(TABLE_FORMATS), metavar="latex,markdown,csv", help="also tables, in RESULTS/tables"
    )
    return arguments


def _some_of(known: Sequence[str]) -> Callable[[str], list[str]]:
    def read(text: str) -> list[str]:
        names = [name.strip() for name in text.split(",")]
        wrong = [name for name in names if name not in known]
        if wrong:
            raise argparse.ArgumentTypeError(f"must be some of {','.join(known)}, got {text!r}")
        return names

    return read


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    arguments = parser().parse_args(argv)
    try:
        seen = _state(arguments.results)  # before the rows are read: what is written meanwhile is a change
        _write_all(arguments)
        while arguments.watch:
            seen = _wait_for_change(arguments.results, seen)
            _write_all(arguments)
    except (ReportError, LinkError, StudyError) as error:
        complain(error)
        return USER_ERROR
    except KeyboardInterrupt:
        pass
    return DONE


def _write_all(arguments: argparse.Namespace) -> None:
    """The report of a study, or those of all its read-outs and the joint one."""
    folders = study_folders(arguments.results)
    if folders == [arguments.results]:
        _write(arguments)
        return
    for folder in folders:
        _write(argparse.Namespace(**{**vars(arguments), "results": folder, "output": None}))
    page = write_joint(arguments.results, arguments.output)
    say(f"joint report: {page.absolute().as_uri()}")


def _write(arguments: argparse.Namespace) -> None:
    found = _find(arguments.results)
    page = write_page(
        found.results,
        found.rows,
        found.readout,
        found.space,
        found.study_yaml,
        n_cells=found.n_cells,
        notes=found.notes,
        path=arguments.output,
    )
    of = f" of {found.n_cells}" if found.n_cells else ""
    say(f"report of {len(found.rows)}{of} cells: {page.absolute().as_uri()}")
    frame = as_frame(found.rows, all_columns(found.readout))
    name = found.space.name if found.space else found.results.root.name
    measures = measured(found.readout, found.rows)
    for kind, formats, write in (
        ("figures", arguments.figures, write_figures),
        ("tables", arguments.tables, write_tables),
    ):
        if formats:
            folder = found.results.made_folder(kind)
            about = (found.readout.flag_meanings, found.readout.mild_flags)
            written = write(frame, found.readout.dimensions, measures, name, formats, folder, *about)
            say(f"{kind}: {len(written)} files in {folder}")


def _find(folder: Path) -> _Found:
    """Read the rows, without the lock: every file is written whole.

    Raises:
        ReportError: no results there.
    """
    results = ResultsDirectory(folder)
    if not folder.is_dir():
        raise ReportError(f"{folder}: no such folder; give that of a study, such as results/quickstart")
    study = study_rows(folder)
    if not study.rows and not (folder / "study.yaml").is_file():
        inside = sorted(path.parent.as_posix() for path in folder.glob("*/study.yaml"))
        remedy = f"did you mean {' or '.join(inside[:3])}?" if inside else "give the folder of a study's results"
        raise ReportError(f"{folder}: no results here; {remedy}")
    space, study_yaml, notes = _study(folder)
    rows, cells = study.rows, study.cells
    kept = list(rows.values()) if cells is None else [rows[cell] for cell in cells if cell in rows]
    n_cells = None if cells is None else len(cells)
    remarks = tuple(study.remarks())
    for remark in remarks:
        complain(remark)
    name = space.readout if space else str(kept[0]["readout"]) if kept else DEFAULT_READOUT
    return _Found(results, kept, _readout(name), space, study_yaml, n_cells, (*notes, *remarks))


def _study(folder: Path) -> tuple[Study | None, str, tuple[str, ...]]:
    """The study beside the rows; rows of a study that can no longer be read are still worth a report."""
    path = folder / "study.yaml"
    if not path.is_file():
        return None, "", ("No study.yaml stands beside these rows.",)
    try:
        return load_study(path), path.read_text(encoding="utf-8"), ()
    except (StudyError, ValueError) as error:
        return None, path.read_text(encoding="utf-8"), (f"The study cannot be read: {error}",)


def _readout(name: str) -> Readout:
    try:
        return find_readout(name)
    except ValueError as error:
        raise ReportError(str(error)) from error


_State = list[tuple[str, int]]


def _wait_for_change(folder: Path, seen: _State) -> _State:
    while (now := _state(folder)) == seen:
        time.sleep(WATCH_S)
    return now


def _state(folder: Path) -> _State:
    state = []
    for path in (path for one in study_folders(folder) for path in row_files(one)):
        with suppress(FileNotFoundError):  # removed since it was listed
            state.append((path.name, path.lstat().st_mtime_ns))
    return state


if __name__ == "__main__":
    run_command(main)
