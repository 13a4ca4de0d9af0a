"""The command line: `python -m sweep.run STUDY.yaml`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from binding.terminal import Terminal, complain

if TYPE_CHECKING:
    from rich.console import Console

    from sweep.cells import Cell, Grid
    from sweep.cluster import Resources
    from sweep.extract import Source
    from sweep.plan import Plan
    from sweep.readout import Readout
    from sweep.results import ResultsDirectory
    from sweep.space import Locate, Space
    from sweep.stopping import Stop

LOGS = {"tensorboard": "tensorboardX", "optuna": "optuna", "mlflow": "mlflow", "wandb": "wandb"}
"""Logs that `--log` offers, with the package each needs."""

DONE, CELLS_FAILED, USER_ERROR, TIME_IS_UP, INTERRUPTED = 0, 1, 2, 3, 130
GO_ON = "rows and table hold what is done, and the same command goes on where this one stopped"


def parser() -> argparse.ArgumentParser:
    """The command line's arguments."""
    arguments = argparse.ArgumentParser(
        prog="python -m sweep.run",
        description="Measure every cell of a study. Running the same command again does only what is missing.",
        epilog="exit codes: 0 all cells done, 1 some cells failed, 2 it cannot run as asked (a mistake, a full "
        "disk, another run in the same folder, no cluster), 3 --max-hours is over, 130 interrupted or terminated",
    )
    arguments.add_argument("study", type=Path, help="study file (YAML)")
    arguments.add_argument("--plan", action="store_true", help="show what there is to do, and do nothing")
    arguments.add_argument(
        "--forecast", action="store_true", help="as --plan, and time a little of everything to say how long it takes"
    )
    arguments.add_argument("--limit", type=_whole, metavar="N", help="use at most N samples of each split")
    arguments.add_argument(
        "--max-cells", type=_whole, metavar="N", help="measure at most N cells in this run, few of everything"
    )
    arguments.add_argument(
        "--available",
        action="store_true",
        help="measure what the data sets and backbones of this machine allow, and leave the other cells missing",
    )
    arguments.add_argument(
        "--max-hours", type=_hours, metavar="HOURS", help="stop after this time, and show what there is until then"
    )
    arguments.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="replace a setting, such as fit.epochs=5"
    )
    arguments.add_argument(
        "--results",
        default="results",
        metavar="PLACE",
        help="folder of results, or its URL, such as s3://BUCKET/results",
    )
    arguments.add_argument("--store", default="store", metavar="PLACE", help="folder of activations, or its URL")
    arguments.add_argument(
        "--address", help="address of a running Ray cluster, or auto; by default Ray is started on this machine"
    )
    arguments.add_argument(
        "--gpus", type=_whole, default=0, metavar="N", help="GPUs that an autoscaled cluster may grow to"
    )
    arguments.add_argument(
        "--gpus-per-cell", type=_share, default=0.25, metavar="SHARE", help="share of a GPU a cell trains on"
    )
    arguments.add_argument(
        "--log",
        type=_logs,
        default=_logs("tensorboard,optuna"),
        metavar="NAMES",
        help="logs to keep beside the rows: tensorboard, optuna, mlflow, wandb, separated by commas, or none; "
        "by default tensorboard,optuna",
    )
    return arguments


def _whole(text: str) -> int:
    value = int(text) if text.isdigit() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number ≥ 1, got {text!r}")
    return value


def _logs(text: str) -> tuple[str, ...]:
    names = () if text == "none" else tuple(dict.fromkeys(text.split(",")))
    if unknown := [name for name in names if name not in LOGS]:
        raise argparse.ArgumentTypeError(f"there is no log {unknown[0]!r}; there are {', '.join(LOGS)}, none")
    return names


