"""What single blocks and heads find relevant for the class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from frozen.data.scenes import Scene
from frozen.readout.exhibit import Exhibit
from readouts.class_embedding.exhibits._base import Row, chosen, is_there, pairs
from readouts.class_embedding.exhibits._images import draw_map, file_of, picture_grid, pictures, read_maps

N_IMAGES = 3


def head_exhibits(results: Path, rows: Sequence[Row], datasets: Mapping[str, Scene]) -> Iterator[Exhibit]:
    """Of each data set and backbone whose relevancy is kept by head."""
    for dataset, backbone, own in pairs(rows):
        found = chosen([row for row in own if not row.get("control")], aspect="relevancy")
        if not found:
            continue
        yield Exhibit(
            f"Relevancy by head: {dataset}, {backbone}",
            "Left: the part of the relevancy of all heads that is each one's, by absolute values. Right: images "
            "whose most relevant token by the head alone shows the class. The column `all` is the sum over a block's "
            "heads.",
            "Two tables of blocks by heads, coloured by value.",
            partial(draw_heads, found),
        )
        if dataset in datasets:
            yield Exhibit(
                f"What each block finds relevant: {dataset}, {backbone}",
                "The first images, and the relevancy of their tokens by block, summed over its heads. The line is "
                "the outline of the pixels that show the class. Maps are scaled from their smallest to their largest "
                "value.",
                "Rows of images, each followed by maps of relevancy over its patches, block by block.",
                partial(draw_blocks, results, chosen(found, token="all"), datasets[dataset]),  # noqa: S106
            )


def draw_heads(rows: Sequence[Row]) -> Figure:
    """A table of blocks by heads for each measure that is there."""
    names = {"relevancy_percent": "part of all relevancy, %", "pointing_percent": "first token shows the class, %"}
    measures = [name for name in names if any(is_there(row, name) for row in rows)]
    blocks = list(dict.fromkeys(str(row["layer"]).partition(".")[0] for row in rows))
    heads = sorted({str(row["token"]) for row in rows}, key=lambda name: (len(name), name))
    size = (0.5 * len(heads) + 1.2) * len(measures), 0.36 * len(blocks) + 1.0
    figure = Figure(figsize=size, dpi=150, layout="constrained")
    for axes, measure in zip(figure.subplots(1, len(measures), squeeze=False)[0], measures, strict=True):
        values = np.full((len(blocks), len(heads)), np.nan)
        for row in rows:
            place = blocks.index(str(row["layer"]).partition(".")[0]), heads.index(str(row["token"]))
            values[place] = float(row[measure])
        axes.imshow(values, cmap="Blues", vmin=0, aspect="auto")
        for (y, x), value in np.ndenumerate(values):
            colour = "white" if value > 0.6 * np.nanmax(values) else "#222222"
            axes.text(x, y, f"{value:.0f}", ha="center", va="center", fontsize=7.5, color=colour)
        axes.set_xticks(range(len(heads)), [name.removeprefix("head ") for name in heads], fontsize=8)
        axes.set_yticks(range(len(blocks)), blocks, fontsize=8)
        axes.set_xlabel("head", fontsize=9)
        axes.set_ylabel("block", fontsize=9)
        axes.set_title(names[measure], fontsize=9)
    return figure


def draw_blocks(results: Path, rows: Sequence[Row], scene: Scene) -> Figure:
    """An image a row, a block a column."""
    images, masks = pictures(scene, str(rows[0]["split"]), N_IMAGES)
    maps = [read_maps(file_of(results, row, "maps"), len(images)) for row in rows]
    figure, grid = picture_grid(len(images), 1 + len(rows))
    for number, image in enumerate(images):
        for column in range(1 + len(rows)):
            axes = grid[number, column]
            mask = None if masks is None else masks[number]
            draw_map(axes, image, maps[column - 1][number] if column else None, mask)
            if number == 0:
                name = str(rows[column - 1]["layer"]).partition(".")[0] if column else "image"
                axes.set_title(name, fontsize=9)
    return figure
