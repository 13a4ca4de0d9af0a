"""What lies in the activation store, and removing it: `python -m sweep.clean`.

Every entry can be made again by the run that needs it, so removing one costs time and never a result.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from frozen.terminal import Arguments, complain, run_command, say

_DAY_S = 86400.0
_HEX_DIGITS = frozenset("0123456789abcdef")
_KEY_LENGTH = 64


class StoreEntry(NamedTuple):
    """One entry of a store, or what an interrupted run has left of one."""

    folder: Path
    what: str
    size_bytes: int
    age_days: float
    """Since it was last written; entries are not touched by reading."""

    @property
    def key(self) -> str:
        """Key of the entry."""
        return self.folder.name.removesuffix(".staging")


def entries(root: Path, now_s: float) -> Iterator[StoreEntry]:
    """Every entry of a store; nothing that is not one, and nothing that a link leads to."""
    for folder in sorted(root.glob("??/*")):
        key = folder.name.removesuffix(".staging")
        named = len(key) == _KEY_LENGTH and _HEX_DIGITS.issuperset(key) and folder.parent.name == key[:2]
        if named and not folder.is_symlink() and not folder.parent.is_symlink() and folder.is_dir():
            stats = [path.lstat() for path in (folder, *folder.rglob("*"))]
            age = (now_s - max(stat.st_mtime for stat in stats)) / _DAY_S
            yield StoreEntry(folder, _description(folder), sum(stat.st_size for stat in stats), max(age, 0.0))


def _description(folder: Path) -> str:
    if folder.name.endswith(".staging"):
        return "unfinished"
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        names = [
            meta.get(name) for name in ("kind", "backbone", "split", "layer", "mode", "dtype", "product", "giver")
        ]
    except (OSError, ValueError, AttributeError):
        return "unreadable"
    return " ".join(str(name) for name in names if name is not None)


def keys_of_study(study: Path) -> set[str]:
    """Keys of everything that a study reads.

    Raises:
        StudyError: the study, its data or its backbones cannot be opened.
    """
    from sweep.engine.grid import joined
    from sweep.engine.needs import Graph
    from sweep.engine.sources import open_all
    from sweep.results.beside import read_file

    found = read_file(study)
    cells = joined(found.grids.values()).cells
    graph = Graph(cells, open_all(cells, (), found.file.studies, found.locates), found.readouts)
    return {key for cell in cells for key in (*graph.keys(cell).values(), *graph.given(cell).values())}


def chosen(
    found: Sequence[StoreEntry], keys: set[str] | None, older_than_days: float | None, shrink_to_bytes: int | None
) -> list[StoreEntry]:
    """Entries that meet every condition given; `shrink_to_bytes` takes the oldest until the rest is that small."""
    picked = [
        entry
        for entry in found
        if (keys is None or entry.key in keys) and (older_than_days is None or entry.age_days > older_than_days)
    ]
    if shrink_to_bytes is None:
        return picked
    left = sum(entry.size_bytes for entry in found)
    oldest: list[StoreEntry] = []
    for entry in sorted(picked, key=lambda entry: -entry.age_days):
        if left > shrink_to_bytes:
            oldest.append(entry)
            left -= entry.size_bytes
    return oldest


def parser() -> argparse.ArgumentParser:
    """The command line's arguments."""
    arguments = Arguments(
        prog="python -m sweep.clean",
        description="List entries of the activation store, and remove them with --delete. Results are never touched. "
        "Not while a run uses the store.",
    )
    arguments.add_argument("--store", type=Path, default=Path("store"), metavar="DIR", help="folder of activations")
    arguments.add_argument("--study", type=Path, metavar="YAML", help="only what this study reads")
    arguments.add_argument("--older-than", type=_amount, metavar="DAYS", help="only what was written longer ago")
    arguments.add_argument("--shrink-to", type=_amount, metavar="GB", help="only the oldest, until this much is left")
    arguments.add_argument("--delete", action="store_true", help="remove them; without it, they are only listed")
    return arguments


def _amount(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number ≥ 0, got {text!r}")
    return value


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    arguments = parser().parse_args(argv)
    from sweep.engine.plan import human_bytes
    from sweep.study.load import StudyError

    try:
        keys = keys_of_study(arguments.study) if arguments.study else None
    except StudyError as error:
        complain(error)
        return 2
    found = list(entries(arguments.store, time.time()))
    limit = None if arguments.shrink_to is None else int(arguments.shrink_to * 1e9)
    picked = chosen(found, keys, arguments.older_than, limit)
    for entry in picked:
        say(f"{entry.key[:12]}  {human_bytes(entry.size_bytes):>8}  {entry.age_days:7.1f} d  {entry.what}")
        if arguments.delete:
            shutil.rmtree(entry.folder)
    size = human_bytes(sum(entry.size_bytes for entry in picked))
    done = "removed" if arguments.delete else "would be removed with --delete"
    say(f"{len(picked)} of {len(found)} entries, {size}, {done}")
    return 0


if __name__ == "__main__":
    run_command(main)
