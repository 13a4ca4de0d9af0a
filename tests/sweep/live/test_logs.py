"""Logs are faithful copies of rows and curves, replace what they had of a cell, and cannot harm a run."""

from __future__ import annotations

import io
import json
import math
import struct
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
import pyarrow as pa
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, distribution_to_json
from ray import tune
from rich.console import Console

from frozen.console import Terminal
from frozen.readout.outcome import SUGGESTIONS
from frozen.readout.readout import find_readout
from sweep.engine.grid import make_grid
from sweep.live import Finished, Metrics, Monitor, open_logs, tune_callbacks
from sweep.live._callback import GuardedCallback
from sweep.live._optuna import OptunaLog
from sweep.live._tensorboard import TensorBoardLog
from sweep.live.progress import Progress, progress
from sweep.results.directory import ResultsDirectory
from sweep.run import LOGS, main
from sweep.study.load import load_study, locate_in
from tests.sweep.conftest import STUDY
from tests.sweep.rows import sound_row

NAME = "shapes · shipped:vit · 2 · cls · linear (0123abcd)"
ROW = {
    "cell_id": "0123abcdef",
    "status": "done",
    "dataset": "shapes[n=2]",
    "backbone": "shipped:vit",
    "layer": "2",
    "layer_index": 2,
    "mode": "cls",
    "probe": "linear",
    "binding_ratio": 0.5,
    "wall_s": 3.0,
}
RANGES = {
    "learning_rate": distribution_to_json(FloatDistribution(1e-3, 2.0, log=True)),
    "rank": distribution_to_json(CategoricalDistribution((4, 16))),
}


def suggestion(rate: float, curve: list[float], status: str = "finished") -> dict[str, Any]:
    best = min(range(len(curve)), key=lambda epoch: math.inf if math.isnan(curve[epoch]) else curve[epoch])
    values = {"learning_rate": rate, "rank": 4}
    return {
        "target": "objects",
        "values": json.dumps(values),
        "ranges": json.dumps(RANGES),
        "loss": curve[best] if math.isfinite(curve[best]) else None,
        "status": status,
        "best_epoch": best + 1,
        "curve": curve,
    }


def finished(*suggestions: dict[str, Any]) -> Finished:
    rows = [
        {"target": "objects", "seed": seed, "epoch": epoch, "train_bits": 5.0 / epoch, "validation_bits": 6.0 / epoch}
        for seed in (0, 1)
        for epoch in (1, 2, 3)
    ]
    tried = [{**one, "number": number} for number, one in enumerate(suggestions)]
    names = ("2", "cls", "linear")
    curves, tables = pa.Table.from_pylist(rows), pa.Table.from_pylist(tried, SUGGESTIONS)
    return Finished(NAME, ROW, names, 2.0, curves, tables)


READOUTS = {"binding": find_readout("binding")}
DONE = finished(
    suggestion(0.5, [7.0, 6.0, 6.5]), suggestion(2.0, [math.nan], "diverged"), suggestion(0.01, [9.0], "pruned")
)


def events(folder: Path) -> list[Any]:
    """The events of a folder's only file: each a length, a checksum, the event, a checksum."""
    from tensorboardX.proto.event_pb2 import Event

    [path] = folder.rglob("events*")
    data, found = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        found.append(Event.FromString(data[12 : 12 + length]))
        data = data[16 + length :]
    return found


def scalars(folder: Path) -> dict[tuple[str, int], float]:
    return {
        (value.tag, event.step): value.simple_value
        for event in events(folder)
        for value in event.summary.value
        if value.HasField("simple_value")
    }


def test_tensorboard_has_curves_and_measures(tmp_path: Path) -> None:
    TensorBoardLog(tmp_path, ["binding_ratio", "absent"]).cell(DONE)
    found = scalars(tmp_path / "shapes[n=2]" / "shipped_vit" / "2-cls-linear-0123abcd")
    assert found["measures/binding_ratio", 2] == 0.5
    assert found["objects/validation_bits_seed_1", 3] == 2.0
    assert len(found) == 1 + 2 * 2 * 3


def test_a_cell_measured_again_replaces_its_event_file(tmp_path: Path) -> None:
    log = TensorBoardLog(tmp_path, ["binding_ratio"])
    log.cell(DONE)
    log.cell(DONE._replace(row={**ROW, "binding_ratio": 0.75}, curves=None))
    assert scalars(tmp_path) == {("measures/binding_ratio", 2): 0.75}


def test_tensorboard_shows_the_error_of_a_failed_cell(tmp_path: Path) -> None:
    row = {**ROW, "status": "failed", "error": "OutOfMemoryError: 3 GB", "binding_ratio": None}
    TensorBoardLog(tmp_path, ["binding_ratio"]).cell(Finished(NAME, row))
    assert any(b"OutOfMemoryError" in event.SerializeToString() for event in events(tmp_path))


