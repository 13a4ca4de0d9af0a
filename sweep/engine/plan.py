"""What a run has to do: the cells of the study minus those its results already hold."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from frozen.data.dataset import Missing
from frozen.data.spec import AnyDataset, split_size
from frozen.models import BackboneConfig
from frozen.paths import written
from frozen.problems import plural
from frozen.readout.cells import Cell
from frozen.readout.measures import Dimension
from frozen.readout.needs import Product
from frozen.readout.readout import Readout, Readouts
from frozen.terminal import on_one_line
from sweep.engine.grid import Grid
from sweep.engine.needs import absent_files, closed, splits_of
from sweep.engine.passes import capture_bytes, count_samples
from sweep.engine.spread import spread
from sweep.results.directory import Row

_MOST_NAMES = 3


@dataclass(frozen=True)
class Plan:
    """Cells by what has to be done with them.

    Attributes:
        grid: every possible cell of the study.
        done: cells with a sound row.
        failed: cells whose row says that they failed; they are tried again.
        missing: cells without a row.
        held_back: missing cells that this run leaves for later, because of a limit on their number.
        unavailable: cells that are left missing because their data, files or backbone cannot be had, or those of a
            cell whose product they need, with what and how to get it.
        foreign: rows of other studies or settings in the same directory; they are kept.
    """

    grid: Grid
    done: tuple[Cell, ...]
    failed: tuple[Cell, ...]
    missing: tuple[Cell, ...]
    held_back: tuple[Cell, ...]
    foreign: int
    unavailable: Mapping[Cell, tuple[str, ...]] = field(default_factory=dict)

    @cached_property
    def to_do(self) -> tuple[Cell, ...]:
        """Cells this run measures."""
        left = {*self.held_back, *self.unavailable}
        return tuple(cell for cell in (*self.missing, *self.failed) if cell not in left)


Unavailable = Callable[[Sequence[Cell]], Mapping[Cell, tuple[str, ...]]]
"""Finds those of some cells whose data or backbone cannot be had, with what and how to get it."""


def make_plan(
    grid: Grid, rows: Mapping[str, Row], max_cells: int | None, unavailable: Unavailable | None = None
) -> Plan:
    """Compare the grid with the rows that are there.

    Args:
        grid: every possible cell of the study.
        rows: what is measured, by cell.
        max_cells: most cells to measure, chosen to have few of everything, with those whose products they need;
            failed ones come last.
        unavailable: finds cells to leave missing; None leaves none.
    """
    status = {cell: rows[cell.cell_id]["status"] if cell.cell_id in rows else "missing" for cell in grid.cells}
    done, failed, missing = (
        tuple(cell for cell in grid.cells if status[cell] == name) for name in ("done", "failed", "missing")
    )
    left = (*missing, *failed)
    absent = _with_dependents(unavailable(left), left, grid) if unavailable else {}
    held_back: tuple[Cell, ...] = ()
    if max_cells is not None:
        taken = {*_limited(grid, done, missing, failed, absent, max_cells), *absent}
        held_back = tuple(cell for cell in (*missing, *failed) if cell not in taken)
    foreign = len(set(rows) - {cell.cell_id for cell in grid.cells})
    return Plan(grid, done, failed, missing, held_back, foreign, absent)


def _with_dependents(
    absent: Mapping[Cell, tuple[str, ...]], left: Sequence[Cell], grid: Grid
) -> dict[Cell, tuple[str, ...]]:
    """Cells that lack something, and those that need a product of one of them, with all that is missing.

    Args:
        absent: what some cells lack.
        left: cells that are not done; products of the others are there.
        grid: of all of them.
    """
    found: dict[Cell, tuple[str, ...]] = {}
    by_id = {cell.cell_id: cell for cell in grid.cells}
    done = set(grid.cells) - set(left)
    for cell in closed(left, by_id, done):  # givers come first
        givers = (by_id[need.giver] for _, need in cell.needs_of(Product))
        lines = [*absent.get(cell, ()), *(line for giver in givers for line in found.get(giver, ()))]
        if lines:
            found[cell] = tuple(dict.fromkeys(lines))
    return found


def _limited(
    grid: Grid,
    done: Sequence[Cell],
    missing: Sequence[Cell],
    failed: Sequence[Cell],
    absent: Mapping[Cell, object],
    most: int,
) -> list[Cell]:
    """Cells of a limited run, each with the cells whose products it needs."""
    by_id = {cell.cell_id: cell for cell in grid.cells}
    chosen: list[Cell] = []
    for of in (missing, failed):
        candidates = [cell for cell in of if cell not in absent]
        for cell in spread(candidates, len(candidates), grid.dimensions, [*done, *chosen]):
            more = closed([cell], by_id, [*done, *chosen])
            if len(chosen) + len(more) <= most and absent.keys().isdisjoint(more):
                chosen += more
    return chosen


def print_plan(plan: Plan, readouts: Readouts, console: Console) -> None:
    """Show what there is to do and what it needs."""
    to_do = set(plan.to_do)
    for name, readout in readouts.items():
        if len(readouts) > 1:
            console.print(f"\n{name}", highlight=False)
        _print_cells([cell for cell in plan.grid.cells if cell.readout == name], to_do, readout, console)
    for line in (*_resolved(plan, readouts), *_costs(plan.to_do)):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    for line in _left_out(plan.grid):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    for line in _notes(plan.to_do):
        console.print(f"note: {line}", soft_wrap=True, highlight=False, markup=False)
    for name, readout in readouts.items():
        for line in readout.warnings([cell for cell in plan.to_do if cell.readout == name]):
            console.print(f"warning: {line}", soft_wrap=True, highlight=False, markup=False)
    for name, missing in _missing_data(plan.to_do).items():
        console.print(f"missing: {name}: {missing}", soft_wrap=True, highlight=False, markup=False)
    for line in (*_missing_weights(plan.to_do), *absent_files(plan.to_do)):
        console.print(f"missing: {line}", soft_wrap=True, highlight=False, markup=False)
    for line in missing_lines(plan):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    console.print(_summary(plan), soft_wrap=True, highlight=False)


def _resolved(plan: Plan, readouts: Readouts) -> Iterator[str]:
    """What the read-outs say of the cells to do."""
    for name, readout in readouts.items():
        yield from readout.resolved([cell for cell in plan.to_do if cell.readout == name])


def _print_cells(cells: Sequence[Cell], to_do: AbstractSet[Cell], readout: Readout, console: Console) -> None:
    """A table of data sets and backbones, and the values of the read-out's dimensions."""
    depths = [one for one in readout.dimensions if one.role == "depth"]
    others = [one for one in readout.dimensions if one.role != "depth"]
    heads = [plural(one.label) for one in depths]
    table = Table("data set", "backbone", *heads, "cells", "to do", box=SIMPLE, pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.dataset.name, written(cell.backbone.source)), []).append(cell)
    for (dataset, backbone), own in groups.items():
        values = [_values(own, one) for one in depths]
        names = (Text(on_one_line(name)) for name in (dataset, backbone, *values))
        table.add_row(*names, str(len(own)), str(sum(cell in to_do for cell in own)))
    console.print(table)
    named = "; ".join(f"{plural(one.label)}: {_values(cells, one)}" for one in others)
    if named:
        console.print(named, soft_wrap=True, highlight=False, markup=False)


