"""Test images of a cell by their loss, with the objects that are there and those that were read."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from frozen.data.scenes import Scene
from frozen.readout.exhibit import ShownSample

N_WORST, N_MIDDLE, N_BEST = 12, 3, 3


def shown_samples(results: Path, row: Mapping[str, Any], scenes: Mapping[str, Scene]) -> Iterator[ShownSample]:
    """The images with the largest loss of the direct probe, some about the median, and some with the smallest.

    Args:
        results: the folder of a study's results; `predictions/` holds a file a cell.
        row: the cell.
        scenes: the data sets of the study, by name.

    Yields:
        Samples with the images of their scene, largest loss first; none where predictions were not kept.
    """
    path, scene = results / "predictions" / f"{row['cell_id']}.parquet", scenes.get(str(row["dataset"]))
    if scene is None or not path.is_file():
        return
    read = pq.read_table(path)
    losses = read["loss_bits"].to_numpy()
    split, chosen = _test_split(scene), _chosen(losses)
    drawn = cache(lambda: split.images(np.array(chosen)))
    for number, position in enumerate(chosen):
        true = set(np.flatnonzero(split.object_codes[position]).tolist())
        found = set(read["objects"][position].as_py())
        name = scene.space.object_names.__getitem__
        yield ShownSample(
            key=f"{row['dataset']} {position}",
            title=f"test image {position}",
            loss=f"{losses[position]:.3f} bits",
            right=tuple(name(k) for k in sorted(true & found)),
            missed=tuple(name(k) for k in sorted(true - found)),
            invented=tuple(name(k) for k in sorted(found - true)),
            picture=partial(_png, drawn, number),
        )


def _chosen(losses: np.ndarray) -> list[int]:
    """Positions by loss, largest first, without those between the worst, the middle and the best."""
    order = np.argsort(-losses, kind="stable")
    middle = (len(order) - N_MIDDLE) // 2
    parts = (order[:N_WORST], order[max(middle, 0) :][:N_MIDDLE], order[len(order) - N_BEST :])
    return list(dict.fromkeys(int(position) for part in parts for position in part))


@lru_cache(maxsize=4)
def _test_split(scene: Scene) -> Any:
    """Opened once for all cells of a data set."""
    return scene.open("test")


def _png(drawn: Callable[[], np.ndarray], number: int) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(drawn()[number]).save(buffer, format="png")
    return buffer.getvalue()
