"""Results and stores at URLs: on a file system, and on an S3 server of this machine where moto is installed."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import fs

from sweep.engine.ledger import Ledger
from sweep.results.directory import BusyError
from sweep.run import main
from sweep.store.conditional import conditional
from sweep.store.disk import Rows, store_key, to_table
from sweep.store.lease import LOCK_FILE, lease
from sweep.store.mirror import MirroredResults, MirroredStore, results_at
from sweep.store.remote import RemoteError, RemoteFolder, below, without_secrets
from tests.sweep.conftest import STUDY, Project, kill, wait_until
from tests.sweep.rows import cell_id, failed_row, sound_row

KEY = store_key(kind="test")
ARRAY = np.arange(12, dtype=np.float16).reshape(6, 2)
ROW = sound_row("c1")
C1 = cell_id("c1")


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """URL of a bucket on an S3 server."""
    server = os.environ.get("MOTO_SERVER") or shutil.which("moto_server")
    if not server:
        pytest.skip(
            "needs an S3 server: `pip install 'moto[server]'`, anywhere, and MOTO_SERVER=/path/of/moto_server"
        )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([server, "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    settings = f"scheme=http&endpoint_override=127.0.0.1:{port}&region=us-east-1"

    def listens() -> bool:
        with socket.socket() as knock:
            return knock.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_until(listens, 120)
        system, _ = fs.FileSystem.from_uri(f"s3://key:secret@sweeps?{settings}&allow_bucket_creation=true")
        system.create_dir("sweeps")
        yield f"s3://key:secret@sweeps/place?{settings}"
    finally:
        process.kill()
        process.wait()


@pytest.fixture(params=["file", pytest.param("s3", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty place."""
    if request.param == "file":
        return (tmp_path / "at-the-url").as_uri()
    return below(request.getfixturevalue("bucket"), tmp_path.name)


def test_keys_are_never_shown() -> None:
    assert without_secrets("s3://key:secret@bucket/a/b?region=x") == "s3://bucket/a/b"
    assert without_secrets("file:///a/b") == "file:///a/b"


def test_files_are_written_whole_listed_and_removed(url: str) -> None:
    folder = RemoteFolder(url)
    assert folder.files() == set()
    assert folder.read("rows/a.json") is None
    folder.write("rows/a.json", b"1")
    folder.write("rows/a.json", b"2")
    folder.write("b.json", b"3")
    assert folder.files() == {"rows/a.json", "b.json"}
    assert folder.files("rows") == {"rows/a.json"}
    assert folder.read("rows/a.json") == b"2"
    folder.remove("rows/a.json")
    folder.remove("rows/a.json")
    assert folder.files() == {"b.json"}


def test_a_write_that_fails_is_one_error_and_leaves_what_is_there(tmp_path: Path) -> None:
    folder = RemoteFolder(tmp_path.as_uri())
    folder.write("a", b"old")
    with pytest.raises(RemoteError, match="cannot be used"):
        folder.write("a/b", b"new")
    assert folder.read("a") == b"old"
    assert folder.files() == {"a"}


def test_results_are_where_the_url_says_and_come_back(url: str) -> None:
    samples = pa.table({"bits": [1.0, 2.0]})
    with results_at(url, "small") as results, results.locked():
        Ledger(results.absolute()).write(ROW, samples, None, None, {"probes.safetensors": b"weights"})
        results.write_text("study.yaml", "name: small")
        (results.root / "report.html").write_text("page")
        first_root = results.root
    assert not first_root.exists()
    there = RemoteFolder(below(url, "small")).files()
    assert there == {
        f"rows/{C1}.json",
        f"samples/{C1}.parquet",
        f"probes/{C1}.safetensors",
        "study.yaml",
        "report.html",
    }
    with results_at(url, "small") as results:
        assert results.rows() == {C1: ROW}
        with results.locked():
            assert (results.root / "samples" / f"{C1}.parquet").exists()
            results.write(failed_row("c1"))  # what belonged to the old row goes
        assert results.where("report.html") == without_secrets(below(url, "small/report.html"))
    assert RemoteFolder(below(url, "small")).files() == {f"rows/{C1}.json", "study.yaml", "report.html"}