def _left_out(grid: Grid) -> Iterator[str]:
    """What cannot be measured and why, once for all data sets of which it is true."""
    names = {cell.dataset.name for cell in grid.cells}
    of: dict[tuple[str, str], list[str]] = {}
    for where, reason in grid.left_out:
        dataset, _, rest = where.partition(" · ")
        whole = dataset not in names
        of.setdefault((where if whole else rest, reason), []).extend([] if whole else [dataset])
    for (where, reason), datasets in of.items():
        if len(datasets) > _MOST_NAMES:
            place = "all data sets · " if len(datasets) == len(names) else f"{len(datasets)} data sets · "
        else:
            place = f"{', '.join(datasets)} · " if datasets else ""
        yield f"left out: {place}{where}: {reason}"


def missing_lines(plan: Plan) -> list[str]:
    """What cannot be had here with the number of cells that wait for it, and how to get it."""
    counts = Counter(line for lines in plan.unavailable.values() for line in lines)
    return [f"missing, for {n} cell{'s' if n > 1 else ''}: {line}" for line, n in counts.items()]


def _costs(cells: Iterable[Cell]) -> Iterator[str]:
    """What extraction from each backbone costs at most."""
    by_backbone: dict[BackboneConfig, list[Cell]] = {}
    for cell in cells:
        if not cell.description.is_control and cell.description.image_size:
            by_backbone.setdefault(cell.backbone, []).append(cell)
    for backbone, own in by_backbone.items():
        description = own[0].description
        flops, last = description.forward_flops, description.layout
        first = description.layout_of(description.layers[0])
        tokens = f"{last.n_tokens:,} tokens"
        if first != last:
            tokens = f"{first.n_tokens:,} tokens of width {first.width:,} to {last.n_tokens:,} of {last.width:,}"
        images = count_samples(own)
        yield (
            f"{written(backbone.source)}: {tokens} at {description.image_size} px, "
            f"{_human_flop(flops)} an image; {images:,} images: {_human_flop(flops * images)}, "
            f"{human_bytes(capture_bytes(own))} to store"
        )


