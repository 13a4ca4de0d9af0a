"""Whether tables and reports still stand for what they were made from: then a run with nothing to do leaves them."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from sweep.results.directory import CELLS_FILE

_NOTE = ".views"
_WRITTEN_BY_EVERY_RUN = frozenset((_NOTE, "lock", "study.yaml", CELLS_FILE))
_CODE = (".py", ".js", ".css", ".html")


def views_stand(results: Path, made_from: Iterable[str], makers: Iterable[object]) -> bool:
    """Whether nothing has changed since `note_views`: rows, views, what else they are made from, and the code.

    Files count by size and time of change. Arguments as of `note_views`.
    """
    try:
        noted = (results / _NOTE).read_text()
    except OSError:
        return False
    return noted == _state(results, made_from, makers)


def note_views(results: Path, made_from: Iterable[str], makers: Iterable[object]) -> None:
    """Note that the views of some results were just made.

    Args:
        results: the folder, with the views in it.
        made_from: texts that say what else they show than the files of that folder.
        makers: read-outs that made parts of them.
    """
    (results / _NOTE).write_text(_state(results, made_from, makers))


def _state(results: Path, made_from: Iterable[str], makers: Iterable[object]) -> str:
    digest = hashlib.sha256()
    for text in made_from:
        digest.update(f"{len(text)} {text}".encode())
    for path in _files(results):
        if path.name not in _WRITTEN_BY_EVERY_RUN:
            digest.update(_seen(path, results))
    for root in sorted({*map(_code_of, makers), *(_package(name) for name in ("frozen", "sweep"))}):
        for path in _files(root):
            if path.suffix in _CODE:
                digest.update(_seen(path, root))
    return digest.hexdigest()


def _seen(path: Path, root: Path) -> bytes:
    found = path.lstat()
    return f"{path.relative_to(root).as_posix()} {found.st_size} {found.st_mtime_ns}\n".encode()


def _files(root: Path) -> Iterator[Path]:
    """The files below a folder, or a file itself, in an order that is always the same."""
    if root.is_file():
        yield root
    for folder, below, names in os.walk(root):
        below.sort()
        yield from (Path(folder, name) for name in sorted(names))


def _package(name: str) -> Path:
    return Path(next(iter(sys.modules[name].__path__)))


def _code_of(maker: object) -> Path:
    """The package that an object's class is defined in, or its file where that is in none."""
    module = sys.modules[type(maker).__module__]
    package = module.__spec__.parent if module.__spec__ else ""
    return _package(package) if package else Path(module.__file__ or sys.executable)
