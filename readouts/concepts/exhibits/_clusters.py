"""Clusters of images in the space of codes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from matplotlib.figure import Figure

from frozen.readout.exhibit import Exhibit
from readouts.concepts.exhibits._base import Row, StudyResults, about, bars, picture

_MOST_FIGURES = 2
_CLUSTERS, _IMAGES = 4, 6


def cluster_pictures(source: StudyResults) -> Iterator[Exhibit]:
    """The largest clusters with the atoms that set them apart (paper: meta clusters)."""
    for row in list(source.firsts("codes"))[:_MOST_FIGURES]:
        if row["dataset"] in source.scenes and (table := source.table(row, "clusters")):
            yield Exhibit(
                f"Clusters of images: {row['dataset']}, {about(row)}",
                f"The {_CLUSTERS} largest of {len(table)} clusters of test images (k-means of their codes): "
                "images drawn from each, and the atoms that exceed their mean over all images most.",
                "Rows of images, each with bars of atoms.",
                partial(draw, source, row, table[:_CLUSTERS]),
            )


def draw(source: StudyResults, row: Row, table: list[dict[str, Any]]) -> Figure:
    """A line a cluster."""
    names, lines = source.names(row), len(table)
    figure = Figure(figsize=(7.6, 1.15 * lines), dpi=200)
    for line, one in enumerate(table):
        bottom = 1 - (line + 0.9) / lines
        images = source.images(row["dataset"], one["images"][:_IMAGES])
        for i, image in enumerate(images):
            picture(figure.add_axes((0.005 + 0.098 * i, bottom + 0.02 / lines, 0.092, 0.62 / lines)), image)
        figure.text(0.005, bottom + 0.7 / lines, f"{one['size']} images", fontsize=7.5, color="#3d4650")
        axes = figure.add_axes((0.78, bottom + 0.06 / lines, 0.21, 0.7 / lines))
        bars(axes, [source.word(names, atom) for atom in one["atoms"][:4]], one["excess"][:4])
    return figure
