"""The command line: `python -m sweep.run STUDY.yaml`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from frozen.terminal import Arguments, complain, run_command

if TYPE_CHECKING:
    from rich.console import Console

    from frozen.readout.cells import Cell
    from frozen.readout.readout import Readouts
    from sweep.engine.cluster import Resources
    from sweep.engine.grid import Grid
    from sweep.engine.needs import Graph
    from sweep.engine.plan import Plan
    from sweep.engine.stopping import Stop
    from sweep.results.directory import ResultsDirectory
    from sweep.study.load import Locate, StudyFile

LOGS = {"tensorboard": "tensorboardX", "optuna": "optuna", "mlflow": "mlflow", "wandb": "wandb"}
"""Logs that `--log` offers, with the package each needs."""

DONE, CELLS_FAILED, USER_ERROR, TIME_IS_UP, INTERRUPTED = 0, 1, 2, 3, 130
GO_ON = "rows and table hold what is done, and the same command goes on where this one stopped"


def parser() -> argparse.ArgumentParser:
    """The command line's arguments."""
    arguments = Arguments(
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
        "--no-dashboard", action="store_true", help="start Ray without its dashboard, which saves a second"
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
    from sweep.engine.cluster import ClusterError
    from sweep.engine.packages import MissingPackageError
    from sweep.engine.places import PlaceError
    from sweep.engine.stopping import stoppable
    from sweep.results.directory import BusyError
    from sweep.store.disk import LostEntryError
    from sweep.store.full_disk import FullDiskError, full_disk, no_space
    from sweep.store.remote import RemoteError
    from sweep.study.load import StudyError

    with stoppable(arguments.max_hours) as stop:
        try:
            return _run(arguments, stop)
        except (
            StudyError,
            BusyError,
            ClusterError,
            FullDiskError,
            LostEntryError,
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
class Checked:
    """A study that was read and checked, and where its results are."""

    file: StudyFile
    readouts: Readouts
    locates: Mapping[str, Locate]
    grids: Mapping[str, Grid]
    """Of each read-out."""
    grid: Grid
    """Of all of them."""
    plan: Plan
    results: ResultsDirectory


def _run(arguments: argparse.Namespace, stop: Stop) -> int:
    from frozen.console import Terminal
    from frozen.rates import measured
    from sweep.engine.cluster import ClusterError
    from sweep.engine.packages import require
    from sweep.engine.plan import print_plan, space_warning
    from sweep.results.joint import JointResults
    from sweep.results.rows import shown
    from sweep.store.mirror import results_at
    from sweep.store.remote import is_url
    from sweep.study.load import load_file

    console = Terminal()
    require(LOGS[name] for name in arguments.log)
    file = load_file(arguments.study, arguments.set, arguments.limit)
    if chosen := measured():
        if arguments.address:
            raise ClusterError(
                "`auto` is measured on this machine, and with --address others do the work; "
                "write `bfloat16` or `float32` in its place"
            )
        console.print(str(chosen), soft_wrap=True, highlight=False)
    with results_at(arguments.results, file.name) as place:
        results = JointResults(place, file.studies) if file.is_joint else place
        checked = _checked(arguments, file, results)
        print_plan(checked.plan, checked.readouts, console)
        if not is_url(arguments.store) and (warning := space_warning(checked.plan.to_do, Path(arguments.store))):
            console.print(warning, soft_wrap=True, highlight=False, markup=False)
        for line in shown(results.read().damages):
            console.print(line, soft_wrap=True)
        if arguments.forecast:
            _forecast(arguments, checked, console)
        return DONE if arguments.plan or arguments.forecast else _work(arguments, checked, console, stop)


def _checked(arguments: argparse.Namespace, file: StudyFile, results: ResultsDirectory) -> Checked:
    from frozen.readout.readout import find_readout
    from sweep.engine.grid import joined, make_grids
    from sweep.engine.places import PlaceError
    from sweep.engine.plan import make_plan
    from sweep.engine.sources import unavailable
    from sweep.study.load import locates_in

    locates = locates_in(arguments.study, arguments.set)
    readouts = {name: find_readout(name) for name in file.studies}
    grids = make_grids(file.studies, readouts, locates)
    grid = joined(grids.values())
    absent = unavailable if arguments.available else None
    try:
        rows = results.rows()
    except OSError as error:
        raise PlaceError(f"{results.root}: cannot be read ({error.strerror}); name another place") from error
    plan = make_plan(grid, rows, arguments.max_cells, absent)
    return Checked(file, readouts, locates, grids, grid, plan, results)


def _forecast(arguments: argparse.Namespace, checked: Checked, console: Console) -> None:
    from sweep.engine.forecast import forecast, print_forecast

    cells = checked.plan.to_do
    if cells:
        graph = _graph(checked, cells, ())
        with _ray(arguments) as resources:
            found = forecast(cells, graph, checked.readouts, arguments.store, resources, arguments.gpus_per_cell)
        print_forecast(found, console)


def _ray(arguments: argparse.Namespace) -> AbstractContextManager[Resources]:
    from sweep.engine.cluster import ray_session

    return ray_session(arguments.address, arguments.gpus, dashboard=not arguments.no_dashboard)


def _graph(checked: Checked, cells: Sequence[Cell], others: Sequence[Cell]) -> Graph:
    """Needs of the study's cells; the data and weights of some are opened, of others where that costs nothing."""
    from sweep.engine.needs import Graph, closed
    from sweep.engine.sources import open_all

    by_id = {cell.cell_id: cell for cell in checked.grid.cells}
    needed = closed(cells, by_id, ())
    sources = open_all(needed, others, checked.file.studies, checked.locates)
    return Graph(checked.grid.cells, sources, checked.readouts)


def _work(arguments: argparse.Namespace, checked: Checked, console: Console, stop: Stop) -> int:
    from sweep.results.of_file import FileViews
    from sweep.results.views import rehearsal_note, set_aside_damages
    from sweep.store.remote import is_url

    results, is_local = checked.results, not is_url(arguments.results)
    views = FileViews(results, checked.file, checked.readouts, checked.grids, arguments.limit, is_local)
    _refuse_places(arguments, checked)
    results.refuse_if_busy()
    graph = _graph(checked, checked.plan.to_do, checked.plan.done)
    cells = _to_measure(arguments, checked, graph, checked.plan.to_do, console)
    with ExitStack() as held:
        resources = held.enter_context(_ray(arguments)) if cells else None
        held.enter_context(results.locked())
        if moved := set_aside_damages(results):
            console.print(moved, soft_wrap=True)
        views.announce()
        complete = True
        while resources is not None and cells and complete:
            complete = _measure(arguments, checked, cells, graph, resources, console)
            if complete:  # a product that came out other than it was makes those that read it stale
                cells = _to_measure(arguments, checked, graph, (), console, after=cells)
        if not complete and not stop.time_is_up:  # who stops a machine waits for seconds, a report may take longer
            views.rebuild_tables()
            raise KeyboardInterrupt
        views.rebuild()
    failed = views.show(console)
    if arguments.limit:
        console.print(rehearsal_note(arguments.limit), soft_wrap=True, highlight=False, markup=False)
    _farewell(console, checked, failed, is_example=_is_example(arguments.study))
    if not complete:
        raise KeyboardInterrupt
    return CELLS_FAILED if failed else DONE


def _refuse_places(arguments: argparse.Namespace, checked: Checked) -> None:
    """Say before Ray starts what of this machine or of the places given cannot be written to."""
    from sweep.engine.local_ray import refuse_unusable_ray_folder
    from sweep.store.mirror import open_store

    checked.results.refuse_unwritable("name another place with --results")
    if checked.plan.to_do:
        open_store(arguments.store).refuse_unwritable("name another place with --store")
        if arguments.address is None:
            refuse_unusable_ray_folder()


def _to_measure(
    arguments: argparse.Namespace,
    checked: Checked,
    graph: Graph,
    to_do: Sequence[Cell],
    console: Console,
    after: Sequence[Cell] | None = None,
) -> list[Cell]:
    """Some cells with the done ones that have to be measured again, which is said."""
    from sweep.engine.renewal import to_measure
    from sweep.store.mirror import open_store

    has = open_store(arguments.store).lists
    cells, renewed = to_measure(checked.grid.cells, checked.results.rows(), graph, to_do, has, after)
    for cell, reason in renewed:
        line = f"measured again, because {reason}: {cell.name}"
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    return cells


def _measure(
    arguments: argparse.Namespace,
    checked: Checked,
    cells: Sequence[Cell],
    graph: Graph,
    resources: Resources,
    console: Console,
) -> bool:
    from sweep.engine.cluster import dashboard_lines
    from sweep.engine.measuring import run_cells
    from sweep.engine.run import Run
    from sweep.engine.trial import git_commit
    from sweep.store.remote import is_url

    for line in dashboard_lines(resources):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", str(resources.most_waiting(arguments.gpus_per_cell)))
    return run_cells(
        Run(
            study=checked.file.name,
            git_commit=git_commit(Path(__file__).parent),
            readouts=checked.readouts,
            cells=cells,
            graph=graph,
            results=checked.results,
            store=arguments.store if is_url(arguments.store) else str(Path(arguments.store).absolute()),
            store_memory_bytes=checked.file.first.store.memory_bytes,
            resources=resources,
            gpus_per_cell=arguments.gpus_per_cell,
            logs=arguments.log,
            console=console,
            n_done=len(set(checked.plan.done) - set(cells)),
            n_held_back=len(checked.plan.held_back) + len(checked.plan.unavailable),
        )
    )


def _farewell(console: Console, checked: Checked, failed: int, *, is_example: bool) -> None:
    from sweep.engine.plan import missing_lines

    report = checked.results.where("report.html")
    link = report if "://" in report else Path(report).absolute().as_uri()
    tables = [checked.results.where("results.parquet")]
    if checked.file.is_joint:
        tables = [checked.results.part(name).where("results.parquet") for name in checked.readouts]
    lines = [*(f"results: {table} (and .csv)" for table in tables), f"report: {link}"]
    if failed:
        cells = "1 cell" if failed == 1 else f"{failed} cells"
        lines.append(f"{cells} failed; the same command tries again")
    if held_back := len(checked.plan.held_back):
        cells = "1 cell was" if held_back == 1 else f"{held_back} cells were"
        lines.append(f"{cells} held back by --max-cells; the same command goes on with them")
    if missing := len(checked.plan.unavailable):
        cells = "1 cell is" if missing == 1 else f"{missing} cells are"
        lines.append(f"{cells} missing, because what they need cannot be had here; a later run goes on with them:")
        lines += missing_lines(checked.plan)
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
    run_command(main)