def test_optuna_has_every_suggestion_with_its_ranges_and_curve(tmp_path: Path) -> None:
    log = OptunaLog(tmp_path / "deep" / "optuna.journal")
    log.begin()
    log.cell(DONE)
    log.cell(DONE)
    OptunaLog(tmp_path / "deep" / "optuna.journal").cell(DONE)  # another run
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "deep" / "optuna.journal"))
    storage = optuna.storages.JournalStorage(backend)
    assert [study.study_name for study in optuna.get_all_study_summaries(storage)] == [f"{NAME} · objects"]
    best, diverged, pruned = optuna.load_study(study_name=f"{NAME} · objects", storage=storage).trials
    assert (best.value, best.params) == (6.0, {"learning_rate": 0.5, "rank": 4})
    assert best.distributions["learning_rate"] == FloatDistribution(1e-3, 2.0, log=True)
    assert best.intermediate_values == {1: 7.0, 2: 6.0, 3: 6.5}
    assert (diverged.state.name, diverged.value, diverged.intermediate_values) == ("FAIL", None, {})
    assert (pruned.state.name, pruned.value) == ("PRUNED", 9.0)


def opened(journal: Path) -> list[str]:
    """Names of the studies that another tool finds in a journal."""
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(journal)))
    return [study.study_name for study in optuna.get_all_study_summaries(storage)]


def test_a_journal_can_be_opened_before_the_first_cell_ends(tmp_path: Path) -> None:
    journal = tmp_path / "deep" / "optuna.journal"
    for log in open_logs(("optuna", "tensorboard"), journal.parent, []).values():
        log.begin()
    assert opened(journal) == []
    assert (journal.parent / "tensorboard").is_dir()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["dangling", "absolute", "file", "about to be removed"])