def test_a_row_appears_at_the_url_at_once_and_after_its_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    monkeypatch.setattr(RemoteFolder, "_write", lambda self, name, content: written.append(name))
    results = MirroredResults(tmp_path, RemoteFolder("file:///nowhere"))
    results.write(ROW, pa.table({"bits": [1.0]}), pa.table({"epoch": [1]}))
    assert sorted(written) == [f"curves/{C1}.parquet", f"rows/{C1}.json", f"samples/{C1}.parquet"]
    assert written[-1] == f"rows/{C1}.json"


def test_one_run_holds_a_url_and_a_lock_that_is_left_behind_is_taken_over(url: str) -> None:
    folder, beat_s = RemoteFolder(url), 0.2
    with lease(folder, beat_s):
        with pytest.raises(BusyError, match=rf"is in use by process {os.getpid()} on "), lease(folder, beat_s):
            pass
        assert folder.read(LOCK_FILE) is not None
    assert folder.read(LOCK_FILE) is None
    folder.write(LOCK_FILE, json.dumps({"process": 1, "host": "dead", "beat": 3}).encode())
    with lease(folder, beat_s):
        pass
    assert folder.read(LOCK_FILE) is None


def test_of_two_runs_that_start_together_one_gives_way(url: str) -> None:
    outcomes: list[str] = []
    together, over = threading.Barrier(2), threading.Event()

    def run() -> None:
        together.wait()
        try:
            with lease(RemoteFolder(url), 1):
                outcomes.append("held")
                over.wait(30)
        except BusyError:
            outcomes.append("busy")
            over.set()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["busy", "held"]


@pytest.fixture
def conditional_url(bucket: str, tmp_path: Path) -> RemoteFolder:
    """An empty place on an S3 server, whose puts are conditional."""
    pytest.importorskip("obstore")
    return RemoteFolder(below(bucket, tmp_path.name))


@pytest.mark.slow
def test_a_put_that_does_not_know_the_last_one_writes_nothing(conditional_url: RemoteFolder) -> None:
    ours, theirs = (conditional(conditional_url, "file") for _ in range(2))
    assert ours
    assert theirs
    assert ours.put(b"1")
    assert not theirs.put(b"2")
    assert theirs.see() == b"1"
    assert theirs.put(b"3")
    assert not ours.put(b"4")
    assert conditional_url.read("file") == b"3"
    theirs.remove()
    assert not theirs.put(b"5")
    assert theirs.see() is None
    assert theirs.put(b"6")
    assert conditional_url.files() == {"file"}


