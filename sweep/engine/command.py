"""What `python -m sweep.run` does with a study file, step by step; Ray is imported where there is work to do."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from frozen.console import Terminal
from frozen.rates import measured
from frozen.readout.cells import Cell
from frozen.readout.readout import Readouts, find_readout
from sweep.engine.cluster import ClusterError, Resources, dashboard_lines, ray_session
from sweep.engine.grid import Grid, joined, make_grids
from sweep.engine.local_ray import refuse_unusable_ray_folder
from sweep.engine.needs import Graph, closed
from sweep.engine.places import PlaceError
from sweep.engine.plan import Plan, make_plan, missing_lines, print_plan, space_warning
from sweep.engine.renewal import to_measure
from sweep.engine.sources import open_all, unavailable
from sweep.engine.stopping import Stop
from sweep.results.directory import ResultsDirectory
from sweep.results.joint import JointResults
from sweep.results.of_file import FileViews
from sweep.results.rows import shown
from sweep.results.standing import code_of
from sweep.results.views import rehearsal_note, set_aside_damages
from sweep.store.mirror import open_store, results_at
from sweep.store.remote import is_url
from sweep.study.load import Locate, StudyFile, load_file, locates_in


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


def run(arguments: argparse.Namespace, stop: Stop) -> bool:
    """Plan a study, and do what is missing unless only a plan or forecast is asked for.

    Args:
        arguments: of `sweep.run.parser`.
        stop: says why a run that is interrupted was.

    Returns:
        Whether no cell has failed.

    Raises:
        KeyboardInterrupt: interrupted, or `--max-hours` is over; what was measured is there.
        StudyError: the study cannot be read.
        BusyError: another run holds the results.
        ClusterError: the cluster cannot be joined.
        PlaceError: results or store cannot be read or written.
        FullDiskError, LostEntryError, RemoteError: of `run_cells`.
    """
    console = Terminal()
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
        return arguments.plan or arguments.forecast or _work(arguments, checked, console, stop)


def _checked(arguments: argparse.Namespace, file: StudyFile, results: ResultsDirectory) -> Checked:
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
    from sweep.engine.forecast import forecast, print_forecast  # imports Ray

    cells = checked.plan.to_do
    if cells:
        graph = _graph(checked, cells, ())
        with _ray(arguments) as resources:
            found = forecast(cells, graph, checked.readouts, arguments.store, resources, arguments.gpus_per_cell)
        print_forecast(found, console)


def _ray(arguments: argparse.Namespace) -> AbstractContextManager[Resources]:
    return ray_session(arguments.address, arguments.gpus, dashboard=not arguments.no_dashboard)


def _graph(checked: Checked, cells: Sequence[Cell], others: Sequence[Cell]) -> Graph:
    """Needs of the study's cells; the data and weights of some are opened, of others where that costs nothing."""
    by_id = {cell.cell_id: cell for cell in checked.grid.cells}
    needed = closed(cells, by_id, ())
    sources = open_all(needed, others, checked.file.studies, checked.locates)
    return Graph(checked.grid.cells, sources, checked.readouts)


def _work(arguments: argparse.Namespace, checked: Checked, console: Console, stop: Stop) -> bool:
    results, is_local = checked.results, not is_url(arguments.results)
    code = code_of(checked.readouts.values())
    views = FileViews(results, checked.file, checked.readouts, checked.grids, arguments.limit, is_local, code)
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
    return not failed


def _refuse_places(arguments: argparse.Namespace, checked: Checked) -> None:
    """Say before Ray starts what of this machine or of the places given cannot be written to."""
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
    from sweep.engine.measuring import run_cells  # imports Ray
    from sweep.engine.run import Run
    from sweep.engine.trial import git_commit

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
    return study.resolve().parent == Path(__file__).resolve().parents[2] / "search_spaces"
