"""A run's cells as trials of Ray Tune."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ray import tune

from sweep.cell import Job, run_job
from sweep.engine import Run, Work
from sweep.live import tune_callbacks
from sweep.ray_watch import shut_down_ray
from sweep.stopping import noticed
from sweep.trials import CellSearch, NoLines, Trials


def run_trials(run: Run, jobs: Sequence[Job], store: Any, work: Work) -> bool:
    """One Tune trial a job; trials that are lost with their worker are tried again, then recorded as failed.

    Args:
        run: the run.
        jobs: its cells.
        store: handle of the `ActivationStore` actor.
        work: says which cells can begin, and is told what becomes of them.

    Returns:
        Whether the run came to its end; False after an interrupt.

    Raises:
        FullDiskError: there is no space left for the results.
        RemoteError: the results or the store cannot be reached.
    """
    trainable = tune.with_parameters(
        run_job,
        jobs=list(jobs),
        store=store,
        ledger=work.ledger,
        place=run.store,
        most_probe_bytes=run.most_probe_bytes,
    )
    trials = Trials(work.waiting, work, run.results.root)
    search = CellSearch(trials, [_readable(number, job) for number, job in enumerate(jobs)])
    tuner = tune.Tuner(
        tune.with_resources(trainable, run.resources.of_trial(run.gpus_per_cell)),
        tune_config=tune.TuneConfig(search_alg=search, num_samples=-1, reuse_actors=True),
        run_config=tune.RunConfig(
            name=f"run-{time.time_ns()}",
            storage_path=str(_tune_folder(run)),
            verbose=0,
            callbacks=[trials, NoLines(), *tune_callbacks(run.logs, run.results.root, run.study, run.say)],
        ),
    )
    try:
        tuner.fit()
    except KeyboardInterrupt:
        noticed()
        shut_down_ray()  # at once: Tune would wait for its trials, and they would write on
        if trials.stopped_by is not None:
            raise trials.stopped_by from None
        return False
    shutil.rmtree(_tune_folder(run), ignore_errors=True)
    return True


def _tune_folder(run: Run) -> Path:
    """Where Tune keeps what it needs while it runs."""
    return run.results.root.absolute() / "tune"


def _readable(number: int, job: Job) -> dict[str, object]:
    """What a trial is told: its number among the jobs, and for logs which cell that is."""
    names = ("cell_id", "dataset", "backbone", "layer", "mode", "probe")
    return {"number": number, **{name: job.known[name] for name in names}}
