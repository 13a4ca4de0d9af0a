"""One Tune trial measures one cell: reads its activations, runs the read-out, and has the row written."""

from __future__ import annotations

import json
import logging
import platform
import socket
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from binding.probes import FAMILIES
from frozen.allocator import keep_freed_memory
from frozen.capture.views import shape
from frozen.data.scenes import SCENES, SPLITS, SplitName
from frozen.models import LIBRARIES
from frozen.readout.readout import SplitData, find_readout
from sweep.engine.controls import as_controlled
from sweep.engine.grid import Cell
from sweep.store.actor import read_split
from sweep.store.full_disk import no_space
from sweep.store.remote import RemoteError

_LIBRARIES = ("numpy", "optuna", "ray", "timm", "torch")


class Job(NamedTuple):
    """A cell with where its inputs lie and what the driver already knows of its row."""

    cell: Cell
    keys: Mapping[SplitName, Mapping[str, str]]
    known: Mapping[str, object]


def run_job(
    config: dict[str, Any], *, jobs: list[Job], store: Any, ledger: Any, place: str, most_probe_bytes: int
) -> None:
    """The trainable: measure the cell that Tune's configuration names; a failure becomes a row.

    Args:
        config: `{"job": {"number": index into jobs, ...}}`.
        jobs: all cells of the run.
        store: handle of the `ActivationStore` actor.
        ledger: handle of the `Ledger` actor.
        place: path or URL of the store.
        most_probe_bytes: how large the trained probes of a cell may be to be kept.
    """
    import ray
    from ray import tune

    job = jobs[config["job"]["number"]]
    ray.get(ledger.begin.remote(tune.get_context().get_trial_id()))
    started = time.perf_counter()
    notes: list[str] = []

    def write(row: Mapping[str, object], *rest: Any) -> None:
        where = {"wall_s": round(time.perf_counter() - started, 3), **volatile_columns(str(trial_device()), notes)}
        ray.get(ledger.write.remote({**row, **where}, *rest))
        tune.report({"failed": int(row["status"] == "failed"), "notes": notes, **_numbers(row)})

    try:
        with _notes_into(notes):
            measured = _measure(job, store, place, most_probe_bytes)
        write(*measured)
    except Exception as error:  # noqa: BLE001 - a cell that fails is a result, the others go on
        if no_space(error):  # not the cell's fault: the driver stops, and the cell stays missing
            tune.report({"failed": 1, "full_disk": 1})
            return
        if isinstance(error, RemoteError):
            tune.report({"failed": 1, "unreachable": str(error)})
            return
        write(failed_row(job, error), None, None, {})


def _numbers(row: Mapping[str, object]) -> dict[str, float]:
    """The numbers of a row, for the logs that Tune writes."""
    return {name: value for name, value in row.items() if isinstance(value, int | float)}


@contextmanager
def _notes_into(notes: list[str]) -> Iterator[None]:
    """Collect what the read-out warns of while it measures."""

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            notes.append(record.getMessage())

    handler, source = Collect(logging.WARNING), logging.getLogger("binding")
    source.addHandler(handler)
    try:
        yield
    finally:
        source.removeHandler(handler)


def _measure(
    job: Job, store: Any, place: str, most_probe_bytes: int
) -> tuple[dict[str, object], pa.Table, pa.Table, Mapping[str, bytes]]:
    cell = job.cell
    in_memory = cell.mode != "all"
    data: dict[SplitName, SplitData] = {
        split: read_split(store, place, job.keys[split], in_memory=in_memory) for split in SPLITS
    }
    outcome = find_readout(cell.settings.readout).measure(
        cell, as_controlled(cell, data), cell.description.layout, trial_device()
    )
    sample_shape = shape(cell.mode, cell.description.layout)
    return (
        {
            **job.known,
            "status": "done",
            "error": None,
            "z_dim": sample_shape[-1],
            "n_tokens": sample_shape[0] if len(sample_shape) > 1 else 1,
            **outcome.row,
        },
        outcome.samples,
        outcome.curves,
        outcome.files(job.known, most_probe_bytes),
    )


def failed_row(job: Job, error: BaseException | str) -> dict[str, object]:
    """The row of a cell that could not be measured."""
    text = error if isinstance(error, str) else "".join(traceback.format_exception(error))
    first = error.splitlines()[0] if isinstance(error, str) else f"{type(error).__name__}: {error}"
    return {**job.known, "status": "failed", "error": f"{first}\n{text}".strip(), "flags": []}


def trial_device() -> Any:
    """The GPU that Ray gave this trial, or the CPU; never a GPU it did not give."""
    import ray
    import torch

    if ray.get_gpu_ids():
        return torch.device("cuda")
    cpus = ray.get_runtime_context().get_assigned_resources().get("CPU", 1)
    torch.set_num_threads(max(1, int(cpus)))
    torch.set_flush_denormal(True)  # of this thread; a probe that fits its samples perfectly took 20 times as long
    keep_freed_memory()
    return torch.device("cpu")


def volatile_columns(device: str, notes: Sequence[str] = ()) -> dict[str, object]:
    """Where and with what a row was made, and what there was to say meanwhile."""
    versions = {name: version(name) for name in _LIBRARIES} | {"python": platform.python_version()}
    for registry in (SCENES, LIBRARIES, FAMILIES):
        versions |= registry.packages()
    return {
        "notes": list(notes),
        "device": device,
        "host": socket.gethostname(),
        "versions": json.dumps(versions),
    }


@cache
def git_commit(folder: Path) -> str:
    """Commit of the checkout a folder lies in, with a + for uncommitted changes; empty outside one."""
    import subprocess

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return ""
