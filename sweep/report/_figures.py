"""The figures of a report: drawn, named and written."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from sweep.readout import Measure
from sweep.report._curves import layer_curves, probe_styles
from sweep.report._heatmap import heatmap
from sweep.report._rows import Row, distinct

PIXELS_AN_INCH = 100
PATTERNS = ("layer_curves_*.png", "heatmap_*.png")


@dataclass(frozen=True)
class Picture:
    """A drawn figure: its file name without the ending, what it shows, and the PNG with its width in CSS pixels."""

    name: str
    caption: str
    png: bytes
    width: int


def layer_curve_pictures(rows: Sequence[Row], measures: tuple[Measure, ...]) -> list[Picture]:
    """Draw each measure over depth, a picture a data set; data sets without an estimate are left out.

    Args:
        rows: prepared rows.
        measures: what to draw.
    """
    styles = probe_styles(rows)

    def draw(of_dataset: Sequence[Row], measure: Measure, dataset: str) -> Figure:
        return layer_curves(of_dataset, measure, styles, dataset)

    return list(_pictures(rows, measures, "layer_curves", "by layer", draw))


def heatmap_pictures(rows: Sequence[Row], measures: tuple[Measure, ...]) -> list[Picture]:
    """Draw each measure over backbones and layers, a picture a data set, as `layer_curve_pictures` does."""
    return list(_pictures(rows, measures, "heatmap", "by backbone and layer", heatmap))


def write_pictures(pictures: list[Picture], folder: Path) -> None:
    """Write each picture whole or not at all, and remove those of an earlier report that are no longer drawn."""
    folder.mkdir(parents=True, exist_ok=True)
    for picture in pictures:
        write_whole(folder / f"{picture.name}.png", picture.png)
    current = {f"{picture.name}.png" for picture in pictures}
    for pattern in PATTERNS:
        for path in folder.glob(pattern):
            if path.name not in current:
                path.unlink()


def write_whole(path: Path, content: bytes) -> None:
    """Put a file in place in one step, so that a reader sees the old one or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(content)
    temporary.replace(path)


def _pictures(
    rows: Sequence[Row],
    measures: tuple[Measure, ...],
    kind: str,
    what: str,
    draw: Callable[[Sequence[Row], Measure, str], Figure],
) -> Iterator[Picture]:
    suffixes = _suffixes(distinct(row.dataset for row in rows))
    for measure in measures:
        for dataset, suffix in suffixes.items():
            of_dataset = [row for row in rows if row.dataset == dataset]
            if any(row.estimates[measure.column].is_defined for row in of_dataset if not row.is_control):
                figure = draw(of_dataset, measure, dataset)
                yield Picture(
                    f"{kind}_{measure.column}{suffix}",
                    f"{measure.label} {what}, {dataset}",
                    _png(figure),
                    round(PIXELS_AN_INCH * figure.get_figwidth()),
                )


def _suffixes(datasets: list[str]) -> dict[str, str]:
    """The part of a file name that tells data sets apart; none is needed for a single one."""
    if len(datasets) == 1:
        return {datasets[0]: ""}
    suffixes: dict[str, str] = {}
    for dataset in datasets:
        stem = "_" + re.sub(r"[^A-Za-z0-9.=+-]+", "_", dataset).strip("_")
        suffix, number = stem, 2
        while suffix.lower() in {taken.lower() for taken in suffixes.values()}:
            suffix, number = f"{stem}_{number}", number + 1
        suffixes[dataset] = suffix
    return suffixes


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
