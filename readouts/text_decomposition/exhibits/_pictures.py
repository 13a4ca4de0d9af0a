"""Pictures: maps of texts over images, and the nearest images by single heads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from frozen.data.spec import open_split
from frozen.readout.exhibit import Exhibit
from readouts.text_decomposition.exhibits._base import Row, of
from readouts.text_decomposition.heatmaps import named_objects
from readouts.text_decomposition.lens import unpack

_OF_SCENES = (
    "the text of the first object of the scene's caption, less that of the last one, the other way round, less the "
    "mean of the texts of all objects, and along the scene's caption less that of its twin."
)
_OF_PHOTOS = (
    "the text of the class that the model names, which stands beside the image, and less the mean of all classes."
)
_INCHES = 1.25
_MOST_FIGURES = 6
_MOST_HEADS = 6
_MOST_MAPS = 6
_MOST_NEIGHBOURS = 6


def _is_there(dataset: Any) -> bool:
    """Whether its images can be drawn."""
    return dataset is not None and dataset.missing() is None


def maps(results: Path, rows: Sequence[Row], scenes: Mapping[str, Any]) -> Iterator[Exhibit]:
    """Maps of each data set and backbone."""
    groups: dict[tuple[str, str, bool], dict[str, Path]] = {}
    for row in of(rows, "heatmap"):
        path = results / "maps" / f"{row['cell_id']}.npz"
        if path.is_file() and _is_there(scenes.get(str(row["dataset"]))):
            name, is_head = str(row["term"]), str(row["term"]).startswith("head ")
            label = f"{row['layer']}.{name[5:].replace(': ', chr(10))}" if is_head else name
            groups.setdefault((str(row["dataset"]), str(row["backbone"]), is_head), {})[label] = path
    for (dataset, backbone, is_head), every in list(groups.items())[:_MOST_FIGURES]:
        paths = dict(list(every.items())[:_MOST_MAPS])
        along = _OF_SCENES if hasattr(scenes[dataset], "space") else _OF_PHOTOS
        yield Exhibit(
            f"Maps of {'single heads' if is_head else 'texts'}: {dataset}, {backbone}",
            f"What {'single heads (layer.head)' if is_head else 'all heads'} read from each patch, along {along} Red "
            "adds to the score, blue takes from it; each has its own scale.",
            f"Test images of {dataset}, and beside each its maps.",
            partial(draw_maps, paths, scenes[dataset]),
        )


def draw_maps(paths: Mapping[str, Path], dataset: Any) -> Figure:
    """A row for each image, a column for each map."""
    found = {name: unpack(path.read_bytes()) for name, path in paths.items()}
    first = next(iter(found.values()))
    numbers, split = first["images"], _split(dataset, first)
    images = split.images(numbers)
    if "named" in first:
        names = first["named"].tolist()
    else:
        own = named_objects(split.object_codes[numbers])
        names = [_phrase(split, kind) for kind in own.own.tolist()]
    figure = Figure(figsize=(_INCHES * 1.15 * (len(found) + 1), _INCHES * len(numbers) + 0.35), layout="constrained")
    axes = figure.subplots(len(numbers), len(found) + 1, squeeze=False)
    for row, image in enumerate(images):
        _picture(axes[row, 0], image, names[row] if row else f"image\n{names[row]}")
        for column, (name, one) in enumerate(found.items(), start=1):
            axis = axes[row, column]
            _picture(axis, image, name if row == 0 else "")
            values = one["maps"][row]
            most = float(np.abs(values).max()) or 1.0
            height, width = image.shape[:2]
            axis.imshow(
                values, cmap="RdBu_r", vmin=-most, vmax=most, alpha=0.72, extent=(0, width, height, 0), zorder=2
            )
    return figure


def _split(dataset: Any, kept: Mapping[str, np.ndarray]) -> Any:
    """The split that was measured."""
    return open_split(dataset, str(kept["split"]) if "split" in kept else "test")


def _phrase(split: Any, kind: int) -> str:
    return f"a {split.space.object_names[kind]}" if kind >= 0 else ""


def _picture(axis: Any, image: np.ndarray, title: str) -> None:
    height, width = image.shape[:2]
    axis.imshow(image, extent=(0, width, height, 0))
    axis.set_xticks([])
    axis.set_yticks([])
    axis.set_title(title, fontsize=7, pad=3)


def cosines(results: Path, rows: Sequence[Row]) -> Iterator[Exhibit]:
    """How alike the outputs of heads are, a matrix for each data set and backbone."""
    found = {
        f"{row['dataset']}\n{str(row['backbone']).partition(':')[2]}": path
        for row in of(rows, "decomposition")
        if (path := results / "cosines" / f"{row['cell_id']}.npz").is_file()
    }
    if found:
        yield Exhibit(
            "How alike heads are",
            "Mean absolute cosine of the outputs of two heads, less their means, for all pairs of heads in the order "
            "of layers (lines part these); the diagonal is left out.",
            "Matrices of heads against heads.",
            partial(draw_cosines, dict(list(found.items())[:_MOST_FIGURES]), list(of(rows, "heads"))),
        )


def draw_cosines(paths: Mapping[str, Path], heads: Sequence[Row]) -> Figure:
    """A matrix for each path."""
    n_heads = 1 + max((int(str(row["term"])[5:]) for row in heads if str(row["term"])[:5] == "head "), default=0)
    columns = min(3, len(paths))
    rows = -(-len(paths) // columns)
    figure = Figure(figsize=(2.6 * columns + 0.6, 2.75 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    drawn = None
    for axis, (name, path) in zip(axes.flat, paths.items(), strict=False):
        values = unpack(path.read_bytes())["cosines"].copy()
        np.fill_diagonal(values, np.nan)
        drawn = axis.imshow(values, cmap="viridis", vmin=0, vmax=1)
        axis.set_title(name, fontsize=8)
        ticks = np.arange(0, len(values), n_heads)
        if n_heads > 1:
            layers = ["final"] if len(ticks) == 1 else [str(number) for number in range(len(ticks))]
            axis.set_xticks(ticks + n_heads / 2 - 0.5, layers, fontsize=7)
            axis.set_yticks(ticks + n_heads / 2 - 0.5, layers, fontsize=7)
            for tick in ticks[1:]:
                axis.axhline(tick - 0.5, color="white", lw=0.5)
                axis.axvline(tick - 0.5, color="white", lw=0.5)
        axis.set_xlabel("layer", fontsize=7)
    for axis in axes.flat[len(paths) :]:
        axis.axis("off")
    if drawn is not None:
        bar = figure.colorbar(drawn, ax=axes, shrink=0.6)
        bar.set_label("mean |cos|", fontsize=7)
        bar.ax.tick_params(labelsize=7)
    return figure


def neighbours(results: Path, rows: Sequence[Row], scenes: Mapping[str, Any]) -> Iterator[Exhibit]:
    """Nearest images by the heads that are most about one feature."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in of(rows, "neighbours"):
        path = results / "neighbours" / f"{row['cell_id']}.npz"
        if path.is_file() and _is_there(scenes.get(str(row["dataset"]))):
            groups.setdefault((str(row["dataset"]), str(row["backbone"])), []).append(row)
    for (dataset, backbone), own in list(groups.items())[:_MOST_FIGURES]:
        own.sort(key=lambda row: -float(row["retrieved_percent"]) / max(float(row["chance_percent"]), 1e-9))
        yield Exhibit(
            f"Neighbours by head: {dataset}, {backbone}",
            f"One test image at the left, and its nearest ones by the output of single heads: the {_MOST_HEADS} "
            "heads whose neighbours are most often alike in one feature, which is named.",
            f"Rows of test images of {dataset}, a row for each head.",
            partial(draw_neighbours, results, own[:_MOST_HEADS], scenes[dataset]),
        )


