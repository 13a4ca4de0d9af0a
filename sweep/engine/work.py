"""All work of a run, side by side: labels, extraction, and cells that begin as soon as what they need is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ray

from frozen.readout.cells import Cell
from sweep.engine.extraction import Extraction
from sweep.engine.labels import LabelMaking
from sweep.engine.ledger import Ledger
from sweep.engine.passes import Pass, plan_passes
from sweep.engine.run import Run
from sweep.engine.trial import Job, Task, failed_row, volatile_columns
from sweep.engine.waiting import Waiting
from sweep.live import Monitor


class Work:
    """What a run does beside its trials, and what it knows of them.

    Args:
        run: the run.
        jobs: its cells in bundles, those first that should begin first.
        costs: about how long each cell takes.
        store: handle of the `ActivationStore` actor.
        present: keys of the entries it holds.
        monitor: told of everything.

    Attributes:
        waiting: jobs that have not begun, by their place among the jobs.
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
        self.ledger = run.on_this_node(Ledger, run.results.absolute())
        self._tasks = {task.cell.cell_id: task for job in jobs for task in job.tasks}
        self._written: set[str] = set()
        needs = {number: [list(task.keys.values()) for task in job.tasks] for number, job in enumerate(jobs)}
        self._keys = sorted({key for parts in needs.values() for keys in parts for key in keys})
        self.waiting = Waiting(needs, present)
        self._labels = LabelMaking(
            run.cells, run.graph, present, store, self._arrived, self._lost_keys, run.resources.cpus
        )
        passes = plan_passes(run.cells, run.graph, present)
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
        self._refuse_unmet(needs, present, passes)
        self._extracts = True
        self.go_on(0.0, cells_wait=bool(self.waiting.n_ready))

    def _refuse_unmet(self, needs: Mapping[int, Any], present: set[str], passes: Sequence[Pass]) -> None:
        """A need that nobody will make would be waited for forever."""
        made = {output.key for job in passes for output in job.outputs} | set(self._labels.keys) | present
        made |= {key for task in self._tasks.values() for key in task.gives.values()}
        for number, parts in needs.items():
            for task, keys in zip(self._jobs[number].tasks, parts, strict=True):
                if not made.issuperset(keys):
                    unmet = [name for name, key in task.keys.items() if key not in made]
                    raise RuntimeError(f"nobody makes what cell {task.cell.name} needs: {', '.join(unmet)}")

    def go_on(self, timeout_s: float, *, cells_wait: bool) -> None:
        """Take labels and extraction further, waiting so long at most."""
        self._labels.step()
        self._extraction.step(timeout_s, cells_wait=cells_wait)
        if self._extracts and self._extraction.has_ended:
            self._extracts = False
            self._monitor.store(ray.get(self._store.size_bytes.remote(self._keys)))

    def _extracted(self, job: Pass, error: BaseException | None) -> None:
        """A pass is in the store, or could not be made."""
        keys = {output.key for output in job.outputs}
        self._arrived(keys) if error is None else self._lost_keys(keys, error)

    def _arrived(self, keys: set[str]) -> None:
        self.waiting.arrived(keys)

    def _lost_keys(self, keys: set[str], error: BaseException | str) -> None:
        """Entries could not be made: the cells that need them get rows that say why."""
        for number, part in self.waiting.without(keys):
            self._fail(self._jobs[number].tasks[part], error)

    def _fail(self, task: Task, error: BaseException | str) -> None:
        row = failed_row(task, error)
        ray.get(self.ledger.write.remote(row | {"wall_s": None, **volatile_columns("")}))
        self.measured(task.cell.cell_id, failed=True, steps=0)

    def measured(self, cell_id: str, *, failed: bool, steps: int) -> None:
        """A cell has its row: those that wait for its products can begin, or fail with it."""
        if cell_id in self._written:  # its worker died between the row and the word of it, and began again
            return
        self._written.add(cell_id)
        task = self._tasks[cell_id]
        self._monitor.measured(task.cell, self._costs[task.cell], failed=failed, steps=steps)
        keys = set(task.gives.values())
        if not keys:
            return
        if failed:
            self._lost_keys(keys, f"it needs {', '.join(task.gives)} of cell {task.cell.name}, which failed")
        else:
            self._arrived(keys)

    def ended(self, number: int) -> None:
        """A trial has ended: every cell of it has its row, also those of which no word came."""
        for task in self._jobs[number].tasks:
            if task.cell.cell_id in self._written:
                continue
            try:
                row = self._run.results.row(task.cell.cell_id)
            except FileNotFoundError:  # an exception here would leave Tune waiting for a trial that has ended
                self._fail(task, "its trial ended without a row of this cell")
            else:
                self.measured(task.cell.cell_id, failed=row["status"] == "failed", steps=0)

    def has_begun(self, trial_id: str) -> bool:
        """Whether a trial's worker ever began with its cells."""
        return ray.get(self.ledger.has_begun.remote(trial_id))

    def lost(self, number: int, message: str) -> None:
        """A job's workers died again and again: the rows of its cells say so."""
        for task in self._jobs[number].tasks:
            if task.cell.cell_id not in self._written:
                self._fail(task, message)

    def tried_again(self, number: int) -> None:
        """A job's worker died, and it begins once more, perhaps with nothing left to do."""
        if names := [task.cell.name for task in self._jobs[number].tasks if task.cell.cell_id not in self._written]:
            self.say(f"lost with its worker, and tried again: {', '.join(names)}")

    def say(self, line: str) -> None:
        """There is something to read."""
        self._run.say(line)
