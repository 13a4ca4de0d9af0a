"""Drawings on images: where the class appears block by block, and what is relevant for it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from frozen.data.scenes import Scene
from frozen.data.spec import open_split
from frozen.readout.exhibit import Exhibit
from readouts.class_embedding.exhibits._base import Row, chosen, pairs
from readouts.class_embedding.patches import MASK, known_labels

N_IMAGES = 5
_INCHES = 1.15


def image_exhibits(results: Path, rows: Sequence[Row], datasets: Mapping[str, Scene]) -> Iterator[Exhibit]:
    """Of each data set and backbone whose maps are kept."""
    for dataset, backbone, own in pairs(rows):
        if dataset not in datasets:
            continue
        trained = [row for row in own if not row.get("control")]
        strips = [
            row
            for row in chosen(trained, aspect="projection", token="image", part="residual")  # noqa: S106
            if file_of(results, row, "tokens").is_file()
        ]
        if strips:
            yield Exhibit(
                f"Where the class appears: {dataset}, {backbone}",
                "The first images, and for every block how identifiable the image's class is at each image token "
                "(white: chance or below, dark: first). Outlined tokens have the class first.",
                "Rows of images, each followed by maps of identifiability over its patches, block by block.",
                partial(draw_strips, results, strips, datasets[dataset]),
            )
        maps = [row for row in chosen(trained, aspect="keep_most_relevant") if row["token"] != "random"]  # noqa: S105
        if maps:
            yield Exhibit(
                f"What is relevant for the class: {dataset}, {backbone}",
                "The first images, and what orders their tokens in the deletion curves. The line is the outline of "
                "the pixels that show the class. Maps are scaled from their smallest to their largest value.",
                "Images with maps of relevancy over their patches and the outline of the true class.",
                partial(draw_maps, results, maps, datasets[dataset]),
            )


def file_of(results: Path, row: Row, folder: str) -> Path:
    """A file that was kept of a cell."""
    return results / folder / f"{row['cell_id']}.parquet"


def pictures(scene: Scene, name: str, n: int) -> tuple[np.ndarray, np.ndarray | None]:
    """The first images of a split and, where they are known, which of their pixels show the class."""
    split: Any = open_split(scene, name)
    indices = np.arange(min(n, len(split)))
    return split.images(indices), split.labels(MASK, indices) if MASK in known_labels(scene) else None


def read_maps(path: Path, n: int) -> np.ndarray:
    """Maps of the first images [images rows columns]."""
    values = np.array(pq.read_table(path)["map"].to_pylist()[:n], dtype=float)
    side = math.isqrt(values.shape[1])
    if side * side != values.shape[1]:
        raise ValueError(f"{values.shape[1]} tokens make no square grid")
    return values.reshape(len(values), side, side)


def picture_grid(n_rows: int, n_columns: int) -> tuple[Figure, Any]:
    """A figure of square panels without ticks."""
    figure = Figure(figsize=(n_columns * _INCHES + 0.2, n_rows * _INCHES + 0.35), dpi=150, layout="constrained")
    grid = figure.subplots(n_rows, n_columns, squeeze=False)
    for axes in grid.flat:
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set(color="#c8ced6", linewidth=0.8)
    return figure, grid


def draw_strips(results: Path, rows: Sequence[Row], scene: Scene) -> Figure:
    """An image a row, a block a column."""
    images, _ = pictures(scene, str(rows[0]["split"]), N_IMAGES)
    maps = [read_maps(file_of(results, row, "tokens"), len(images)) for row in rows]
    figure, grid = picture_grid(len(images), 1 + len(rows))
    for number, image in enumerate(images):
        grid[number, 0].imshow(image, interpolation="nearest")
        for column, (row, values) in enumerate(zip(rows, maps, strict=True), start=1):
            axes: Axes = grid[number, column]
            axes.imshow(values[number], vmin=0.5, vmax=1.0, cmap="BuPu", interpolation="nearest")
            for y, x in np.argwhere(values[number] >= 1.0):
                box = Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, edgecolor="#111111", linewidth=0.7)
                axes.add_patch(box)
            if number == 0:
                axes.set_title(str(row["layer"]), fontsize=9)
    grid[0, 0].set_title("image", fontsize=9)
    return figure


def draw_maps(results: Path, rows: Sequence[Row], scene: Scene) -> Figure:
    """An image a row, an order a column."""
    images, masks = pictures(scene, str(rows[0]["split"]), N_IMAGES)
    maps = [read_maps(file_of(results, row, "maps"), len(images)) for row in rows]
    figure, grid = picture_grid(len(images), 1 + len(rows))
    for number, image in enumerate(images):
        mask = None if masks is None else masks[number]
        for column in range(1 + len(rows)):
            axes: Axes = grid[number, column]
            draw_map(axes, image, maps[column - 1][number] if column else None, mask)
            if number == 0:
                name = str(rows[column - 1]["token"]).replace("_", " ") if column else "image"
                axes.set_title(name, fontsize=9)
    return figure


def draw_map(axes: Axes, image: np.ndarray, values: np.ndarray | None, mask: np.ndarray | None) -> None:
    """An image, over it a map from its smallest to its largest value, and the outline of the true mask."""
    extent = (0, image.shape[1], image.shape[0], 0)
    axes.imshow(image, extent=extent, interpolation="nearest")
    if values is not None:
        scaled = (values - values.min()) / max(float(np.ptp(values)), 1e-12)
        axes.imshow(scaled, extent=extent, cmap="RdPu", vmin=0, vmax=1, alpha=0.75, interpolation="nearest")
    if mask is not None:
        centres = [np.arange(side) + 0.5 for side in mask.shape]
        axes.contour(centres[1], centres[0], mask.astype(float), [0.5], colors="#111111", linewidths=0.9)
