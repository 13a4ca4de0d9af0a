"""Rows of memories: agreement and its control, match, weights alone, and single memories (section 5 of the paper)."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from frozen.capture.capture import Capture
from frozen.readout.cells import Cell
from frozen.readout.needs import Inputs
from readouts.class_embedding.aspects import ClassCell
from readouts.class_embedding.estimates import RIGHT, permutation_p, sample_table
from readouts.class_embedding.inspection import MemoryPeaks
from readouts.class_embedding.measured import FEW_IMAGES, Measured, parquet
from readouts.class_embedding.memories import Memories, chance_percent
from readouts.class_embedding.projection import per_image, select

N_LISTED = 5
"""Classes and images that are listed of a memory."""


def remembered(cell: Cell, inputs: Inputs) -> Measured:
    """Key-value agreement and memory match (section 5.2)."""
    own: ClassCell = cell.settings
    columns = inputs.columns["here"]
    agree, match = columns["agrees"][:].astype(bool), columns["matches"][:].astype(bool)
    tokens = select(own.kind, agree.shape[1], cell.description.layout, None)
    values = {"memory_percent": 100 * per_image(agree, tokens), "match_percent": 100 * per_image(match, tokens)}
    extra: dict[str, object] = {"chance": _memory_chance(cell)}
    flags: tuple[str, ...] = ()
    if own.kind == "cls":
        is_right = inputs.columns["output"]["ranks"][:][:, 0] == 0
        values[RIGHT] = is_right.astype(np.float64)
        extra["p_value"] = _link_p(values["memory_percent"], is_right, own)
        flags = ("few_wrong",) if min(is_right.sum(), (~is_right).sum()) < FEW_IMAGES else ()
    return Measured(sample_table(values), int(tokens.sum()) * len(agree), extra, flags)


def _memory_chance(cell: Cell) -> float:
    own: ClassCell = cell.settings
    reduction = Memories(int(own.site.layer), own.site.part)  # pyright: ignore[reportArgumentType]
    return chance_percent(reduction.n_memories(cell.description))


def remembered_other(cell: Cell, inputs: Inputs) -> Measured:
    """Key-value agreement with the memories of another class, a control."""
    own: ClassCell = cell.settings
    agree = inputs.array("here", "agrees_other").astype(bool)
    tokens = select(own.kind, agree.shape[1], cell.description.layout, None)
    values = {"memory_percent": 100 * per_image(agree, tokens)}
    return Measured(sample_table(values), int(tokens.sum()) * len(agree), {"chance": _memory_chance(cell)})


def _link_p(agreement: np.ndarray, is_right: np.ndarray, own: ClassCell) -> float | None:
    """One-sided p-value of the mean agreement of images classified rightly minus that of the others."""
    if is_right.all() or not is_right.any() or not own.rules.permutations:
        return None
    rng = np.random.default_rng([own.seed, 4])
    drawn = [rng.permutation(is_right) for _ in range(own.rules.permutations)]
    value, *permuted = (agreement[one].mean() - agreement[~one].mean() for one in (is_right, *drawn))
    return permutation_p(float(value), np.array(permuted))


def of_weights(cell: Cell, inputs: Inputs) -> Measured:
    """Class-value agreement: one value a class (section 5.1)."""
    cosines, classes = inputs.array("here", "value_cosine"), inputs.array("labels", "class")
    present, first = np.unique(classes, return_index=True)
    missing = len(present) < cell.description.n_classes
    samples = sample_table({"value_cosine": cosines[first]})
    return Measured(samples, 0, {}, ("missing_classes",) if missing else ())


def inspected(cell: Cell, inputs: Inputs) -> Measured:
    """One memory: the classes it favours, the images in which it fires."""
    own: ClassCell = cell.settings
    need = dict(cell.needs)["here"]
    assert isinstance(need, Capture)
    assert isinstance(need.reduction, MemoryPeaks)
    place = need.reduction.memories.index(int(own.kind.removeprefix("memory ")))
    peak, token, fires, favour = (
        inputs.array("here", name)[:, place] for name in ("peak", "place", "fires", "favour")
    )
    classes = inputs.array("labels", "class")
    present, first = np.unique(classes, return_index=True)
    favoured = present[np.argsort(-favour[first], kind="stable")][:N_LISTED]
    is_own = classes == favoured[0]
    values = {
        "fires_percent": np.where(is_own, 100.0 * fires, np.nan),
        "fires_else_percent": np.where(is_own, np.nan, 100.0 * fires),
    }
    images = np.argsort(-peak, kind="stable")[:N_LISTED]
    layout = cell.description.layout
    # place in the grid; negative for the tokens before those of the image
    patch = token[images].astype(np.int64) - layout.n_prefix
    size = {"grid_rows": np.full(len(images), layout.grid[0]), "grid_columns": np.full(len(images), layout.grid[1])}
    listed = {"image": images, "patch": patch, "coefficient": peak[images], "class": classes[images], **size}
    extra = {"favoured": ", ".join(map(str, favoured)), "images": ", ".join(map(str, images))}
    missing = ("missing_classes",) if len(present) < cell.description.n_classes else ()
    files = {"memory.parquet": parquet(pa.table(listed))}
    return Measured(sample_table(values), token.size, extra, missing, files)
