"""Folders at a URL: s3://, gs://, abfs://, hdfs:// and file://, by the file systems of pyarrow."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from io import BufferedIOBase, BytesIO
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

_TRANSFERS = 16
_PIECE_BYTES = 2**23  # a transfer holds so much of its file


class RemoteError(RuntimeError):
    """A URL that cannot be read or written."""


def is_url(place: str) -> bool:
    """Whether a place is a URL rather than a path."""
    return "://" in place


def below(url: str, name: str) -> str:
    """The URL of what lies in a folder; what follows a question mark (such as `endpoint_override`) stays."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{name}"))


def without_secrets(url: str) -> str:
    """A URL as it may be printed: without the user's key and the settings of the connection."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


class RemoteFolder:
    """A folder at a URL. Files appear whole: object stores make them so, elsewhere they are moved into place.

    Args:
        url: of the folder; with query settings of pyarrow's file system, such as `?region=eu-west-1`.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def __reduce__(self) -> tuple[type[RemoteFolder], tuple[str]]:
        return RemoteFolder, (self.url,)  # file systems hold connections

    @cached_property
    def _opened(self) -> tuple[Any, PurePosixPath]:
        from pyarrow import fs

        try:
            system, path = fs.FileSystem.from_uri(self.url)
        except (OSError, ValueError) as error:
            raise self.problem(error) from error
        return system, PurePosixPath(path)

    def files(self, folder: str = "") -> set[str]:
        """Names of all files below, relative to this folder.

        Raises:
            RemoteError: the place cannot be read.
        """
        from pyarrow import fs

        system, root = self._opened
        selector = fs.FileSelector(str(root / folder), recursive=True, allow_not_found=True)
        try:
            found = system.get_file_info(selector)
        except OSError as error:
            raise self.problem(error) from error
        paths = [PurePosixPath(info.path).relative_to(root) for info in found if info.type == fs.FileType.File]
        return {str(path) for path in paths if not path.name.startswith(".")}

    def read(self, name: str) -> bytes | None:
        """Content of a file; None if there is none."""
        system, root = self._opened
        try:
            with system.open_input_file(str(root / name)) as file:
                return file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self.problem(error) from error

    def write(self, name: str, content: bytes) -> None:
        """Make or replace a file.

        Raises:
            RemoteError: the place cannot be written to.
        """
        self._write(name, BytesIO(content))

    def _write(self, name: str, content: BufferedIOBase) -> None:
        system, root = self._opened
        path = root / name
        try:
            if system.type_name in ("s3", "gcs", "abfs"):  # a file there appears when it is complete
                with system.open_output_stream(str(path)) as file:
                    shutil.copyfileobj(content, file, _PIECE_BYTES)
                return
            system.create_dir(str(path.parent), recursive=True)
            temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
            with system.open_output_stream(str(temporary)) as file:
                shutil.copyfileobj(content, file, _PIECE_BYTES)
            system.move(str(temporary), str(path))
        except OSError as error:
            raise self.problem(error) from error

    def try_writing(self) -> None:
        """Write a file and remove it again.

        Raises:
            RemoteError: the place cannot be written to.
        """
        name = f".try-{uuid4().hex}"
        self.write(name, b"")
        self.remove(name)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        system, root = self._opened
        try:
            system.delete_file(str(root / name))
        except FileNotFoundError:
            return
        except OSError as error:
            raise self.problem(error) from error

    def upload(self, folder: Path, names: Sequence[str]) -> None:
        """Copy files of a local folder here, many at a time, none of them read as a whole.

        Raises:
            RemoteError: the place cannot be written to.
        """

        def one(name: str) -> None:
            with (folder / name).open("rb") as file:
                self._write(name, file)

        with ThreadPoolExecutor(_TRANSFERS) as pool:
            list(pool.map(one, names))

    def download(self, folder: Path, names: Sequence[str]) -> None:
        """Copy files from here into a local folder, many at a time, none of them read as a whole.

        One that is gone meanwhile is left out.

        Raises:
            RemoteError: the place cannot be read.
        """
        system, root = self._opened

        def one(name: str) -> None:
            try:
                source = system.open_input_stream(str(root / name))
            except FileNotFoundError:
                return
            except OSError as error:
                raise self.problem(error) from error
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            with source, (folder / name).open("wb") as target:
                try:
                    shutil.copyfileobj(source, target, _PIECE_BYTES)
                except OSError as error:
                    raise self.problem(error) from error

        with ThreadPoolExecutor(_TRANSFERS) as pool:
            list(pool.map(one, names))

    def problem(self, error: Exception) -> RemoteError:
        """What to say of an error, with what to check."""
        return RemoteError(
            f"{without_secrets(self.url)} cannot be used: {error}\n"
            "check the URL, that the bucket is there, and that this machine has credentials for it "
            "(for S3: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or the role of the machine)"
        )
