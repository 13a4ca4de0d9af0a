"""Runs a plan on Ray: extraction of what the store lacks, then one Tune trial a cell."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from rich.console import Console

from binding.modes import shape
from binding.scenes import SPLITS, Scene, SplitName, fingerprint
from sweep.activations import ActivationStore, split_keys
from sweep.cell import Job, failed_row, run_job, volatile_columns
from sweep.cells import Cell
from sweep.cluster import Resources
from sweep.extract import Source, activation_key, plan_passes
from sweep.full_disk import full_disk
from sweep.ledger import Ledger
from sweep.live import Metrics, Monitor, open_logs, tune_callbacks
from sweep.passes import run_passes
from sweep.progress import Progress, progress
from sweep.readout import Readout
from sweep.remote import RemoteError
from sweep.results import ResultsDirectory
from sweep.sources import label_fingerprints
from sweep.stopping import noticed
from sweep.store import store_key
from sweep.trials import WORKER_RETRIES, CountCells


@dataclass(frozen=True)
class Run:
    """Everything one run needs.

    Attributes:
        study: name of the study.
        git_commit: commit of the project.
        readout: what is measured.
        cells: what to measure.
        sources: content of their data and weights.
        results: where rows go.
        store: path or URL of the activation store.
        store_memory_bytes: how much of the object store activations may take.
        resources: of the cluster.
        gpus_per_cell: share of a GPU that a trial takes.
        most_probe_bytes: how large the trained probes of a cell may be to be kept.
        logs: names of the logs to keep beside the rows, of `sweep.run.LOGS`.
        console: where progress is shown.
    """

    study: str
    git_commit: str
    readout: Readout
    cells: Sequence[Cell]
    sources: Mapping[Cell, Source]
    results: ResultsDirectory
    store: str
    store_memory_bytes: int
    resources: Resources
    gpus_per_cell: float
    most_probe_bytes: int
    logs: Sequence[str]
    console: Console

    def say(self, line: str) -> None:
        """Print a line as it is."""
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)


def run_cells(run: Run) -> bool:
    """Measure every cell of a run.

    Returns:
        Whether the run came to its end; False after an interrupt.

    Raises:
        FullDiskError: there is no space left for the store or the results.
    """
    store = _on_this_node(run, ActivationStore, run.store, run.store_memory_bytes)
    labels = _label_keys(run)
    activations: dict[Cell, dict[SplitName, str]] = {
        cell: {split: activation_key(cell, run.sources[cell], split) for split in SPLITS} for cell in run.cells
    }
    wanted = {key for keys in activations.values() for key in keys.values()} | set(labels.values())
    present, damages = ray.get(store.present.remote(sorted(wanted)))
    for damage in damages:
        run.say(f"store: {damage}; it is made again")
    _store_labels(run, store, labels, present)
    jobs = [_job(run, cell, activations[cell], labels) for cell in longest_first(run)]
    with progress(run.console, run.study, len(jobs)) as line, Metrics(run.study) as metrics:
        monitor = _monitor(run, line, metrics)
        errors = _extract(run, store, present, monitor)
        monitor.store(ray.get(store.size_bytes.remote(sorted(wanted))))
        return _measure(
            run, [job for job in jobs if not _lost_activations(run, job, errors, monitor)], store, monitor
        )


def longest_first(run: Run) -> list[Cell]:
    """The cells in the order in which they begin: a long one that begins last keeps all others waiting."""

    def cost(cell: Cell) -> float:
        sample_shape = shape(cell.mode, cell.description.layout)
        return run.readout.cost(cell, sample_shape, run.sources[cell].sizes["train"])

    return sorted(run.cells, key=cost, reverse=True)


def _monitor(run: Run, line: Progress, metrics: Metrics) -> Monitor:
    headline = [measure.column for measure in run.readout.measures]
    logs = open_logs(run.logs, run.results.root, headline)
    monitor = Monitor(line, run.results, metrics, logs, headline[0], run.console)
    monitor.begins()
    return monitor


def _on_this_node(run: Run, actor: type, *arguments: Any) -> Any:
    """An actor on the driver's node, which is where its files are; named for the dashboard."""
    name = f"{actor.__name__} of {run.study}, driver {os.getpid()}"
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    remote: Any = ray.remote(actor)
    return remote.options(name=name, num_cpus=0, scheduling_strategy=here).remote(*arguments)


def _label_keys(run: Run) -> dict[tuple[Scene, SplitName], str]:
    version = run.readout.version
    readout = run.cells[0].settings.readout
    return {
        pair: store_key(kind="labels", readout=readout, version=version, data=content)
        for pair, content in label_fingerprints(dict(run.sources)).items()
    }


def _store_labels(run: Run, store: Any, keys: Mapping[tuple[Scene, SplitName], str], present: set[str]) -> None:
    for (scene, split), key in keys.items():
        if key not in present:
            ray.get(store.put_labels.remote(key, dict(run.readout.labels(scene.open(split)))))


