"""Runs a plan on Ray: extraction of what the store lacks, then one Tune trial a cell."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from rich.console import Console

from binding.modes import shape
from binding.scenes import SPLITS, Scene, SplitName
from sweep.activations import ActivationStore, split_keys
from sweep.cell import Job, failed_row, volatile_columns
from sweep.cells import Cell
from sweep.cluster import Resources
from sweep.extract import Pass, Source, activation_key, plan_passes
from sweep.ledger import Ledger
from sweep.live import Metrics, Monitor, guarded, open_logs
from sweep.passes import Extraction
from sweep.places import refuse_locked_folders
from sweep.progress import Progress, progress
from sweep.readout import Readout
from sweep.remote import is_url
from sweep.results import ResultsDirectory
from sweep.sources import data_fingerprint, label_fingerprints
from sweep.store import store_key
from sweep.waiting import Waiting


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
        n_done: cells of the study that earlier runs have done.
        n_held_back: cells of the study that this run leaves for later.
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
    n_done: int = 0
    n_held_back: int = 0

    def say(self, line: str) -> None:
        """Print a line as it is; a terminal that is gone ends no run."""
        with suppress(OSError, ValueError):
            self.console.print(line, highlight=False, markup=False, soft_wrap=True)


def run_cells(run: Run) -> bool:
    """Measure every cell of a run.

    Returns:
        Whether the run came to its end; False after an interrupt.

    Raises:
        FullDiskError: there is no space left for the store or the results.
        PlaceError: a folder of the store cannot be written to.
        RemoteError: the results or the store cannot be reached.
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
    if not is_url(run.store):
        folders = [Path(run.store) / key[:2] for key in wanted - present]
        refuse_locked_folders(folders, "name another place with --store, or have its owner let you write")
    _store_labels(run, store, labels, present)
    costs = longest_first(run)
    jobs = [_job(run, cell, activations[cell], labels) for cell in costs]
    shown = progress(run.console, run.study, list(costs.values()), n_done=run.n_done, n_held_back=run.n_held_back)
    with ExitStack() as held:
        line = held.enter_context(shown)
        metrics = guarded(run.say, "metrics", lambda: held.enter_context(Metrics(run.study)))
        monitor = held.enter_context(_monitor(run, line, metrics))
        work = Work(run, jobs, costs, store, present, monitor)
        from sweep.tuner import run_trials  # Tune takes a second to import, and extractors start meanwhile

        return run_trials(run, jobs, store, work)


class Work:
    """The two kinds of work of a run, side by side: cells begin as soon as their activations are there.

    Args:
        run: the run.
        jobs: its cells, those first that should begin first.
        costs: about how long each takes.
        store: handle of the `ActivationStore` actor.
        present: keys of the entries it holds.
        monitor: told of everything.

    Attributes:
        waiting: cells that have not begun, by their place among the jobs.
        ledger: handle of the `Ledger` actor.
    """

    def __init__(
        self,
        run: Run,
        jobs: Sequence[Job],
        costs: Mapping[Cell, float],
        store: Any,
        present: set[str],
        monitor: Monitor,
    ) -> None:
        self._run, self._jobs, self._costs, self._store, self._monitor = run, jobs, costs, store, monitor
        self.ledger = _on_this_node(run, Ledger, run.results.absolute())
        needs = {number: [keys["activations"] for keys in job.keys.values()] for number, job in enumerate(jobs)}
        self._keys = sorted({key for keys in needs.values() for key in keys})
        self.waiting = Waiting(needs, present)
        passes = plan_passes(run.cells, run.sources, present)
        if passes:
            monitor.extracting(sum(job.n_samples for job in passes if job.reads_images))
        self._extraction = Extraction(
            passes,
            store,
            monitor,
            self._extracted,
            n_actors=run.resources.gpus or run.resources.cpus,
            gpus=run.resources.gpus > 0,
        )
        self._extracts = True
        self.go_on(0.0, cells_wait=bool(self.waiting.n_ready))

    def go_on(self, timeout_s: float, *, cells_wait: bool) -> None:
        """Take extraction further, waiting so long at most."""
        self._extraction.step(timeout_s, cells_wait=cells_wait)
        if self._extracts and self._extraction.has_ended:
            self._extracts = False
            self._monitor.store(ray.get(self._store.size_bytes.remote(self._keys)))

    def _extracted(self, job: Pass, error: BaseException | None) -> None:
        """A pass is in the store, or could not be made: then its cells get rows that say why."""
        keys = {output.key for output in job.outputs}
        if error is None:
            self.waiting.arrived(keys)
            return
        for number in self.waiting.without(keys):
            self._write_failed(number, error)
            self.measured(number, failed=True)

    def _write_failed(self, number: int, error: BaseException | str) -> None:
        row = failed_row(self._jobs[number], error)
        self._run.results.write(row | {"wall_s": None, **volatile_columns("")})

    def measured(self, number: int, *, failed: bool) -> None:
        """A cell has its row."""
        cell = self._jobs[number].cell
        n_train = self._run.sources[cell].sizes["train"]
        self._monitor.measured(cell, self._costs[cell], failed=failed, n_train=n_train)

    def has_begun(self, trial_id: str) -> bool:
        """Whether a trial's worker ever began with its cell."""
        return ray.get(self.ledger.has_begun.remote(trial_id))

    def lost(self, number: int, message: str) -> None:
        """A cell's workers died again and again: its row says so."""
        self._write_failed(number, message)

    def tried_again(self, number: int) -> None:
        """A cell's worker died, and it begins once more."""
        self.say(f"lost with its worker, and tried again: {self._jobs[number].cell.name}")

    def say(self, line: str) -> None:
        """There is something to read."""
        self._run.say(line)


def longest_first(run: Run) -> dict[Cell, float]:
    """The cells in the order in which they begin, with their costs: a long one that begins last keeps all waiting."""

    def cost(cell: Cell) -> float:
        sample_shape = shape(cell.mode, cell.description.layout)
        return run.readout.cost(cell, sample_shape, run.sources[cell].sizes["train"])

    costs = {cell: cost(cell) for cell in run.cells}
    return {cell: costs[cell] for cell in sorted(costs, key=costs.__getitem__, reverse=True)}


def _monitor(run: Run, line: Progress, metrics: Metrics | None) -> Monitor:
    headline = [measure.column for measure in run.readout.measures]
    logs = open_logs(run.logs, run.results.root, headline)
    return Monitor(line, run.results, metrics, logs, headline[0], run.say)


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