def _hours(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"must be a number of hours > 0, got {text!r}")
    return value


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"must lie in (0, 1], got {text!r}")
    return value


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = parser()
    arguments = options.parse_args(argv)
    if arguments.gpus and arguments.address is None:
        options.error("argument --gpus: must come with --address; the GPUs of this machine are used anyway")
    from sweep.cluster import ClusterError
    from sweep.full_disk import FullDiskError, full_disk, no_space
    from sweep.packages import MissingPackageError
    from sweep.places import PlaceError
    from sweep.remote import RemoteError
    from sweep.results import BusyError
    from sweep.space import StudyError
    from sweep.stopping import stoppable

    with stoppable(arguments.max_hours) as stop:
        try:
            return _run(arguments, stop)
        except (
            StudyError,
            BusyError,
            ClusterError,
            FullDiskError,
            MissingPackageError,
            PlaceError,
            RemoteError,
        ) as error:
            complain(error)
            return USER_ERROR
        except OSError as error:
            if not no_space(error):
                raise
            complain(full_disk(error.filename or arguments.results))
            return USER_ERROR
        except KeyboardInterrupt:
            reason = f"--max-hours {arguments.max_hours:g} is over" if stop.time_is_up else "interrupted"
            complain(f"\n{reason}; {GO_ON}")
            return TIME_IS_UP if stop.time_is_up else INTERRUPTED


@dataclass(frozen=True)
class Study:
    """A study that was read and checked, and where its results are."""

    space: Space
    readout: Readout
    locate: Locate
    grid: Grid
    plan: Plan
    results: ResultsDirectory


def _run(arguments: argparse.Namespace, stop: Stop) -> int:

    from sweep.mirror import results_at
    from sweep.packages import require
    from sweep.plan import print_plan
    from sweep.space import load_space

    console = Terminal()
    require(LOGS[name] for name in arguments.log)
    space = load_space(arguments.study, arguments.set, arguments.limit)
    with results_at(arguments.results, space.name) as results:
        study = _read(arguments, space, results)
        print_plan(study.plan, console)
        if arguments.forecast:
            _forecast(arguments, study, console)
        return DONE if arguments.plan or arguments.forecast else _work(arguments, study, console, stop)


def _read(arguments: argparse.Namespace, space: Space, results: ResultsDirectory) -> Study:
    from sweep.cells import make_grid
    from sweep.places import PlaceError
    from sweep.plan import make_plan
    from sweep.readout import find_readout
    from sweep.sources import unavailable
    from sweep.space import locate_in

    locate = locate_in(arguments.study, arguments.set)
    readout = find_readout(space.readout)
    grid = make_grid(space, readout, locate)
    absent = unavailable if arguments.available else None
    try:
        rows = results.rows()
    except OSError as error:
        raise PlaceError(f"{results.root}: cannot be read ({error.strerror}); name another place") from error
    plan = make_plan(grid, rows, arguments.max_cells, absent)
    return Study(space, readout, locate, grid, plan, results)


def _forecast(arguments: argparse.Namespace, study: Study, console: Console) -> None:
    from sweep.cluster import ray_session
    from sweep.forecast import forecast, print_forecast
    from sweep.sources import open_sources

    cells = study.plan.to_do
    if cells:
        sources = open_sources(cells, (), study.space, study.locate)
        with ray_session(arguments.address, arguments.gpus) as resources:
            found = forecast(cells, sources, arguments.store, resources, arguments.gpus_per_cell)
        print_forecast(found, console)


def _work(arguments: argparse.Namespace, study: Study, console: Console, stop: Stop) -> int:
    from sweep.cluster import ray_session
    from sweep.published import show_published
    from sweep.sources import open_sources
    from sweep.space import dump_yaml
    from sweep.views import announce, as_rehearsal, rebuild, rebuild_table, rehearsal, show

    _refuse_places(arguments, study)
    study.results.refuse_if_busy()
    sources = open_sources(study.plan.to_do, study.plan.done, study.space, study.locate)
    stale = _stale(study, sources)
    for cell in stale:
        line = f"stale, measured again because data or weights have changed: {cell.name}"
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    cells = [*stale, *study.plan.to_do]
    with ExitStack() as held:
        resources = held.enter_context(ray_session(arguments.address, arguments.gpus)) if cells else None
        held.enter_context(study.results.locked())
        study_yaml = dump_yaml(study.space.resolved())
        if arguments.limit:
            study_yaml = as_rehearsal(study_yaml, arguments.limit)
        announce(study.results, study.grid.cells, study_yaml)
        complete = resources is None or _measure(arguments, study, cells, sources, resources, console)
        if not complete and not stop.time_is_up:  # who stops a machine waits for seconds, a report may take longer
            rebuild_table(study.results, study.grid.cells, study.readout)
            raise KeyboardInterrupt
        rebuild(study.results, study.grid.cells, study.readout, study.space, study_yaml)
    failed = show(study.results, study.grid.cells, study.readout, console)
    show_published(study.results, study.grid.cells, study.space.published, console)
    if note := rehearsal(study_yaml):
        console.print(note, soft_wrap=True, highlight=False, markup=False)
    _farewell(console, study, failed, is_example=_is_example(arguments.study))
    if not complete:
        raise KeyboardInterrupt
    return CELLS_FAILED if failed else DONE


