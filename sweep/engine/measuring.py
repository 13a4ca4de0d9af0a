"""Measures cells on Ray: extraction of what the store lacks, then a Tune trial a bundle of cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import ray

from frozen.readout.cells import Cell
from sweep.engine.places import refuse_locked_folders
from sweep.engine.run import Run
from sweep.engine.sources import known_columns
from sweep.engine.trial import Job, Task
from sweep.engine.work import Work
from sweep.live import Metrics, Monitor, guarded, open_logs
from sweep.live.progress import Progress, progress
from sweep.store.actor import ActivationStore
from sweep.store.remote import is_url


def run_cells(run: Run) -> bool:
    """Measure every cell of a run.

    Returns:
        Whether the run came to its end; False after an interrupt.

    Raises:
        FullDiskError: there is no space left for the store or the results.
        LostEntryError: activations left the store while the run went on.
        PlaceError: a folder of the store cannot be written to.
        RemoteError: the results or the store cannot be reached.
    """
    store = run.on_this_node(ActivationStore, run.store, run.store_memory_bytes)
    wanted = {key for cell in run.cells for key in run.graph.keys(cell).values()}
    present, damages = ray.get(store.present.remote(sorted(wanted)))
    for damage in damages:
        run.say(f"store: {damage}; it is made again")
    if not is_url(run.store):
        folders = [Path(run.store) / key[:2] for key in wanted - present]
        refuse_locked_folders(folders, "name another place with --store, or have its owner let you write")
    costs = longest_first(run)
    jobs = _jobs(run, list(costs))
    shown = progress(run.console, run.study, list(costs.values()), n_done=run.n_done, n_held_back=run.n_held_back)
    with ExitStack() as held:
        line = held.enter_context(shown)
        metrics = guarded(run.say, "metrics", lambda: held.enter_context(Metrics(run.study)))
        monitor = held.enter_context(_monitor(run, line, metrics))
        work = Work(run, jobs, costs, store, present, monitor)
        from sweep.engine.tuner import run_trials  # Tune takes a second to import, and extractors start meanwhile

        return run_trials(run, jobs, store, work)


def longest_first(run: Run) -> dict[Cell, float]:
    """The cells in the order in which they begin, with their costs: a long one that begins last keeps all waiting.

    A cell whose product others need counts with the longest of them.
    """
    own = _costs(run)
    ahead = dict(own)
    for cell in reversed(run.cells):  # givers stand before those that need them
        for giver in run.graph.givers(cell):
            if giver in own:
                ahead[giver] = max(ahead[giver], own[giver] + ahead[cell])
    return {cell: own[cell] for cell in sorted(own, key=ahead.__getitem__, reverse=True)}


def _costs(run: Run) -> dict[Cell, float]:
    """What each cell costs; read-outs count in units of their own, so that of several each counts 1 on average."""
    costs = {cell: run.readouts[cell.readout].cost(cell, run.graph.sources[cell].sizes) for cell in run.cells}
    if len(run.readouts) == 1:
        return costs
    totals: Counter[str] = Counter()
    for cell, cost in costs.items():
        totals[cell.readout] += cost  # pyright: ignore[reportArgumentType]
    counts = Counter(cell.readout for cell in costs)
    return {cell: cost * counts[cell.readout] / (totals[cell.readout] or 1) for cell, cost in costs.items()}


def _jobs(run: Run, cells: Sequence[Cell]) -> list[Job]:
    """A job a bundle, in the order of each one's first cell."""
    bundles: dict[Hashable, list[Task]] = {}
    for cell in cells:
        key = run.readouts[cell.readout].bundle(cell)
        bundles.setdefault(cell.cell_id if key is None else (cell.readout, key), []).append(_task(run, cell))
    return [Job(tuple(tasks)) for tasks in bundles.values()]


def _task(run: Run, cell: Cell) -> Task:
    known: Mapping[str, object] = {
        **known_columns(cell, run.graph.sources[cell]),
        "study": run.study,
        "git_commit": run.git_commit,
    }
    return Task(cell, run.graph.keys(cell), run.graph.given(cell), known)


def _monitor(run: Run, line: Progress, metrics: Metrics | None) -> Monitor:
    measures = dict.fromkeys(measure.column for readout in run.readouts.values() for measure in readout.measures)
    logs = open_logs(run.logs, run.results.root, list(measures))
    return Monitor(line, run.results, metrics, logs, run.readouts, run.say)
