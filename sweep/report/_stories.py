"""What the page tells of a single cell beside its numbers: learning curves, files, a few test samples."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from frozen.readout.exhibit import ShownSample
from frozen.readout.readout import Readout
from sweep.results.directory import ResultsDirectory

MOST_STORIES = 400
MOST_PICTURE_BYTES = 3_000_000
"""Of all pictures of a page together."""
MOST_POINTS = 60
"""Of a learning curve; longer ones are thinned out."""
_DIGITS = 4


@dataclass(frozen=True)
class Curve:
    """A number over the epochs of a training."""

    panel: str
    """What was trained."""
    line: str
    """Which of its trainings."""
    points: tuple[tuple[int, float], ...]
    """Epoch and value."""


@dataclass(frozen=True)
class Story:
    """A cell, beside its row."""

    axis: str = ""
    """What the curves show."""
    curves: tuple[Curve, ...] = ()
    files: tuple[tuple[str, int], ...] = ()
    """Path below the results, and bytes."""
    samples: tuple[ShownSample, ...] = ()
    note: str = ""
    """What could not be told."""


def stories(
    results: ResultsDirectory, rows: Sequence[Mapping[str, Any]], readout: Readout, datasets: Mapping[str, Any]
) -> dict[str, Story]:
    """The stories of some cells by id; of the first ones where there are many.

    Args:
        results: where the files of the cells lie.
        rows: result rows, of done and failed cells.
        readout: chooses test samples.
        datasets: the study's data sets by name.
    """
    return {str(row["cell_id"]): _story(results, row, readout, datasets) for row in rows[:MOST_STORIES]}


def story_data(told: Mapping[str, Story], cell_ids: Iterable[str]) -> dict[str, Any]:
    """The stories as plain JSON values, each picture once, as long as there is room for pictures."""
    pictures: dict[str, str] = {}
    unread: set[str] = set()
    room = MOST_PICTURE_BYTES
    cells = {}
    for cell in cell_ids:
        story = told.get(cell)
        if story is None:
            continue
        samples = []
        for one in story.samples:
            if one.key not in pictures and room > 0:
                try:
                    pictures[one.key] = _address(one.picture())
                    room -= len(pictures[one.key])
                except Exception:  # noqa: BLE001 - a picture that cannot be read is left out; its words are there
                    unread.add(one.key)
            samples.append([one.key, one.title, one.loss, one.right, one.missed, one.invented])
        curves = [[curve.panel, curve.line, curve.points] for curve in story.curves]
        cells[cell] = {
            "axis": story.axis,
            "curves": curves,
            "files": story.files,
            "samples": samples,
            "note": story.note,
        }
    return {"cells": cells, "pictures": pictures, "unread": len(unread)}


def _address(picture: bytes) -> str:
    kind = "png" if picture.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"


def _story(results: ResultsDirectory, row: Mapping[str, Any], readout: Readout, datasets: Mapping[str, Any]) -> Story:
    cell = str(row["cell_id"])
    files = tuple((path.relative_to(results.root).as_posix(), _size(path)) for path in results.files_of(cell))
    if row.get("status") != "done":
        return Story(files=files)
    try:
        table = results.curves(cell)
        axis, curves = ("", ()) if table is None else _curves(table)
        samples = tuple(readout.shown_samples(results.root, row, datasets))
    except Exception as error:  # noqa: BLE001 - a report without one story is better than none
        return Story(files=files, note=f"not all can be told: {type(error).__name__}: {error}")
    return Story(axis, curves, files, samples)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _curves(table: pa.Table) -> tuple[str, tuple[Curve, ...]]:
    """A panel for each value of the first column that is no number of an epoch, a line for the others."""
    names = [name for name in table.column_names if name != "epoch"]
    shown = [name for name in names if pa.types.is_floating(table.schema.field(name).type)]
    if "epoch" not in table.column_names or not shown:
        return "", ()
    keys, axis = [name for name in names if name not in shown], shown[-1]
    points: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for point in table.select([*keys, "epoch", axis]).to_pylist():
        panel = str(point[keys[0]]) if keys else ""
        line = " ".join(f"{name} {point[name]}" for name in keys[1:])
        if point[axis] is not None and math.isfinite(point[axis]):
            points.setdefault((panel, line), []).append((point["epoch"], float(f"{point[axis]:.{_DIGITS}g}")))
    return axis, tuple(Curve(panel, line, _thinned(found)) for (panel, line), found in points.items())


def _thinned(points: list[tuple[int, float]]) -> tuple[tuple[int, float], ...]:
    step = max(1, math.ceil(len(points) / MOST_POINTS))
    kept = points[::step]
    return tuple(kept if kept[-1] == points[-1] else [*kept, points[-1]])
