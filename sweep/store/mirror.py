"""Results and store at a URL: local folders to work in, and copies of their files at the URL."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa

from sweep.results.directory import ResultsDirectory, Row
from sweep.results.rows import Damage
from sweep.store.disk import META, DiskStore
from sweep.store.lease import LOCK_FILE, lease
from sweep.store.remote import RemoteFolder, below, is_url, without_secrets
from sweep.store.scratch import scratch_folder

_STAYS_HERE = ("lock", "tune")


class MirroredResults(ResultsDirectory):
    """A results directory at a URL, which is its state; the local folder lasts as long as the run.

    Args:
        root: an empty local folder.
        remote: where the results are.
    """

    def __init__(self, root: Path, remote: RemoteFolder) -> None:
        super().__init__(root)
        self._remote = remote

    def where(self, name: str) -> str:
        """The URL of a file of the directory."""
        return without_secrets(below(self._remote.url, name))

    def part(self, name: str) -> ResultsDirectory:
        """The folder of one of several read-outs, in this one, with the rows that are there."""
        part = MirroredResults(self.root / name, RemoteFolder(below(self._remote.url, name)))
        part.fetch_rows()
        return part

    def absolute(self) -> ResultsDirectory:
        """The same directory, for a process of this machine that works in another folder."""
        return self

    def refuse_unwritable(self, remedy: str) -> None:
        """Try to write at the URL, before anything is started.

        Raises:
            RemoteError: it cannot be done.
        """
        del remedy  # the error has its own
        self._remote.try_writing()

    def refuse_if_busy(self) -> None:
        """Nothing: at a URL, `locked` has to look for some seconds to find out."""

    def fetch_rows(self) -> None:
        """Copy the rows here, which are all that a plan needs."""
        self._remote.download(self.root, sorted(self._remote.files("rows")))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the URL for one run; when the run comes to its end, everything it wrote is there.

        Raises:
            BusyError: another run holds it.
            RemoteError: the place cannot be read or written.
        """
        with lease(self._remote):
            there = self._remote.files() - {LOCK_FILE}
            for path in _row_files(self.root):
                path.unlink()  # another run may have gone on between the plan and the lock
            self._remote.download(self.root, sorted(there))
            with super().locked():
                yield
                self._upload(sorted(self._files() - _cell_files(self.root)))

    def set_aside(self, damage: Damage) -> Path:
        """Move what is no row out of the way, here and at the URL."""
        place = super().set_aside(damage)
        self._upload([place.relative_to(self.root).as_posix()])
        self._remote.remove(damage.path.relative_to(self.root).as_posix())
        return place

    def write(
        self,
        row: Row,
        samples: pa.Table | None = None,
        curves: pa.Table | None = None,
        suggestions: pa.Table | None = None,
        files: Mapping[str, bytes] | None = None,
    ) -> None:
        """Write a cell here, then at the URL, its row last."""
        before = self._names_of(row)
        super().write(row, samples, curves, suggestions, files)
        after = self._names_of(row)
        self._upload(sorted(after, key=lambda name: name.startswith("rows/")))
        for name in before - after:
            self._remote.remove(name)

    def _names_of(self, row: Row) -> set[str]:
        return {path.relative_to(self.root).as_posix() for path in self.files_of(str(row["cell_id"]))}

    def write_text(self, name: str, text: str) -> Path:
        """Write a text file, here and at the URL."""
        path = super().write_text(name, text)
        self._upload([name])
        return path

    def write_table(self, rows: Iterable[Row], columns: Iterable[str]) -> Path:
        """Write results.parquet and results.csv, here and at the URL."""
        path = super().write_table(rows, columns)
        self._upload(["results.parquet", "results.csv"])
        return path

    def _upload(self, names: list[str]) -> None:
        for name in names:
            self._remote.upload(self.root, [name])

    def _files(self) -> set[str]:
        paths = (path for path in self.root.rglob("*") if path.is_file() and not path.name.startswith("."))
        names = {path.relative_to(self.root) for path in paths}
        return {name.as_posix() for name in names if name.parts[0] not in _STAYS_HERE}


def _cell_files(root: Path) -> set[str]:
    """Files that belong to cells; they are at the URL already."""
    cells = {path.stem for path in _row_files(root)}
    return {path.relative_to(root).as_posix() for path in root.rglob("*/*") if path.name.partition(".")[0] in cells}


def _row_files(root: Path) -> list[Path]:
    """Rows of a study, or of each of its read-outs."""
    return [*root.glob("rows/*.json"), *root.glob("*/rows/*.json")]


class MirroredStore(DiskStore):
    """A store at a URL, with a local copy of what was made or read on this machine.

    Args:
        root: the local folder, kept between runs.
        remote: where the store is.
    """

    def __init__(self, root: Path, remote: RemoteFolder) -> None:
        super().__init__(root)
        self._remote = remote

    def refuse_unwritable(self, remedy: str) -> None:
        """Try to write at the URL, and to the local copy.

        Raises:
            PlaceError: the local copy cannot be written.
            RemoteError: the URL cannot be written.
        """
        del remedy  # the error has its own
        super().refuse_unwritable("it keeps copies of the store; set XDG_CACHE_HOME to another folder")
        self._remote.try_writing()

    def has(self, key: str) -> bool:
        """Whether a complete entry is here; one that is only at the URL is fetched."""
        return super().has(key) or self._fetch(key)

    def lists(self, key: str) -> bool:
        """Whether a complete entry is here or at the URL; fetches nothing."""
        return super().has(key) or f"{key[:2]}/{key}/{META}" in self._remote.files(f"{key[:2]}/{key}")

    def publish(self, key: str, description: Mapping[str, object]) -> None:
        """Make an entry of its parts here, then at the URL, its description last."""
        super().publish(key, description)
        self._remote.upload(self.root, [path.relative_to(self.root).as_posix() for path in self._published(key)])
        self._remote.upload(self.root, [f"{key[:2]}/{key}/{META}"])

    def discard(self, key: str) -> None:
        """Remove an entry here and at the URL."""
        self._remote.remove(f"{key[:2]}/{key}/{META}")
        super().discard(key)

    def _fetch(self, key: str) -> bool:
        names = self._remote.files(f"{key[:2]}/{key}")
        if f"{key[:2]}/{key}/{META}" not in names:
            return False
        with TemporaryDirectory(prefix=".fetch-", dir=self._made_root()) as folder:
            self._remote.download(Path(folder), sorted(names))
            fetched = Path(folder) / key[:2] / key
            self._folder(key).parent.mkdir(exist_ok=True)
            try:
                fetched.replace(self._folder(key))
            except OSError:  # another process of this machine was faster
                shutil.rmtree(fetched)
        return super().has(key)

    def _made_root(self) -> Path:
        self.root.mkdir(parents=True, exist_ok=True)
        return self.root


def open_store(place: str) -> DiskStore:
    """The store at a path or URL."""
    if not is_url(place):
        return DiskStore(Path(place))
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = hashlib.sha256(place.encode()).hexdigest()[:16]
    return MirroredStore(cache / "binding-sweep" / "stores" / name, RemoteFolder(place))


@contextmanager
def results_at(place: str, study: str) -> Iterator[ResultsDirectory]:
    """The results directory of a study below a path or URL, with the rows that are there.

    Raises:
        RemoteError: the place cannot be read.
    """
    if not is_url(place):
        yield ResultsDirectory(Path(place) / study)
        return
    with scratch_folder() as folder:
        results = MirroredResults(folder / study, RemoteFolder(below(place, study)))
        results.fetch_rows()
        yield results