def space_warning(cells: Iterable[Cell], store: Path) -> str | None:
    """What to say of activations that do not fit on the disk of the store's folder; None if they do."""
    folder = next(one for one in (store.absolute(), *store.absolute().parents) if os.path.exists(one))  # noqa: PTH110, a name may be too long
    size, free = capture_bytes(cells), shutil.disk_usage(folder).free
    if size <= free:
        return None
    return (
        f"warning: activations take at most {human_bytes(size)}, the disk of {folder} has {human_bytes(free)} left; "
        "name another place with --store, or read fewer samples, layers or modes"
    )


def _notes(cells: Iterable[Cell]) -> dict[str, None]:
    """What users should know of how their backbones read images."""
    by_backbone = {cell.backbone: cell for cell in cells}
    return {
        f"{written(backbone.source)}: {note}": None
        for backbone, cell in by_backbone.items()
        for note in cell.description.notes
    }


def _missing_data(cells: Iterable[Cell]) -> dict[str, Missing]:
    """Data sets that have to be got before the cells can be measured."""
    found = {name: scene.missing() for name, scene in _scenes(cells).items()}
    return {name: missing for name, missing in found.items() if missing is not None}


def _missing_weights(cells: Iterable[Cell]) -> Iterator[str]:
    """Files of weights that a study names and that are not there."""
    for backbone in dict.fromkeys(cell.backbone for cell in cells):
        if (path := backbone.weights_file) is not None and not path.is_file():
            yield f"{written(backbone.source)}: its weights file {path} is not there; put it there"


def _scenes(cells: Iterable[Cell]) -> dict[str, AnyDataset]:
    return {cell.dataset.name: cell.dataset.config for cell in cells}


def _summary(plan: Plan) -> str:
    counts = f"{len(plan.grid.cells)} cells: {len(plan.done)} done, {len(plan.to_do)} to do"
    if failed := len(set(plan.failed) & set(plan.to_do)):
        counts += f" ({failed} of them failed before)"
    if plan.held_back:
        counts += f", {len(plan.held_back)} held back"
    if plan.unavailable:
        counts += f", {len(plan.unavailable)} left missing"
    readers: dict[BackboneConfig, list[Cell]] = {}
    for cell in plan.to_do:
        if cell.backbone.kind not in ("control", "activations"):
            readers.setdefault(cell.backbone, []).append(cell)
    n_images = sum(map(count_samples, readers.values()))
    size = capture_bytes(plan.to_do)
    sized = {
        cell.dataset.name: [split_size(cell.dataset.config, split) for split in splits_of(cell)]
        for cell in plan.to_do
    }
    unknown = [name for name, sizes in sized.items() if None in sizes]
    lines = [counts, f"at most {n_images:,} images to extract and {human_bytes(size)} of activations to store"]
    if unknown:
        lines.append(f"not counting data sets whose size only their data tells: {', '.join(unknown)}")
    if plan.foreign:
        lines.append(f"{plan.foreign} rows of other settings are kept, but not part of this study")
    return "\n".join(lines)


def _values(cells: Iterable[Cell], dimension: Dimension) -> str:
    """Values of a dimension that occur."""
    return " ".join(dict.fromkeys(str(cell.column(dimension.name)) for cell in cells))


def human_bytes(size: float) -> str:
    """Bytes in a unit that reads well."""
    return _human(size, ("B", "kB", "MB", "GB", "TB"))


def _human_flop(operations: float) -> str:
    return _human(operations / 1e9, ("GFLOP", "TFLOP", "PFLOP", "EFLOP"))


def _human(number: float, units: tuple[str, ...]) -> str:
    for unit in units[:-1]:
        if number < 999.5:  # what rounds to 1000 is one of the next unit
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} {units[-1]}"
