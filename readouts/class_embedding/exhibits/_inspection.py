"""Single memories: the classes they favour, and the images that drive them most."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from frozen.data.scenes import Scene
from frozen.data.spec import open_split
from frozen.readout.exhibit import Exhibit
from readouts.class_embedding.exhibits._base import Row, chosen, pairs
from readouts.class_embedding.exhibits._images import file_of, picture_grid


def inspection_exhibits(results: Path, rows: Sequence[Row], datasets: Mapping[str, Scene]) -> Iterator[Exhibit]:
    """Of each data set and backbone with memories to look at."""
    for dataset, backbone, own in pairs(rows):
        found = chosen([row for row in own if not row.get("control")], aspect="memory")
        if found and dataset in datasets:
            yield Exhibit(
                f"Single memories: {dataset}, {backbone}",
                "For each memory, the classes that its value vector favours most, the most first, and the images in "
                "which its coefficient is largest. The frame is around the token; an image without one has its "
                "largest coefficient at CLS.",
                "A row a memory: names of classes, then five images.",
                partial(draw_memory_rows, results, found, datasets[dataset]),
            )


def draw_memory_rows(results: Path, rows: Sequence[Row], scene: Scene) -> Figure:
    """A memory a row: names of classes, then images."""
    split: Any = open_split(scene, str(rows[0]["split"]))
    names = getattr(split, "class_names", None)
    figure, grid = picture_grid(len(rows), 7)
    for axes in grid[:, :2].flat:
        axes.set_axis_off()
    for line, row in zip(grid, rows, strict=True):
        listed = pq.read_table(file_of(results, row, "memory")).to_pydict()
        favoured = [int(number) for number in str(row["favoured"]).split(", ")]
        texts = [str(names[number]) if names is not None else f"class {number}" for number in favoured]
        title = f"{row['layer']}.{str(row['token']).removeprefix('memory ')}"
        line[0].text(0, 0.97, title, fontsize=8.5, fontweight="bold", va="top", transform=line[0].transAxes)
        line[0].text(0, 0.8, "\n".join(texts), fontsize=7.5, va="top", transform=line[0].transAxes)
        images = split.images(np.array(listed["image"]))
        grid_of_model = listed["grid_rows"][0], listed["grid_columns"][0]
        for axes, image, patch, label in zip(line[2:], images, listed["patch"], listed["class"], strict=False):
            axes.imshow(image, interpolation="nearest")
            axes.set_xlabel(str(names[label]) if names is not None else f"class {label}", fontsize=7)
            if patch >= 0:
                axes.add_patch(_frame(image.shape[:2], grid_of_model, patch))
    return figure


def _frame(size: tuple[int, int], grid: tuple[int, int], patch: int) -> Rectangle:
    """Around a patch of an image."""
    height, width = (side / cells for side, cells in zip(size, grid, strict=True))
    row, column = divmod(patch, grid[1])
    corner = (column * width - 0.5, row * height - 0.5)
    return Rectangle(corner, width, height, fill=False, edgecolor="#D55E00", linewidth=1.4)
