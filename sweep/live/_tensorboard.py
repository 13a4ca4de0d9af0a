"""TensorBoard event files: a folder a cell, with its learning curves and its measures."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from binding.terminal import printable
from sweep.live._logs import Finished

_UNSAFE = re.compile(r"[^\w.=,+\[\]-]+")
_LONGEST_NAME = 200  # bytes; file systems take 255
_LOSSES = ("train_bits", "validation_bits")


class TensorBoardLog:
    """Writes one event file a cell below a folder, `DATASET/BACKBONE/LAYER MODE PROBE ID`.

    Tags are `TARGET/train_bits_seed_0` and so on over epochs, and `measures/NAME` at the layer's depth.
    """

    def __init__(self, root: Path, measures: Sequence[str]) -> None:
        self._root = root
        self._measures = measures

    def begin(self) -> None:
        """Make the folder, so that TensorBoard can be pointed at it."""
        self._root.mkdir(parents=True, exist_ok=True)

    def cell(self, finished: Finished) -> None:
        from tensorboardX import SummaryWriter

        folder = self.folder(finished)
        shutil.rmtree(folder, ignore_errors=True)
        with SummaryWriter(str(folder), max_queue=100_000) as writer:
            writer.add_text("cell", finished.name)
            if finished.row["status"] == "failed":
                writer.add_text("error", f"```\n{printable(finished.row['error'])}\n```")
            for tag, value, step in [*_curves(finished), *self._measured(finished)]:
                writer.add_scalar(tag, value, step)

    def folder(self, finished: Finished) -> Path:
        """Where a cell's event file lies."""
        row = finished.row
        last = "-".join(str(row[name]) for name in ("layer", "mode", "probe"))
        parts = (str(row["dataset"]), str(row["backbone"]), f"{last}-{str(row['cell_id'])[:8]}")
        return self._root.joinpath(*map(_folder_name, parts))

    def _measured(self, finished: Finished) -> Iterator[tuple[str, Any, Any]]:
        for name in self._measures:
            if finished.row.get(name) is not None:
                yield f"measures/{name}", finished.row[name], finished.row["layer_index"]


def _folder_name(text: str) -> str:
    """A name that any file system takes; one that is long or only dots keeps its end and a hash."""
    name = _UNSAFE.sub("_", text)
    if len(name.encode()) <= _LONGEST_NAME and name.strip("."):
        return name
    return f"{hashlib.sha256(text.encode(errors='replace')).hexdigest()[:8]}{name[-50:].lstrip('.')}"


def _curves(finished: Finished) -> Iterator[tuple[str, float, int]]:
    for point in [] if finished.curves is None else finished.curves.to_pylist():
        for loss in _LOSSES:
            yield f"{point['target']}/{loss}_seed_{point['seed']}", point[loss], point["epoch"]
