"""Ray on this machine alone: it listens on the loopback interface, its files are private, and none outlive a run."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sweep.places import PlaceError, refuse_unwritable

MOST_SOCKET_BYTES = 103 if sys.platform == "darwin" else 107
"""Of the path of a Unix socket."""
_SOCKET = "session_2026-01-31_23-59-59_999999_{pid}/sockets/plasma_store"
_LOOPBACK_ONLY = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # named for the systems where Ray's default is "0"
_NEW_FILE = os.O_CREAT | os.O_EXCL | os.O_WRONLY
_REMEDY = "export RAY_TMPDIR=FOLDER with a folder of yours that has a short path"


@contextmanager
def local_ray() -> Iterator[Path]:
    """Have Ray bind to loopback while the block runs, and give it a private folder.

    Ray would listen on all interfaces, its metrics without asking for a token, and it makes folders that everyone
    can write to. Folders of killed runs are removed at the start, that of this run at its end.

    Yields:
        The folder, for `ray.init(_temp_dir=...)`.

    Raises:
        PlaceError: the folder or Ray's token cannot be written.
    """
    refuse_unusable_ray_folder()
    folder = _ray_folder()
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _make_private(folder.parent)
    folder.mkdir(exist_ok=True)
    make_token()
    _remove_ended(folder.parent)
    pid = os.getpid()
    before = set(_sessions(folder, pid))
    with _owner_file(folder.parent, pid).open("w") as owner:
        fcntl.flock(owner, fcntl.LOCK_SH)  # shared: another container may have a process of the same number
        try:
            with _bound_to_loopback():
                yield folder
        finally:
            _remove([path for path in _sessions(folder, pid) if path not in before], folder)
            _owner_file(folder.parent, pid).unlink(missing_ok=True)


def refuse_unusable_ray_folder() -> None:
    """Say before Ray starts that it could not: nothing is left behind.

    Raises:
        PlaceError: the folder cannot be written, is another user's, or its path is too long for Ray's sockets.
    """
    folder = _ray_folder()
    socket = folder / _SOCKET.format(pid=os.getpid())
    if (over := len(os.fsencode(socket)) - MOST_SOCKET_BYTES) > 0:
        most = len(os.fsencode(folder.parent.parent)) - over
        raise PlaceError(
            f"{_variable()}={folder.parent.parent}: too long by {over} bytes for the sockets that Ray makes there; "
            f"export RAY_TMPDIR=/tmp, or another folder whose path has at most {most} bytes"
        )
    refuse_unwritable(folder.parent, _REMEDY, folders=[folder.name])
    if folder.parent.is_symlink() or (folder.parent.exists() and folder.parent.stat().st_uid != os.getuid()):
        raise PlaceError(f"{folder.parent}: is a link or another user's; {_REMEDY}")


def _ray_folder() -> Path:
    """Inside a private folder, because Ray lets everyone write to its own."""
    variable = _variable()
    base = os.environ[variable] if variable else "/tmp"  # noqa: S108, Ray's default, for its short path
    return Path(base).absolute() / f"ray-{os.getuid()}" / "run"


def _variable() -> str | None:
    """The variable that names the place of Ray's files."""
    names = ("RAY_TMPDIR", "TMPDIR") if sys.platform == "linux" else ("RAY_TMPDIR",)
    return next((name for name in names if os.environ.get(name)), None)


def _make_private(folder: Path) -> None:
    if stat.S_IMODE(folder.stat().st_mode) & 0o077:
        folder.chmod(0o700)


@contextmanager
def _bound_to_loopback() -> Iterator[None]:
    """Have Ray take the loopback address for this machine's: its processes bind to what they know of it."""
    from ray._private import ray_constants  # it has read the variable when it was imported, perhaps long ago

    constant, variable = ray_constants.ENABLE_RAY_CLUSTER, os.environ.get(_LOOPBACK_ONLY)
    ray_constants.ENABLE_RAY_CLUSTER, os.environ[_LOOPBACK_ONLY] = False, "0"
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = constant
        if variable is None:
            del os.environ[_LOOPBACK_ONLY]
        else:
            os.environ[_LOOPBACK_ONLY] = variable


def _owner_file(folder: Path, pid: int | str) -> Path:
    return folder / f"{pid}.owner"


def _sessions(folder: Path, pid: int | str) -> list[Path]:
    return list(folder.glob(f"session_*_{pid}"))


def _remove_ended(private: Path) -> None:
    """Remove the sessions of processes that no longer hold their owner file."""
    for path in private.glob("*.owner"):
        with suppress(OSError), path.open() as owner:
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(_sessions(private / "run", path.stem), private / "run")
            path.unlink()


def _remove(sessions: list[Path], folder: Path) -> None:
    for session in sessions:
        shutil.rmtree(session, ignore_errors=True)
    for path in folder.iterdir():
        if path.is_symlink() and not path.exists():  # such as session_latest
            path.unlink(missing_ok=True)


def make_token() -> None:
    """Make the token of Ray that its processes show each other, unless there is one; only its owner may read it.

    Raises:
        PlaceError: it cannot be written.
    """
    if not _uses_token_file() or _token_file().exists():
        keep_token_private()
        return
    path = _token_file()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError), os.fdopen(os.open(path, _NEW_FILE, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
    except OSError as error:
        raise PlaceError(
            f"{path}: Ray's token cannot be written there ({error.strerror}); "
            "export RAY_AUTH_TOKEN_PATH=FILE with a file of yours that holds a long random word"
        ) from error


def keep_token_private() -> None:
    """Take from others the right to read the token, which lets its readers run code: Ray makes it for all to read."""
    path = _token_file()
    with suppress(OSError):
        if _uses_token_file() and path.stat().st_uid == os.getuid() and path.stat().st_mode & 0o077:
            path.chmod(0o600)


def _uses_token_file() -> bool:
    mode = os.environ.get("RAY_AUTH_MODE", "token").lower()
    return mode == "token" and not {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & set(os.environ)


def _token_file() -> Path:
    return Path.home() / ".ray" / "auth_token"
