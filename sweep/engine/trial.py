"""One Tune trial measures a bundle of cells: reads what they need, runs the read-out, and has their rows written."""

from __future__ import annotations

import hashlib
import json
import logging
import platform
import socket
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any, NamedTuple

from frozen.allocator import keep_freed_memory
from frozen.capture.capture import Capture
from frozen.readout.cells import Cell
from frozen.readout.needs import Inputs, Product
from frozen.readout.outcome import Outcome
from frozen.readout.readout import find_readout
from frozen.registry import packages
from frozen.terminal import without_colours
from sweep.engine.controls import as_controlled
from sweep.store.actor import read_columns, read_product
from sweep.store.disk import lost_entry
from sweep.store.full_disk import no_space
from sweep.store.remote import RemoteError

_LIBRARIES = ("numpy", "optuna", "ray", "timm", "torch")


class Task(NamedTuple):
    """A cell with where its inputs lie and what the driver already knows of its row."""

    cell: Cell
    keys: Mapping[str, str]
    """Of the store's entries that it reads, by the name of the need."""
    gives: Mapping[str, str]
    """Keys of the store's entries that it gives, by the product's name."""
    known: Mapping[str, object]


class Job(NamedTuple):
    """What one trial measures: cells that share their inputs."""

    tasks: tuple[Task, ...]


def run_job(config: dict[str, Any], *, jobs: list[Job], store: Any, ledger: Any, place: str) -> None:
    """The trainable: measure the cells that Tune's configuration names; a failure becomes a row.

    Args:
        config: `{"job": {"number": index into jobs, ...}}`.
        jobs: everything the run measures.
        store: handle of the `ActivationStore` actor.
        ledger: handle of the `Ledger` actor.
        place: path or URL of the store.
    """
    import ray
    from ray import tune

    job = jobs[config["job"]["number"]]
    written: set[str] = ray.get(ledger.begin.remote(tune.get_context().get_trial_id()))
    tasks = {task.cell: task for task in job.tasks if task.cell.cell_id not in written}
    notes: list[str] = []
    started = time.perf_counter()

    def write(cell: Cell, row: Mapping[str, object], outcome: Outcome | None) -> None:
        nonlocal started
        now = time.perf_counter()
        where = {"wall_s": round(now - started, 3), **volatile_columns(str(trial_device()), notes)}
        parts = () if outcome is None else (outcome.samples, outcome.curves, outcome.suggestions, outcome.files)
        ray.get(ledger.write.remote({**row, **where}, *parts))
        del tasks[cell]  # not before: what cannot be written has failed, and gets a row that says so
        report = {"cell_id": row["cell_id"], "failed": int(row["status"] == "failed"), "notes": list(notes)}
        tune.report({**report, "steps": 0 if outcome is None else outcome.steps, **_numbers(row)})
        notes.clear()
        started = now

    def keep(cell: Cell, outcome: Outcome, used: Mapping[str, bytes]) -> None:
        try:
            write(cell, _row(tasks[cell], outcome, used, store), outcome)
        except Exception as error:
            if cell not in tasks or _end_of_run(error):
                raise
            write(cell, failed_row(tasks[cell], error), None)

    try:
        with _notes_into(notes):
            inputs = _inputs(tasks, store, place)
            for cell, outcome in _measured(inputs):
                keep(cell, outcome, inputs[cell].products)
        if tasks:
            raise RuntimeError("the read-out gave no outcome of this cell")
    except Exception as error:  # noqa: BLE001 - a cell that fails is a result, the others go on
        if end := _end_of_run(error):  # not the cell's fault: the driver stops, and the cell stays missing
            tune.report(end)
            return
        for cell, task in list(tasks.items()):
            write(cell, failed_row(task, error), None)


def _end_of_run(error: Exception) -> dict[str, object]:
    """What the driver is told of an error of the disk, the network or the store; nothing of one that is a cell's."""
    if no_space(error):
        return {"full_disk": 1}
    if isinstance(error, RemoteError):
        return {"unreachable": str(error)}
    lost = lost_entry(error)
    return {"lost": str(lost)} if lost else {}


def _numbers(row: Mapping[str, object]) -> dict[str, float]:
    """The numbers of a row, for the logs that Tune writes."""
    return {name: value for name, value in row.items() if isinstance(value, int | float)}


def _loggers() -> list[str]:
    """Names of the loggers of models and read-outs."""
    readouts = {point.module.partition(".")[0] for point in entry_points(group="sweep.readouts")}
    return ["frozen", *sorted(readouts)]


@contextmanager
def _notes_into(notes: list[str]) -> Iterator[None]:
    """Collect what the read-out warns of while it measures."""

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            notes.append(record.getMessage())

    handler, sources = Collect(logging.WARNING), [logging.getLogger(name) for name in _loggers()]
    for source in sources:
        source.addHandler(handler)
    try:
        yield
    finally:
        for source in sources:
            source.removeHandler(handler)


def _inputs(tasks: Mapping[Cell, Task], store: Any, place: str) -> dict[Cell, Inputs]:
    """What the cells need, read."""
    read: dict[str, Any] = {}  # cells of a bundle share most of it

    def columns(task: Task, name: str, need: object) -> Any:
        key = task.keys[name]
        if key not in read:
            in_memory = need.is_pooled if isinstance(need, Capture) else True
            read[key] = read_columns(store, place, key, in_memory=in_memory)
        return read[key]

    inputs: dict[Cell, Inputs] = {}
    for cell, task in tasks.items():
        products = {name: read_product(place, task.keys[name]) for name, _ in cell.needs_of(Product)}
        others = {name: columns(task, name, need) for name, need in cell.needs if name not in products}
        inputs[cell] = Inputs(task.known, as_controlled(cell, others), products)
    return inputs


def _measured(inputs: Mapping[Cell, Inputs]) -> Iterator[tuple[Cell, Outcome]]:
    if inputs:
        yield from find_readout(next(iter(inputs)).readout).measure(inputs, trial_device())


def _row(task: Task, outcome: Outcome, used: Mapping[str, bytes], store: Any) -> dict[str, object]:
    """The row of a measured cell, its products in the store before it is written."""
    import ray

    if missing := set(task.gives) - set(outcome.products):
        raise RuntimeError(f"the read-out gave no {', '.join(sorted(missing))}")
    given = {name: outcome.products[name] for name in task.gives}
    for name, key in task.gives.items():
        about = {"giver": task.cell.cell_id, "product": name}
        ray.get(store.put_product.remote(key, given[name], about))
    products = {column: _digests(found) for column, found in (("gives", given), ("used", used)) if found}
    empty = dict.fromkeys(find_readout(task.cell.readout).columns)
    return {**task.known, "status": "done", "error": None, **products, **empty, **outcome.row}


def _digests(products: Mapping[str, bytes]) -> str:
    return json.dumps({name: hashlib.sha256(products[name]).hexdigest() for name in sorted(products)})


def failed_row(task: Task, error: BaseException | str) -> dict[str, object]:
    """The row of a cell that could not be measured."""
    text = error if isinstance(error, str) else "".join(traceback.format_exception(error))
    first = error.splitlines()[0] if isinstance(error, str) else f"{type(error).__name__}: {error}"
    told = without_colours(f"{first}\n{text}".strip())
    return {**task.known, "status": "failed", "error": told, "flags": []}


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
    return {
        "notes": list(notes),
        "device": device,
        "host": socket.gethostname(),
        "versions": json.dumps(versions | packages()),
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
