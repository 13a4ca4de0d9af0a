"""Where the attention probes look: the weights of every present object's head over the patches of an image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from binding.apply import activations, folder_in, open_backbone
from binding.probe_file import ProbeFile, ProbeFileError
from binding.probes import AttentionQuadratic
from frozen.data.scenes import Scene
from frozen.readout.exhibit import Exhibit

N_IMAGES, MOST_OBJECTS = 3, 6
MOST_DRAWN = 6
"""Pairs of data set and backbone that are drawn; each loads a backbone."""
_FLAT = 10
"""Times equal weights; attention that peaks below is not drawn as if it chose a patch."""
_CELL_INCHES, _TEXT_INCHES = 1.35, 0.34


class Looks(NamedTuple):
    """Images and what the heads of a probe attend to in them."""

    images: UInt8[np.ndarray, "images height width 3"]
    present: Bool[np.ndarray, "images objects"]
    weights: Float32[np.ndarray, "images objects rows columns"]
    """Of the spatial tokens; the mean over the kept seeds."""


def attention_maps(
    results: Path, rows: Sequence[Mapping[str, Any]], scenes: Mapping[str, Scene]
) -> Iterator[Exhibit]:
    """One figure for each data set and backbone with kept attention probes."""
    best = best_cells(results, rows, scenes)
    left_out = f" {MOST_DRAWN} of {len(best)} pairs of data set and backbone are drawn." if best[MOST_DRAWN:] else ""
    for row in best[:MOST_DRAWN]:
        where = f"{row['backbone']}, layer {row['layer']}"
        yield Exhibit(
            f"Attention of the objects probe: {row['dataset']}, {where}",
            f"The first test images with objects, and for the first {MOST_OBJECTS} present objects of each the "
            "attention of that object's head: the softmax, over the spatial tokens, of the head's query, which is "
            "shown the true bits of the objects before it (teacher forcing), as in training; the mean over the kept "
            "seeds. The percentage is the weight of the largest patch, which is drawn darkest; maps that stay below "
            f"{_FLAT} times equal weights are drawn pale. Attention says where a head looks, not what it reads "
            f"there. Cell {str(row['cell_id'])[:8]}, the one with the largest β_O, "
            f"{row['object_information_ratio']:.2f}.{left_out}",
            f"Test images of {row['dataset']}; beside each, maps of attention over patches, one for each object.",
            partial(draw_attention, _file(results, row), scenes[str(row["dataset"])]),
        )


def best_cells(
    results: Path, rows: Sequence[Mapping[str, Any]], scenes: Mapping[str, Scene]
) -> list[Mapping[str, Any]]:
    """Of each data set and backbone, the attention cell with kept probes and the largest β_O."""
    best: dict[tuple[str, str], Mapping[str, Any]] = {}
    for row in rows:
        is_done = row.get("status") == "done" and not row.get("is_control")
        if not is_done or row["probe"] != AttentionQuadratic.family or row["dataset"] not in scenes:
            continue
        key = str(row["dataset"]), str(row["backbone"])
        other = best.get(key)
        is_better = other is None or row["object_information_ratio"] > other["object_information_ratio"]
        if is_better and _file(results, row).is_file():
            best[key] = row
    return list(best.values())


def draw_attention(path: Path, scene: Scene) -> Figure:
    """Draw images in the first column, the attention of their objects' heads in the others.

    Raises:
        ProbeFileError: probes that cannot be read, were left untrained, or other weights than theirs.
        BackboneError: weights that cannot be had.
        DataError: images that cannot be read.
    """
    looks = _looks(path, scene)
    counts = looks.present.sum(axis=1)
    n_rows, n_columns = len(looks.images), 1 + min(MOST_OBJECTS, int(counts.max(initial=0)))
    height, width = _CELL_INCHES + _TEXT_INCHES, _CELL_INCHES + 0.08
    figure = Figure(figsize=(n_columns * width, n_rows * height), dpi=200)
    for row, image in enumerate(looks.images):
        objects = np.flatnonzero(looks.present[row])
        for column in range(min(n_columns, 1 + len(objects))):
            bottom = 1 - (row + _CELL_INCHES / height) / n_rows
            share = (_CELL_INCHES / width / n_columns, _CELL_INCHES / height / n_rows)
            axes = figure.add_axes((column / n_columns, bottom, *share))
            if column == 0:
                more = len(objects) - MOST_OBJECTS
                _show(axes, image, None, f"test image\n{len(objects)} objects" if more > 0 else "test image")
            else:
                head = objects[column - 1]
                weights = looks.weights[row, head]
                _show(axes, image, weights, f"{scene.space.object_names[head]}\n{weights.max():.0%}")
    return figure


def _show(
    axes: Axes,
    image: UInt8[np.ndarray, "height width 3"],
    weights: Float32[np.ndarray, "rows columns"] | None,
    text: str,
) -> None:
    extent = (0.0, 1.0, 0.0, 1.0)
    axes.imshow(image, extent=extent, interpolation="nearest")
    if weights is not None:
        darkest = max(float(weights.max()), _FLAT / weights.size)
        heat = {"cmap": "RdPu", "vmin": 0, "vmax": darkest, "alpha": 0.72}
        axes.imshow(weights, extent=extent, interpolation="nearest", **heat)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(color="#c8ced6", linewidth=0.8)
    below = {"transform": axes.transAxes, "verticalalignment": "top", "parse_math": False}
    axes.text(0, -0.03, text, fontsize=7, color="#3d4650", **below)


@lru_cache(maxsize=MOST_DRAWN)
def _looks(path: Path, scene: Scene) -> Looks:
    """Run the backbone on a few test images; kept for a report that is written again and again."""
    file = ProbeFile.read(path)
    named = {"weights": file.backbone.weights, "folder": folder_in(file.backbone)}  # results are trusted to name them
    backbone = open_backbone(file, torch.device("cpu"), **named)
    split = scene.open("test")
    chosen = shown(split.object_codes)
    images, codes = split.images(chosen), split.object_codes[chosen]
    z = torch.from_numpy(activations(file, backbone, images))
    grid = backbone.description.layout.grid
    return Looks(images, codes > 0, spatial_attention(file, z, codes, grid))


def shown(codes: UInt8[np.ndarray, "samples objects"]) -> Int[np.ndarray, " images"]:
    """Positions of the first images with two objects or more; with any, where there are none."""
    several = np.flatnonzero(codes.sum(axis=1) > 1)[:N_IMAGES]
    return several if len(several) else np.arange(min(N_IMAGES, len(codes)))


@torch.no_grad()
def spatial_attention(
    file: ProbeFile, z: torch.Tensor, codes: UInt8[np.ndarray, "images objects"], grid: tuple[int, int]
) -> Float32[np.ndarray, "images objects rows columns"]:
    """Attention of the objects probe's heads over the spatial tokens; what falls on the CLS token is left out.

    Args:
        file: with attention probes.
        z: standardised tokens, float32 [images token dim].
        codes: true object codes.
        grid: rows and columns of spatial tokens.

    Raises:
        ProbeFileError: another family, or untrained probes.
    """
    bits = torch.from_numpy(codes.astype(np.float32) - 0.5)
    found = []
    for fitted in file.targets["objects"]:
        if not isinstance(fitted.probe, AttentionQuadratic) or fitted.parameters is None:
            raise ProbeFileError("the objects probe of this cell has no trained attention")
        packed = {name: value[None] for name, value in fitted.parameters.items()}
        weights = fitted.probe.attend(packed, fitted.shape, z, bits)[:, 0]
        found.append(weights[..., -grid[0] * grid[1] :].unflatten(-1, grid))
    return torch.stack(found).mean(0).numpy()


def _file(results: Path, row: Mapping[str, Any]) -> Path:
    return results / "probes" / f"{row['cell_id']}.safetensors"
