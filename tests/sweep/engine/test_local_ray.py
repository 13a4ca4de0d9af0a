"""A run on one machine: who may reach its Ray, what it leaves, what is said when a process of it is killed."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import psutil
import pytest

from sweep.engine.local_ray import MOST_SOCKET_BYTES, keep_token_private, make_token, refuse_unusable_ray_folder
from sweep.engine.places import PlaceError
from tests.sweep.conftest import SMALL, Project, finish, wait_until
from tests.sweep.faults import stuck_cell


def family(pid: int) -> list[psutil.Process]:
    return [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]


def is_loopback(address: str) -> bool:
    return address.removeprefix("::ffff:") in ("127.0.0.1", "::1")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.starts_ray
@pytest.mark.parametrize("killed", ["raylet", pytest.param("gcs_server", marks=pytest.mark.slow)])
def test_ray_is_private_and_a_run_whose_ray_is_killed_says_so_and_goes_on(
    project: Project, monkeypatch: pytest.MonkeyPatch, killed: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home, place = project.folder / "home", tmp_path_factory.getbasetemp().parent.parent / f"r{os.getpid()}"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("RAY_TMPDIR", str(place))
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    process = project.start(*SMALL, environment=os.environ | stuck_cell(project.folder), dashboard=True)
    try:
        wait_until(lambda: len(project.rows) == 2)
        members = family(process.pid)
        listening = [
            (member.name(), connection.laddr.ip)
            for member in members
            for connection in member.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        ]
        assert {"raylet", "gcs_server"} <= {name for name, _ in listening}
        assert not [(name, address) for name, address in listening if not is_loopback(address)]
        folder = place / f"ray-{os.getuid()}"
        assert mode(folder) == 0o700
        assert mode(home / ".ray" / "auth_token") == 0o600
        assert list((folder / "run").glob(f"session_*_{process.pid}"))
        next(member for member in members if member.name() == killed).kill()
        code, output = finish(process)
        assert code == 3, output
        assert "Ray dashboard: http://127.0.0.1:" in output
        assert "ray get-auth-token" in output
        assert f"Ray's process {killed} on this machine was killed" in output
        assert "the same command goes on" in output
        assert "Traceback" not in output
        assert "(raylet)" not in output
        code, output = project.run(*SMALL)
        assert code == 0, output
        assert "3 cells: 2 done, 1 to do" in output
        assert "small: 3/3 cells" in output
        assert sorted(path.name for path in folder.rglob("*")) == ["run"]
    finally:
        if process.poll() is None:
            process.kill()


def test_a_folder_too_long_for_sockets_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The longest one that Ray can use is told, and is right by a byte."""
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", f"/tmp/{'x' * 120}")
    with pytest.raises(PlaceError, match=r"TMPDIR=/tmp/x+: too long by .* at most") as refusal:
        refuse_unusable_ray_folder()
    most = int(str(refusal.value).split("at most ")[1].split()[0])
    socket = "/session_2026-01-31_23-59-59_999999_/sockets/plasma_store"
    assert most + len(f"/ray-{os.getuid()}/run{socket}{os.getpid()}") == MOST_SOCKET_BYTES
    monkeypatch.setenv("RAY_TMPDIR", f"/tmp/{'x' * (most - 5)}")
    refuse_unusable_ray_folder()
    assert not Path(os.environ["RAY_TMPDIR"]).exists()
    monkeypatch.setenv("RAY_TMPDIR", f"/tmp/{'x' * (most - 4)}")
    with pytest.raises(PlaceError, match="too long by 1 bytes"):
        refuse_unusable_ray_folder()


def test_a_folder_of_another_user_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setattr("sweep.engine.local_ray.MOST_SOCKET_BYTES", 1000)
    (tmp_path / f"ray-{os.getuid()}").symlink_to("/usr")
    with pytest.raises(PlaceError, match="is a link or another user's"):
        refuse_unusable_ray_folder()


def test_the_token_is_its_owners_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    token = tmp_path / ".ray" / "auth_token"
    make_token()
    text = token.read_text()
    assert (len(text), mode(token)) == (64, 0o600)
    token.chmod(0o644)
    keep_token_private()
    assert mode(token) == 0o600
    make_token()
    assert token.read_text() == text


@pytest.mark.parametrize("variable", ["RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"])
def test_a_token_given_otherwise_is_left_alone(
    variable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(variable, "given")
    make_token()
    assert not list(tmp_path.iterdir())