def test_locks_of_a_killed_run_do_not_hold_up_the_next(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    journal = Path("results/mine/optuna.journal")
    first = OptunaLog(journal)
    first.begin()
    first.cell(DONE)
    name = "optuna.journal.lock0123.rename" if kind == "about to be removed" else "optuna.journal.lock"
    lock = journal.with_name(name)
    if kind == "file":
        lock.write_text("")
    else:
        lock.symlink_to(journal.absolute() if kind == "absolute" else journal)  # relative to the wrong folder
    again = OptunaLog(journal)
    again.begin()
    again.cell(DONE)
    assert opened(journal) == [f"{NAME} · objects"]
    assert [path.name for path in journal.parent.iterdir()] == ["optuna.journal"]


@pytest.mark.timeout(60)
def test_a_tool_killed_while_it_writes_does_not_hold_up_the_run(tmp_path: Path) -> None:
    journal = tmp_path / "optuna.journal"
    log = OptunaLog(journal)
    log.begin()
    log.cell(DONE)
    (tmp_path / "optuna.journal.lock").symlink_to("results/mine/optuna.journal")
    log.cell(DONE._replace(name="another"))
    assert opened(journal) == [f"{NAME} · objects", "another · objects"]


@pytest.mark.parametrize("rest", [b'{"op_code":4,"wor', b"x" * 200_000, b"\0\0\n"])
def test_half_a_record_at_the_end_of_a_journal_goes(rest: bytes, tmp_path: Path) -> None:
    journal = tmp_path / "optuna.journal"
    for name in (NAME, "another"):
        with journal.open("ab") as file:
            file.write(rest)
        log = OptunaLog(journal)
        log.begin()
        log.cell(DONE._replace(name=name))
    assert opened(journal) == [f"{NAME} · objects", "another · objects"]


@pytest.mark.parametrize("line", [b"\0\0\0\n[1]\n", b"[1]\n", b"3\n", b"{}\n"])
def test_a_journal_that_is_none_is_set_aside(line: bytes, tmp_path: Path) -> None:
    journal = tmp_path / "optuna.journal"
    journal.write_bytes(line)
    log = OptunaLog(journal)
    log.begin()
    log.cell(DONE)
    assert opened(journal) == [f"{NAME} · objects"]
    assert (tmp_path / "optuna.journal.damaged").read_bytes() == line


class BrokenLog:
    calls = 0

    def begin(self) -> None: ...

    def cell(self, finished: Finished) -> None:
        self.calls += 1
        raise OSError("disk full")


def test_a_log_that_fails_is_said_once_and_dropped(tmp_path: Path) -> None:
    shown = Console(file=io.StringIO(), width=200)
    results = ResultsDirectory(tmp_path)
    broken = BrokenLog()
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    cell = make_grid(load_study(path), find_readout("binding"), locate_in(path)).cells[0]
    results.write({**sound_row("a"), **ROW, "cell_id": cell.cell_id}, curves=DONE.curves)
    with (
        progress(shown, "mine", [1.0] * 2) as line,
        Monitor(line, results, None, {"broken": broken}, READOUTS, shown.print) as monitor,
    ):
        for _ in range(2):
            monitor.measured(cell, 1.0, failed=False, steps=10)
    text = shown.file.getvalue()  # type: ignore[attr-defined]
    assert broken.calls == 1
    assert text.count("log broken fails (OSError: disk full); the study goes on without it") == 1
    assert "mine: 2/2 cells" in text


class StuckLog(BrokenLog):
    """Waits for a disk that does not answer."""

    def __init__(self) -> None:
        self.answer = threading.Event()

    def cell(self, finished: Finished) -> None:
        self.answer.wait(60)


class Gone(io.StringIO):
    """A terminal that was closed."""

    def write(self, text: str) -> int:
        raise OSError("no terminal")


class BrokenMetrics(Metrics):
    def __init__(self) -> None: ...

    def cells(self, **_: int) -> None:
        raise OSError("no agent")


@pytest.mark.timeout(60)
def test_no_observer_fails_a_run_or_holds_it_up(tmp_path: Path) -> None:
    results = ResultsDirectory(tmp_path)
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    cell = make_grid(load_study(path), find_readout("binding"), locate_in(path)).cells[0]
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        raise BrokenPipeError

    line = Progress(Terminal(Gone()), "mine", [1.0, 1.0], None)
    stuck, kept = StuckLog(), TensorBoardLog(tmp_path / "tensorboard", ["binding_ratio"])
    monitor = Monitor(line, results, BrokenMetrics(), {"kept": kept, "stuck": stuck}, READOUTS, say)
    with monitor, suppress(KeyboardInterrupt):
        monitor.extracting(10)
        monitor.extracted(10)
        monitor.store(10)
        monitor.measured(cell, 1.0, failed=False, steps=10)  # whose row is not there
        results.write({**sound_row("a"), **ROW, "cell_id": cell.cell_id}, curves=DONE.curves)
        monitor.measured(cell, 1.0, failed=False, steps=10)
        monitor._writer.end(0.5)
        stuck.answer.set()
    assert scalars(tmp_path / "tensorboard")["measures/binding_ratio", cell.column("layer_index")] == 0.5
    assert sum("metrics fails" in line for line in said) == 1
    assert any("progress fails (OSError" in line for line in said)
    assert any("log kept or stuck cannot be written as fast as cells end" in line for line in said)


def test_a_callback_of_tune_that_fails_is_dropped() -> None:
    class Broken(tune.Callback):
        calls = 0

        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            self.calls += 1
            raise RuntimeError("no such\x1b server")

    said: list[str] = []
    inner = Broken()
    callback = GuardedCallback("mlflow", inner, said.append)
    callback.setup()
    callback.on_trial_start(iteration=1, trials=[], trial=None)
    for _ in range(2):
        callback.on_trial_complete(iteration=1, trials=[], trial=None)
    assert inner.calls == 1
    assert said == [r"log mlflow fails (RuntimeError: no such\x1b server); the study goes on without it"]


@pytest.mark.parametrize("backbone", ["données_{split}.npz", "../..", "..", "é" * 300, "a/" * 300, "\udcff"])
def test_tensorboard_has_a_folder_for_any_name(backbone: str, tmp_path: Path) -> None:
    log = TensorBoardLog(tmp_path / "tensorboard", ["binding_ratio"])
    log.cell(DONE._replace(row={**ROW, "backbone": backbone, "dataset": backbone}))
    assert len(scalars(tmp_path / "tensorboard")) == 13
    assert [path.name for path in tmp_path.iterdir()] == ["tensorboard"]


def test_every_log_is_written_by_someone(tmp_path: Path) -> None:
    written = set(open_logs(tuple(LOGS), tmp_path, []))
    assert written | {"mlflow", "wandb"} == set(LOGS)


def test_weights_and_biases_is_told_its_mode_where_it_runs(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("ray.air.integrations.wandb.wandb", object())  # the package is optional
    for given, mode in ((None, "offline"), ("online", "online")):
        monkeypatch.setenv("WANDB_MODE", given or "")  # known to monkeypatch, which takes back what is set here
        if given is None:
            monkeypatch.delenv("WANDB_MODE")
        [callback] = tune_callbacks(("wandb",), tmp_path, "mine", print)
        assert callback.inner.kwargs == {"dir": str(tmp_path), "mode": mode}


def test_unknown_and_missing_logs_are_refused(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["study.yaml", "--log", "tensorboard,tensorbord"])
    assert refused.value.code == 2
    assert "there is no log 'tensorbord'" in capsys.readouterr().err
    monkeypatch.setattr("sweep.engine.packages.find_spec", lambda name: None)
    assert main(["study.yaml", "--log", "wandb"]) == 2
    assert "not installed: wandb" in capsys.readouterr().err