def draw_neighbours(results: Path, rows: Sequence[Row], dataset: Any) -> Figure:
    """A row for each head: the query, then its neighbours."""
    every = [unpack((results / "neighbours" / f"{row['cell_id']}.npz").read_bytes()) for row in rows]
    split = _split(dataset, every[0])
    figure = Figure(
        figsize=(_INCHES * 0.8 * (_MOST_NEIGHBOURS + 2), _INCHES * len(rows) * 0.85), layout="constrained"
    )
    axes = figure.subplots(len(rows), _MOST_NEIGHBOURS + 1, squeeze=False)
    for number, row in enumerate(rows):
        nearest = every[number]["nearest"]
        query = number % len(nearest)
        shown = np.concatenate([[query], nearest[query, :_MOST_NEIGHBOURS]])
        images = split.images(shown)
        for column, image in enumerate(images):
            _picture(axes[number, column], image, "query" if number == 0 and column == 0 else "")
        for column in range(len(images), _MOST_NEIGHBOURS + 1):
            axes[number, column].axis("off")
        label = f"{row['layer']}.{str(row['term'])[5:]} {row['factor']}\n{row['retrieved_percent']:.0f}% alike"
        axes[number, 0].set_ylabel(label, fontsize=7, rotation=0, ha="right", va="center", labelpad=6)
    return figure
