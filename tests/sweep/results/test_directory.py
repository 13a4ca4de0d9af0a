"""The results directory: rows that are whole or not there, one run at a time, a table that all tools read."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sweep.results import directory
from sweep.results.directory import BusyError, LinkError, ResultsDirectory, as_frame
from sweep.store.lease import LOCK_FILE
from tests.sweep.rows import cell_id, failed_row, sound_row

SAMPLES = pa.table({"sample": [0, 1], "bits": [0.5, 0.25]})
CURVES = pa.table({"epoch": [1], "validation_bits": [3.0]})
A1, B2 = cell_id("a1"), cell_id("b2")
ROW = sound_row(
    "a1", n_test=2000, binding_ratio=0.1 + 0.2, best_epoch_objects=[3, 4], flags=["last_epoch", "range_edge"]
)
FAILED = failed_row("b2")
COLUMNS = [*ROW, "never_known"]


@pytest.fixture
def results(tmp_path: Path) -> ResultsDirectory:
    return ResultsDirectory(tmp_path / "study")


def files(results: ResultsDirectory) -> set[str]:
    return {str(path.relative_to(results.root)) for path in results.root.rglob("*") if path.is_file()}


BESIDE = {f"samples/{A1}.parquet", f"curves/{A1}.parquet"}


def test_rows_come_back_as_they_were_written(results: ResultsDirectory) -> None:
    assert results.rows() == {}
    results.write(ROW, SAMPLES, CURVES)
    results.write(FAILED)
    assert results.rows() == {A1: ROW, B2: FAILED}
    assert files(results) == BESIDE | {f"rows/{A1}.json", f"rows/{B2}.json"}
    assert pq.read_table(results.root / "samples" / f"{A1}.parquet").equals(SAMPLES)
    assert pq.read_table(results.root / "curves" / f"{A1}.parquet").equals(CURVES)


def test_a_row_comes_last(results: ResultsDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    appeared: list[str] = []
    replace = Path.replace

    def noted(path: Path, target: Path) -> Path:
        appeared.append(target.parent.name)
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", noted)
    results.write(ROW, SAMPLES, CURVES)
    assert appeared == ["samples", "curves", "rows"]


def test_samples_that_cannot_be_written_leave_no_row(
    results: ResultsDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(table: pa.Table, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(pq, "write_table", half)
    with pytest.raises(OSError, match="no space left"):
        results.write(ROW, SAMPLES, CURVES)
    assert files(results) == set()
    assert results.rows() == {}


def test_a_row_that_cannot_be_written_leaves_the_old_one(
    results: ResultsDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    results.write(FAILED)
    write = Path.write_text

    def half(path: Path, text: str) -> int:
        write(path, text[:5])
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(OSError, match="no space left"):
        results.write(FAILED | {"error": "another"})
    assert files(results) == {f"rows/{B2}.json"}
    assert results.rows() == {B2: FAILED}


def test_a_later_failure_takes_the_samples_away(results: ResultsDirectory) -> None:
    results.write(ROW, SAMPLES, CURVES)
    results.write(failed_row("a1"))
    assert files(results) == {f"rows/{A1}.json"}


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_json_does_not_know_are_refused(results: ResultsDirectory, number: float) -> None:
    results.write(ROW, SAMPLES, CURVES)
    with pytest.raises(ValueError, match="no finite number for binding_ratio"):
        results.write(ROW | {"binding_ratio": number}, SAMPLES.slice(1), CURVES)
    assert results.rows() == {A1: ROW}
    assert pq.read_table(results.root / "samples" / f"{A1}.parquet").equals(SAMPLES)


def test_texts_are_replaced_at_once(results: ResultsDirectory) -> None:
    results.write_text("study.yaml", "name: β\n")
    path = results.write_text("study.yaml", "name: γ\n")
    assert path.read_text(encoding="utf-8") == "name: γ\n"
    assert files(results) == {"study.yaml"}


HOLDER = """
import sys
from pathlib import Path
from sweep.results.directory import ResultsDirectory
with ResultsDirectory(Path(sys.argv[1])).locked():
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(results: ResultsDirectory) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock until its standard input is closed."""
    command = [sys.executable, "-c", HOLDER, str(results.root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_run_is_told_who_is_there(results: ResultsDirectory) -> None:
    with holder(results) as process:
        expected = rf"study is in use by process {process.pid}$"
        with pytest.raises(BusyError, match=expected), results.locked():
            pass
        with pytest.raises(BusyError, match=expected), results.locked():
            pass


def test_the_lock_is_free_when_its_holder_ends(results: ResultsDirectory) -> None:
    with holder(results) as process:
        process.communicate("")
        assert process.returncode == 0
        with results.locked():
            assert (results.root / "lock").read_text() == str(os.getpid())


def test_the_lock_dies_with_its_holder(results: ResultsDirectory) -> None:
    with holder(results) as process:
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=30)
        with results.locked():
            assert (results.root / "lock").read_text() == str(os.getpid())
        with results.locked():
            pass


def test_one_process_cannot_hold_it_twice(results: ResultsDirectory) -> None:
    with results.locked(), pytest.raises(BusyError, match=str(os.getpid())), results.locked():
        pass


def test_where_the_file_system_has_no_locks_a_file_that_beats_takes_their_place(
    results: ResultsDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_locks(*arguments: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", without_locks)
    monkeypatch.setattr(directory, "BEAT_S", 0.1)
    with results.locked():
        assert (results.root / LOCK_FILE).exists()
        with pytest.raises(BusyError, match=f"in use by process {os.getpid()} on"), results.locked():
            pass
    assert not (results.root / LOCK_FILE).exists()


def test_an_error_inside_frees_the_lock(results: ResultsDirectory) -> None:
    with pytest.raises(KeyError), results.locked():
        raise KeyError
    with results.locked():
        pass


def test_the_table_has_all_columns_in_their_order(results: ResultsDirectory) -> None:
    path = results.write_table([ROW | {"beyond": 1}, FAILED], COLUMNS)
    assert path == results.root / "results.parquet"
    assert files(results) == {"results.parquet", "results.csv"}
    assert pq.read_schema(path).names == COLUMNS
    assert list(pd.read_parquet(path).columns) == COLUMNS
    assert list(pd.read_csv(results.root / "results.csv").columns) == COLUMNS


def test_the_table_has_types_that_readers_understand(results: ResultsDirectory) -> None:
    schema = pq.read_schema(results.write_table([ROW, FAILED], COLUMNS))
    kinds = {
        "is_control": pa.bool_(),
        "n_test": pa.float64(),
        "binding_ratio": pa.float64(),
        "best_epoch_objects": pa.list_(pa.int64()),
        "flags": pa.list_(pa.string()),
        "never_known": pa.string(),
    }
    assert {name: schema.field(name).type for name in kinds} == kinds
    assert all(
        pa.types.is_string(schema.field(n).type) or pa.types.is_large_string(schema.field(n).type)
        for n in ("cell_id", "status", "error", "layer")
    )
    whole = pq.read_schema(results.write_table([ROW], COLUMNS))
    assert whole.field("n_test").type == pa.int64()


def test_pandas_and_pyarrow_read_the_same_values(results: ResultsDirectory) -> None:
    path = results.write_table([ROW, FAILED], COLUMNS)
    expected = [{name: row.get(name) for name in COLUMNS} for row in (ROW, FAILED)]
    assert pq.read_table(path).to_pylist() == expected
    frame = pd.read_parquet(path)
    for row, found in zip(expected, frame.to_dict("records"), strict=True):
        for name, value in row.items():
            if value is None:
                assert found[name] is None or pd.isna(found[name]), name
            else:
                assert (list(found[name]) if isinstance(value, list) else found[name]) == value, name


def test_the_csv_has_the_same_values(results: ResultsDirectory) -> None:
    results.write_table([ROW, FAILED], COLUMNS)
    found = pd.read_csv(results.root / "results.csv")
    assert found["cell_id"].tolist() == [A1, B2]
    assert found["error"].tolist()[1] == FAILED["error"]
    assert found["layer"].tolist() == [2, 2]
    assert found["binding_ratio"].tolist()[0] == ROW["binding_ratio"]
    assert found["n_test"].isna().tolist() == [False, True]
    assert json.loads(found["best_epoch_objects"][0]) == [3, 4]
    assert found["never_known"].isna().all()


def test_empty_lists_and_lists_never_known(results: ResultsDirectory) -> None:
    path = results.write_table([{"flags": []}, {"flags": []}], ["flags", "best_epoch"])
    assert pq.read_table(path).to_pylist() == [{"flags": [], "best_epoch": None}] * 2
    assert pq.read_schema(path).types == [pa.list_(pa.string()), pa.string()]


def test_a_table_without_rows(results: ResultsDirectory) -> None:
    path = results.write_table([], COLUMNS)
    table = pq.read_table(path)
    assert (table.num_rows, table.column_names) == (0, COLUMNS)
    assert not any(pa.types.is_null(kind) for kind in table.schema.types)
    assert len(pd.read_parquet(path)) == 0
    assert list(pd.read_csv(results.root / "results.csv").columns) == COLUMNS


def test_a_table_that_cannot_be_written_leaves_the_old_one(
    results: ResultsDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = results.write_table([ROW], COLUMNS)

    def half(table: pa.Table, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(pq, "write_table", half)
    with pytest.raises(OSError, match="no space left"):
        results.write_table([ROW, FAILED], COLUMNS)
    monkeypatch.undo()
    assert pq.read_table(path).num_rows == 1
    assert files(results) == {"results.parquet", "results.csv"}


def test_writing_the_table_again_replaces_it(results: ResultsDirectory) -> None:
    results.write_table([ROW], COLUMNS)
    path = results.write_table([ROW, FAILED], COLUMNS)
    assert pq.read_table(path).num_rows == 2
    assert len(pd.read_csv(results.root / "results.csv")) == 2


def test_a_frame_has_numbers_as_numbers() -> None:
    frame = as_frame(iter([ROW, FAILED]), iter(COLUMNS))
    assert frame["n_test"].dtype.kind == "f"
    assert frame["is_control"].dtype.kind == "b"
    assert frame["flags"].tolist() == [ROW["flags"], FAILED["flags"]]


def test_links_out_of_the_directory_are_replaced_and_never_written_through(
    results: ResultsDirectory, tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    names = [f"rows/{A1}.json", f"samples/{A1}.parquet", "study.yaml", "results.parquet", "results.csv"]
    for name in names:
        (results.root / name).parent.mkdir(parents=True, exist_ok=True)
        (results.root / name).symlink_to(precious)
    results.write(ROW, SAMPLES)
    results.write_text("study.yaml", "name: study")
    results.write_table([ROW], COLUMNS)
    assert precious.read_text() == "mine"
    assert not any((results.root / name).is_symlink() for name in names)
    (results.root / "lock").symlink_to(precious)
    with pytest.raises(LinkError, match="lock is a link"), results.locked():
        pass
    assert precious.read_text() == "mine"


def test_asking_whether_a_directory_is_busy_makes_nothing(results: ResultsDirectory) -> None:
    results.refuse_if_busy()
    assert not results.root.exists()
    with results.locked(), pytest.raises(BusyError, match=f"in use by process {os.getpid()}"):
        ResultsDirectory(results.root).refuse_if_busy()


def test_the_csv_calculates_nothing_and_the_parquet_keeps_the_text(results: ResultsDirectory) -> None:
    results.write_table([ROW | {"layer": "=1+1"}, FAILED | {"error": "-2\x1b[2J\u202e"}], COLUMNS)
    found = pd.read_csv(results.root / "results.csv")
    assert found["layer"][0] == "'=1+1"
    assert found["error"][1] == r"'-2\x1b[2J\u202e"
    assert pd.read_parquet(results.root / "results.parquet")["layer"][0] == "=1+1"
