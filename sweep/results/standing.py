"""Whether tables and reports still stand for what they were made from: then a run with nothing to do leaves them."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from frozen.whole_files import write_whole
from sweep.results.directory import CELLS_FILE, VIEWS_FILE
from sweep.store.lease import LOCK_FILE

_WRITTEN_BY_EVERY_RUN = frozenset((VIEWS_FILE, CELLS_FILE, LOCK_FILE, "lock", "study.yaml", "published.csv"))
_CODE = (".py", ".js", ".css", ".html")


def views_stand(results: Path, made_from: Iterable[str]) -> bool:
    """Whether nothing has changed since `note_views`: rows, views, and what else they are made from.

    Files count by size and time of change. Arguments as of `note_views`.
    """
    try:
        noted = (results / VIEWS_FILE).read_text()
    except OSError:
        return False
    return noted == _state(results, made_from)


def note_views(results: Path, made_from: Iterable[str]) -> None:
    """Note that the views of some results were just made; where that cannot be, they will be made again.

    Args:
        results: the folder, with the views in it.
        made_from: texts that say what else they show than the files of that folder.
    """
    with suppress(OSError):
        write_whole(results / VIEWS_FILE, _state(results, made_from))


def code_of(makers: Iterable[object]) -> str:
    """The state of the code of this engine and of the read-outs that make parts of views."""
    digest = hashlib.sha256()
    for root in sorted({*map(_place, makers), *(_package(name) for name in ("frozen", "sweep"))}):
        for path in _files(root):
            if path.suffix in _CODE:
                digest.update(_seen(path, root))
    return digest.hexdigest()


def _state(results: Path, made_from: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for text in made_from:
        digest.update(f"{len(text)} {text}".encode())
    for path in _files(results):
        if path.name not in _WRITTEN_BY_EVERY_RUN:
            digest.update(_seen(path, results))
    return digest.hexdigest()


def _seen(path: Path, root: Path) -> bytes:
    try:
        found = path.lstat()
    except FileNotFoundError:  # removed just now
        return b""
    return f"{path.relative_to(root).as_posix()} {found.st_size} {found.st_mtime_ns}\n".encode()


def _files(root: Path) -> Iterator[Path]:
    """The files below a folder, or a file itself, in an order that is always the same; none that are half written."""
    if root.is_file():
        yield root
    for folder, below, names in os.walk(root):
        below.sort()
        yield from (Path(folder, name) for name in sorted(names) if not name.endswith(".tmp"))


def _package(name: str) -> Path:
    return Path(next(iter(sys.modules[name].__path__)))


def _place(maker: object) -> Path:
    """The package that an object's class is defined in, or its file where that is in none."""
    module = sys.modules[type(maker).__module__]
    package = module.__spec__.parent if module.__spec__ else ""
    return _package(package) if package else Path(module.__file__ or sys.executable)