def _extract(run: Run, store: Any, present: set[str], monitor: Monitor) -> dict[str, BaseException]:
    """Make the entries the store lacks; returns the errors of those that could not be made."""
    passes = plan_passes(run.cells, run.sources, present)
    if not passes:
        return {}
    total = sum(job.n_samples for job in passes)
    gpus = run.resources.gpus > 0
    n_actors = min(run.resources.gpus or run.resources.cpus, sum(job.n_blocks for job in passes))
    monitor.extracting(total)
    return run_passes(passes, store, monitor, n_actors=n_actors, gpus=gpus)


def _lost_activations(run: Run, job: Job, errors: Mapping[str, BaseException], monitor: Monitor) -> bool:
    """Whether a cell's activations could not be extracted; it gets a row that says why."""
    error = next((errors[keys["activations"]] for keys in job.keys.values() if keys["activations"] in errors), None)
    if error is not None:
        run.results.write(failed_row(job, error) | {"wall_s": None, **volatile_columns("")})
        monitor.measured(job.cell, failed=True, n_train=0)
    return error is not None


def _job(run: Run, cell: Cell, keys: Mapping[SplitName, str], labels: Mapping[tuple[Scene, SplitName], str]) -> Job:
    known = known_columns(cell, run.sources[cell]) | {"study": run.study, "git_commit": run.git_commit}
    scene = cell.dataset.config
    return Job(cell, {split: split_keys(keys[split], labels[scene, split]) for split in SPLITS}, known)


def known_columns(cell: Cell, source: Source) -> dict[str, object]:
    """What is known of a cell's row before it is measured."""
    return {
        **cell.identity_columns(),
        "data_fingerprint": data_fingerprint(source),
        "n_skipped": source.n_skipped,
        "weights_digest": source.weights_digest,
    }


def data_fingerprint(source: Source) -> str:
    """One hash of the three splits."""
    return fingerprint(**source.fingerprints)


def _measure(run: Run, jobs: list[Job], store: Any, monitor: Monitor) -> bool:
    """One Tune trial a job; trials that are lost with their worker are tried again, then recorded as failed."""
    if not jobs:
        return True
    ledger = _on_this_node(run, Ledger, run.results.absolute())
    trainable = tune.with_parameters(
        run_job, jobs=jobs, store=store, ledger=ledger, place=run.store, most_probe_bytes=run.most_probe_bytes
    )
    counter = CountCells(
        lambda number, failed: monitor.measured(
            jobs[number].cell, failed=failed, n_train=run.sources[jobs[number].cell].sizes["train"]
        ),
        lambda number, error: _record_lost(run, jobs[number], error),
        lambda number: run.say(f"lost with its worker, and tried again: {jobs[number].cell.name}"),
        run.say,
    )
    monitor.measuring()
    waiting = {number: _readable(number, job) for number, job in enumerate(jobs)}
    while waiting:
        if not _fit(run, trainable, list(waiting.values()), counter):
            return False
        waiting = {number: waiting[number] for number in counter.take_unlucky()}
    shutil.rmtree(_tune_folder(run), ignore_errors=True)
    return True


def _fit(run: Run, trainable: Callable[..., None], jobs: list[dict[str, object]], counter: CountCells) -> bool:
    """One Tune experiment; returns whether every trial came to an end."""
    ended_before = counter.ended
    tuner = tune.Tuner(
        tune.with_resources(trainable, run.resources.of_trial(run.gpus_per_cell)),
        param_space={"job": tune.grid_search(jobs)},
        tune_config=tune.TuneConfig(reuse_actors=True),
        run_config=tune.RunConfig(
            name=f"run-{time.time_ns()}",
            storage_path=str(_tune_folder(run)),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=WORKER_RETRIES),
            callbacks=[counter, *tune_callbacks(run.logs, run.results.root, run.study)],
        ),
    )
    try:
        tuner.fit()
    except KeyboardInterrupt:
        noticed()
        ray.shutdown()  # at once: Tune would wait for its trials, and they would write on
        if counter.disk_is_full:
            raise full_disk(run.results.root) from None
        if counter.unreachable:
            raise RemoteError(counter.unreachable) from None
    return counter.ended - ended_before == len(jobs)


def _tune_folder(run: Run) -> Path:
    """Where Tune keeps what it needs while it runs."""
    return run.results.root.absolute() / "tune"


def _readable(number: int, job: Job) -> dict[str, object]:
    """What a trial is told: its number among the jobs, and for logs which cell that is."""
    names = ("cell_id", "dataset", "backbone", "layer", "mode", "probe")
    return {"number": number, **{name: job.known[name] for name in names}}


def _record_lost(run: Run, job: Job, error: str) -> None:
    """Give a cell whose worker died again and again a row that says so."""
    message = f"its worker died {WORKER_RETRIES + 1} times, perhaps for lack of memory\n{error}"
    run.results.write(failed_row(job, message) | {"wall_s": None, **volatile_columns("")})
