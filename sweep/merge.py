"""Joins two results directories: `python -m sweep.merge A B [--into C]`."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from frozen.terminal import Arguments, complain, run_command, say
from frozen.whole_files import appearing
from sweep.results.columns import VOLATILE_COLUMNS
from sweep.results.directory import BusyError, LinkError, ResultsDirectory, Row
from sweep.results.rows import read_rows, shown
from sweep.results.stored import study_folders

_VIEWS = ("rows", "tune", "figures", "tensorboard")


class MergeError(ValueError):
    """Directories that cannot be joined as asked."""


class Conflict(NamedTuple):
    """A cell that both directories have measured, with other results."""

    cell: str
    columns: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.cell}: {', '.join(self.columns)}"


class Merge(NamedTuple):
    """What joining means for each cell of the second directory.

    Attributes:
        taken: cells to copy: only the second has them, or the first has failed at them.
        equal: cells that both have with the same results; those of the first stay.
        kept: cells that the second has failed at and the first has done.
        conflicts: cells done in both with other results.
    """

    taken: tuple[str, ...]
    equal: tuple[str, ...]
    kept: tuple[str, ...]
    conflicts: tuple[Conflict, ...]


def compare(first: Mapping[str, Row], second: Mapping[str, Row]) -> Merge:
    """Compare the rows of two directories, leaving out what may differ between equal runs."""
    taken, equal, kept, conflicts = [], [], [], []
    for cell, row in second.items():
        other = first.get(cell)
        if other is None or (other["status"], row["status"]) == ("failed", "done"):
            taken.append(cell)
        elif row["status"] == "failed":
            kept.append(cell)
        elif differing := _differing(other, row):
            conflicts.append(Conflict(cell, differing))
        else:
            equal.append(cell)
    return Merge(tuple(taken), tuple(equal), tuple(kept), tuple(conflicts))


def _differing(first: Row, second: Row) -> tuple[str, ...]:
    ignored = {*VOLATILE_COLUMNS, "study"}
    names = dict.fromkeys([*first, *second])
    return tuple(name for name in names if name not in ignored and first.get(name) != second.get(name))


def merge(first: Path, second: Path, into: Path | None) -> Merge:
    """Join two results directories; nothing is written if a cell has two results.

    Args:
        first: a results directory.
        second: another one.
        into: a new directory for both; by default the cells of the second are added to the first.

    Raises:
        MergeError: a directory without rows, or `into` exists.
        BusyError: a run holds one of them.
    """
    if first.resolve() == second.resolve():
        raise MergeError(f"{first} and {second} are the same directory")
    if into is not None and into.exists():
        raise MergeError(f"{into} is there already; choose a new folder")
    for folder in (first, second):
        if not (folder / "rows").is_dir():
            inside = [place.as_posix() for place in study_folders(folder) if place != folder]
            remedy = f"join them one by one: {', '.join(inside)}" if inside else "give one such as results/quickstart"
            raise MergeError(f"{folder} holds no rows of its own; {remedy}")
    with ExitStack() as held:
        for folder in (first, second):
            held.enter_context(ResultsDirectory(folder).locked())
        rows, others = read_rows(first), read_rows(second)
        for line in shown((*rows.damages, *others.damages)):
            complain(line)
        found = compare(rows.rows, others.rows)
        if found.conflicts:
            return found
        if into is None:
            _copy_cells(second, first, found.taken)
        else:
            _copy_whole(first, second, into, found.taken)
    return found


def _copy_whole(first: Path, second: Path, into: Path, cells: Sequence[str]) -> None:
    """Both directories in a new one, which appears when it is complete."""
    with appearing(into) as half:
        shutil.copytree(first, half, ignore=_not_copied)
        _copy_cells(second, half, cells)


def _not_copied(folder: str, names: list[str]) -> set[str]:
    """What a new directory does without: locks, what Tune left, links, and what is no file at all."""
    here = Path(folder)
    odd = {name for name in names if (path := here / name).is_symlink() or not (path.is_dir() or path.is_file())}
    return {"lock", "tune"} | odd


def _copy_cells(source: Path, target: Path, cells: Sequence[str]) -> None:
    """Copy all files of some cells, each at once, its row last, so that no row is without its samples."""
    results = ResultsDirectory(target)
    for damage in read_rows(target).damages:
        if damage.cell in cells:
            results.set_aside(damage)
    for cell in cells:
        files = [path for path in ResultsDirectory(source).files_of(cell) if path.parent.name not in _VIEWS]
        for path in [*files, source / "rows" / f"{cell}.json"]:
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            with appearing(place) as half:
                shutil.copyfile(path, half)


def main(argv: Sequence[str] | None = None) -> int:
    """Join two results directories; returns the exit code."""
    parser = Arguments(
        prog="python -m sweep.merge",
        description="Add the cells of one results directory to another; run the study again for table and report.",
        epilog="exit codes: 0 joined, 1 some cells have two results and nothing was written, 2 a mistake",
    )
    parser.add_argument("first", type=Path, help="a results directory, which receives the cells of the other")
    parser.add_argument("second", type=Path, help="another one, which stays as it is")
    parser.add_argument("--into", type=Path, metavar="DIR", help="a new directory for both; the first stays as it is")
    options = parser.parse_args(argv)
    try:
        found = merge(options.first, options.second, options.into)
    except (MergeError, BusyError, LinkError, OSError) as error:
        complain(error)
        return 2
    for conflict in found.conflicts:
        complain(f"two results of cell {conflict}")
    if found.conflicts:
        complain("nothing was written; remove one of the two rows (rows/CELL.json) and try again")
        return 1
    say(f"{len(found.taken)} cells added, {len(found.equal)} equal, {len(found.kept)} failed in the second only")
    return 0


if __name__ == "__main__":
    run_command(main)