@pytest.mark.slow
def test_of_many_runs_that_find_a_dead_lock_exactly_one_takes_it_over(conditional_url: RemoteFolder) -> None:
    conditional_url.write(LOCK_FILE, b"left behind")
    n, held = 8, []
    together, ended = threading.Barrier(n), threading.Barrier(n)

    def run() -> None:
        together.wait()
        try:
            with lease(RemoteFolder(conditional_url.url), 0.5):
                held.append(True)
                ended.wait(60)
        except BusyError:
            ended.wait(60)

    threads = [threading.Thread(target=run) for _ in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(held) == 1


@pytest.mark.slow
def test_a_run_whose_lock_was_taken_leaves_it_to_the_taker(conditional_url: RemoteFolder) -> None:
    with lease(conditional_url, 0.1):
        taker = conditional(conditional_url, LOCK_FILE)
        assert taker
        wait_until(lambda: taker.see() is not None and taker.put(b"another run"), 20)
        time.sleep(0.5)
    assert conditional_url.read(LOCK_FILE) == b"another run"


def test_puts_are_conditional_only_where_the_server_heeds_conditions() -> None:
    pytest.importorskip("obstore")
    asked: list[str] = []

    class Heedless(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.answer()

        do_POST = do_PUT  # noqa: N815 - of files to remove

        def answer(self) -> None:
            asked.append(self.command)
            self.send_response(200)
            self.send_header("ETag", '"same"')
            content = (
                b"<DeleteResult><Deleted><Key>place/file</Key></Deleted></DeleteResult>"
                if self.command == "POST"
                else b""
            )
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Heedless) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        settings = f"scheme=http&endpoint_override=127.0.0.1:{server.server_port}&region=us-east-1"
        assert conditional(RemoteFolder(f"s3://key:secret@sweeps/place?{settings}"), "file") is None
        server.shutdown()
    assert asked == ["PUT", "PUT", "POST"]


def test_a_file_system_has_no_conditional_puts(tmp_path: Path) -> None:
    assert conditional(RemoteFolder(tmp_path.as_uri()), "file") is None
    assert list(tmp_path.iterdir()) == []


def test_entries_of_a_store_are_fetched_from_the_url(url: str, tmp_path: Path) -> None:
    here, there = (MirroredStore(tmp_path / name, RemoteFolder(url)) for name in ("here", "there"))
    assert not here.has(KEY)
    for number, rows in enumerate(np.split(ARRAY, 2)):
        here.write_block(KEY, number, to_table({"x": rows}))
    here.publish(KEY, {"kind": "test"})
    assert there.lists(KEY)
    assert not there.root.exists()
    assert there.has(KEY)
    np.testing.assert_array_equal(Rows.of(there.open(KEY), "x")[:], ARRAY)
    assert there.damage(KEY) is None
    assert [path.name for path in there.root.iterdir()] == [KEY[:2]]


def test_an_entry_that_is_damaged_at_the_url_is_found_and_leaves(url: str, tmp_path: Path) -> None:
    here, there = (MirroredStore(tmp_path / name, RemoteFolder(url)) for name in ("here", "there"))
    here.write_block(KEY, 0, to_table({"x": ARRAY}))
    here.publish(KEY, {"kind": "test"})
    [part] = [name for name in RemoteFolder(url).files() if name.endswith(".arrow")]
    content = bytearray(RemoteFolder(url).read(part) or b"")
    content[len(content) // 2] ^= 1
    RemoteFolder(url).write(part, bytes(content))
    assert there.has(KEY)
    assert "was altered after it was written" in (there.damage(KEY) or "")
    there.discard(KEY)
    assert not there.has(KEY)


def test_a_url_that_cannot_be_used_is_one_message(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project.folder)
    assert main(["study.yaml", "--plan", "--results", "nosuch://bucket/results"]) == 2
    assert "cannot be used" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.starts_ray
def test_a_study_whose_results_and_store_are_in_a_bucket(
    finished: tuple[Project, int, str], tmp_path: Path, bucket: str
) -> None:
    """Killed, it goes on from the bucket on a machine that has nothing else."""
    places = ("--results", below(bucket, "study/results"), "--store", below(bucket, "study/store"))
    folder = RemoteFolder(below(bucket, "study/results/small"))

    def machine(name: str) -> tuple[Project, dict[str, str]]:
        made = Project(tmp_path / name)
        made.folder.mkdir()
        made.write(STUDY)
        return made, {**os.environ, "XDG_CACHE_HOME": str(made.folder / "cache")}

    project, environment = machine("first")
    process = project.start(*places, environment=environment)
    wait_until(lambda: folder.files("rows"))
    kill(process)
    assert not project.results.exists()
    project, environment = machine("second")
    code, output = project.run(*places, environment=environment)
    assert code == 0, output
    assert "0 done, 6 to do" not in output
    assert " images at " not in output  # their activations came from the bucket
    (tmp_path / "results.parquet").write_bytes(folder.read("results.parquet") or b"")
    table = pd.read_parquet(tmp_path / "results.parquet")[finished[0].table().columns]
    pd.testing.assert_frame_equal(table, finished[0].table())
    assert {"report.html", "results.csv", "study.yaml"} <= folder.files()
    assert LOCK_FILE not in folder.files()
