"""What a run has to do: the cells of the study minus those its results already hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from binding.backbones import BackboneConfig
from binding.scenes import SPLITS, Missing, SampledScene, Scene, SplitName
from binding.terminal import on_one_line
from sweep.cells import Cell, Grid
from sweep.extract import activation_bytes, count_samples
from sweep.results import Row
from sweep.spread import spread

_MOST_NAMES = 3
_LITTLE_BITS = 0.1


@dataclass(frozen=True)
class Plan:
    """Cells by what has to be done with them.

    Attributes:
        grid: every possible cell of the study.
        done: cells with a sound row.
        failed: cells whose row says that they failed; they are tried again.
        missing: cells without a row.
        held_back: missing cells that this run leaves for later, because of a limit on their number.
        unavailable: cells that are left missing because their data or backbone cannot be had, with what and how to
            get it.
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
        max_cells: most cells to measure, chosen to have few of everything; failed ones come last.
        unavailable: finds cells to leave missing; None leaves none.
    """
    status = {cell: rows[cell.cell_id]["status"] if cell.cell_id in rows else "missing" for cell in grid.cells}
    done, failed, missing = (
        tuple(cell for cell in grid.cells if status[cell] == name) for name in ("done", "failed", "missing")
    )
    absent = unavailable((*missing, *failed)) if unavailable else {}
    held_back: tuple[Cell, ...] = ()
    if max_cells is not None:
        first = spread([cell for cell in missing if cell not in absent], max_cells, done)
        again = spread([cell for cell in failed if cell not in absent], max_cells - len(first), [*done, *first])
        taken = {*first, *again, *absent}
        held_back = tuple(cell for cell in (*missing, *failed) if cell not in taken)
    foreign = len(set(rows) - {cell.cell_id for cell in grid.cells})
    return Plan(grid, done, failed, missing, held_back, foreign, absent)


def print_plan(plan: Plan, console: Console) -> None:
    """Show what there is to do and what it needs."""
    table = Table("data set", "backbone", "layers", "cells", "to do", box=SIMPLE, pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"
    to_do = set(plan.to_do)
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in plan.grid.cells:
        groups.setdefault((cell.dataset.name, cell.backbone.source), []).append(cell)
    for (dataset, backbone), cells in groups.items():
        layers = _distinct(cell.layer for cell in cells)
        names = (Text(on_one_line(name)) for name in (dataset, backbone, layers))
        table.add_row(*names, str(len(cells)), str(sum(cell in to_do for cell in cells)))
    console.print(table)
    modes = _distinct(cell.mode for cell in plan.grid.cells)
    probes = _distinct(cell.probe.family for cell in plan.grid.cells)
    console.print(f"modes: {modes}; probes: {probes}", soft_wrap=True, highlight=False)
    for line in _costs(plan.to_do):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    for line in (*_left_out(plan.grid), *_little_to_bind(plan.to_do)):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    for name, missing in _missing_data(plan.to_do).items():
        console.print(f"missing: {name}: {missing}", soft_wrap=True, highlight=False, markup=False)
    for line in missing_lines(plan):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    console.print(_summary(plan), soft_wrap=True, highlight=False)


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
        flops, tokens = description.forward_flops, description.layout.n_tokens
        images = sum(count_samples(scene) for scene in {cell.dataset.config: None for cell in own})
        yield (
            f"{backbone.source}: {tokens:,} tokens at {description.image_size} px, {_human_flop(flops)} an image; "
            f"{images:,} images: {_human_flop(flops * images)}, {human_bytes(activation_bytes(own))} to store"
        )


def _little_to_bind(cells: Iterable[Cell]) -> Iterator[str]:
    """Splits in which features nearly tell the objects, where a data set knows it without its data."""
    for name, scene in _scenes(cells).items():
        for split in SPLITS:
            bits = _conditional_entropy(scene, split)
            if bits is not None and bits < _LITTLE_BITS:
                yield (
                    f"warning: {name}: H(O|F) of the split {split} is {bits:.3g} bits: features tell objects, "
                    "and ratios are empty or meaningless; use `split: {policy: independent}`, or more feature values"
                )


def _conditional_entropy(scene: Scene, split: SplitName) -> float | None:
    if not isinstance(scene, SampledScene):
        return None
    try:
        return scene.conditional_entropy_bits(split)
    except ValueError:  # nothing to draw: said when the split is opened
        return None


def _missing_data(cells: Iterable[Cell]) -> dict[str, Missing]:
    """Data sets that have to be got before the cells can be measured."""
    found = {name: scene.missing() for name, scene in _scenes(cells).items()}
    return {name: missing for name, missing in found.items() if missing is not None}


def _scenes(cells: Iterable[Cell]) -> dict[str, Scene]:
    return {cell.dataset.name: cell.dataset.config for cell in cells}


def _summary(plan: Plan) -> str:
    counts = f"{len(plan.grid.cells)} cells: {len(plan.done)} done, {len(plan.to_do)} to do"
    if failed := len(set(plan.failed) & set(plan.to_do)):
        counts += f" ({failed} of them failed before)"
    if plan.held_back:
        counts += f", {len(plan.held_back)} held back"
    if plan.unavailable:
        counts += f", {len(plan.unavailable)} left missing"
    images = {
        (cell.dataset, cell.backbone): cell
        for cell in plan.to_do
        if cell.backbone.kind not in ("control", "activations")
    }
    n_images = sum(count_samples(cell.dataset.config) for cell in images.values())
    size = activation_bytes(plan.to_do)
    unknown = [name for name, scene in _scenes(plan.to_do).items() if None in map(scene.size, SPLITS)]
    lines = [counts, f"at most {n_images:,} images to extract and {human_bytes(size)} of activations to store"]
    if unknown:
        lines.append(f"not counting data sets whose size only their data tells: {', '.join(unknown)}")
    if plan.foreign:
        lines.append(f"{plan.foreign} rows of other settings are kept, but not part of this study")
    return "\n".join(lines)


def _distinct(values: Iterable[str]) -> str:
    return " ".join(dict.fromkeys(values))


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