def _refuse_places(arguments: argparse.Namespace, study: Study) -> None:
    """Say before Ray starts what of this machine or of the places given cannot be written to."""
    from sweep.local_ray import refuse_unusable_ray_folder
    from sweep.mirror import open_store

    study.results.refuse_unwritable("name another place with --results")
    if study.plan.to_do:
        open_store(arguments.store).refuse_unwritable("name another place with --store")
        if arguments.address is None:
            refuse_unusable_ray_folder()


def _stale(study: Study, sources: dict[Cell, Source]) -> list[Cell]:
    """Done cells whose data or weights are no longer what they were."""
    from sweep.sources import data_fingerprint

    rows = study.results.rows()

    def changed(cell: Cell) -> bool:
        row, source = rows[cell.cell_id], sources[cell]
        now = (data_fingerprint(source), source.weights_digest)
        return (row["data_fingerprint"], row["weights_digest"]) != now

    return [cell for cell in study.plan.done if cell in sources and changed(cell)]


def _measure(
    arguments: argparse.Namespace,
    study: Study,
    cells: list[Cell],
    sources: dict[Cell, Source],
    resources: Resources,
    console: Console,
) -> bool:
    from sweep.cell import git_commit
    from sweep.cluster import dashboard_lines
    from sweep.engine import Run, run_cells
    from sweep.remote import is_url

    for line in dashboard_lines(resources):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", str(resources.most_waiting(arguments.gpus_per_cell)))
    return run_cells(
        Run(
            study=study.space.name,
            git_commit=git_commit(Path(__file__).parent),
            readout=study.readout,
            cells=cells,
            sources=sources,
            results=study.results,
            store=arguments.store if is_url(arguments.store) else str(Path(arguments.store).absolute()),
            store_memory_bytes=study.space.store.memory_bytes,
            resources=resources,
            gpus_per_cell=arguments.gpus_per_cell,
            most_probe_bytes=study.space.keep_probes_bytes,
            logs=arguments.log,
            console=console,
            n_done=len(set(study.plan.done) - set(cells)),
            n_held_back=len(study.plan.held_back) + len(study.plan.unavailable),
        )
    )


def _farewell(console: Console, study: Study, failed: int, *, is_example: bool) -> None:
    from sweep.plan import missing_lines

    report = study.results.where("report.html")
    link = report if "://" in report else Path(report).absolute().as_uri()
    lines = [f"results: {study.results.where('results.parquet')} (and .csv)", f"report: {link}"]
    if failed:
        cells = "1 cell" if failed == 1 else f"{failed} cells"
        lines.append(f"{cells} failed; the same command tries again")
    if held_back := len(study.plan.held_back):
        cells = "1 cell was" if held_back == 1 else f"{held_back} cells were"
        lines.append(f"{cells} held back by --max-cells; the same command goes on with them")
    if missing := len(study.plan.unavailable):
        cells = "1 cell is" if missing == 1 else f"{missing} cells are"
        lines.append(f"{cells} missing, because what they need cannot be had here; a later run goes on with them:")
        lines += missing_lines(study.plan)
    if is_example:
        lines.append(
            "next: write a study of your own (README, section 'Your own study'), look at what it would do with "
            "`python -m sweep.run STUDY.yaml --plan`, then run it without --plan"
        )
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _is_example(study: Path) -> bool:
    """Whether a study file is one that ships with the project."""
    return study.resolve().parent == Path(__file__).resolve().parents[1] / "search_spaces"


if __name__ == "__main__":
    sys.exit(main())
