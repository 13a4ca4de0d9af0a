"""Which image tokens show the class: exact masks, cut into the patches of a model's grid."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int
from torch import Tensor

from frozen.capture.changes import gathered
from frozen.capture.conditions import Condition, Keep
from frozen.capture.reductions import Column, ForwardPass, Reducer, Values
from frozen.capture.sites import Site
from frozen.models import Batch, Description, TokenLayout, Trunk

MASK = "class_mask"
"""The label that says which pixels show the image's class: bool [samples height width]."""
PatchRule = Literal["any", "half", "corner"]
PATCH_RULES: tuple[PatchRule, ...] = get_args(PatchRule)


def class_shares(
    masks: Bool[np.ndarray, "batch height width"], grid: tuple[int, int]
) -> Float32[np.ndarray, "batch patches"]:
    """Share of each patch's pixels that show the class, row by row; patches of broken pixels count whole pixels.

    Patch (i, j) has the pixels from floor(i * height / rows) to floor((i + 1) * height / rows), and so across.
    """
    rows, columns = (_edges(side, cells) for side, cells in zip(masks.shape[1:], grid, strict=True))
    sums = np.add.reduceat(np.add.reduceat(masks, rows, axis=1, dtype=np.float32), columns, axis=2)
    sizes = np.diff([*rows, masks.shape[1]])[:, None] * np.diff([*columns, masks.shape[2]])[None]
    return (sums / sizes).reshape(len(masks), -1).astype(np.float32)


def class_corners(
    masks: Bool[np.ndarray, "batch height width"], grid: tuple[int, int]
) -> Bool[np.ndarray, "batch patches"]:
    """Whether the top left pixel of each patch shows the class: nearest-neighbour resizing, as the paper has it."""
    rows, columns = (_edges(side, cells) for side, cells in zip(masks.shape[1:], grid, strict=True))
    return masks[:, rows][:, :, columns].reshape(len(masks), -1).astype(bool)


def class_patches(masks: np.ndarray, grid: tuple[int, int], rule: PatchRule) -> Bool[np.ndarray, "batch patches"]:
    """Which patches count as showing the class: any of their pixels, at least half of them, or the top left one."""
    if rule == "corner":
        return class_corners(np.asarray(masks, dtype=bool), grid)
    shares = class_shares(np.asarray(masks, dtype=bool), grid)
    return shares > 0 if rule == "any" else shares >= 0.5


def _edges(side: int, cells: int) -> Int[np.ndarray, " cells"]:
    if side < cells:
        raise ValueError(f"a mask of {side} pixels a side cannot be cut into {cells} patches")
    return np.arange(cells) * side // cells


@dataclass(frozen=True)
class ClassPatches:
    """Share of every image token's patch that shows the class, and whether its top left pixel does.

    Columns, samples first: `share` float32 [spatial] and `corner` uint8 [spatial].
    """

    label: str = MASK

    needs_head = False
    needs_gradient = False
    sites: tuple[Site, ...] = (Site("embed"),)

    @property
    def labels(self) -> tuple[str, ...]:
        """The mask."""
        return (self.label,)

    def key(self) -> dict[str, Any]:
        """Its name and label."""
        return {"reduction": "class_patches", "label": self.label}

    def columns(self, description: Description, condition: Condition) -> tuple[Column, ...]:
        """Share and corner of every spatial token."""
        del condition
        shape = (description.layout.n_spatial,)
        return (Column("share", shape, "float32"), Column("corner", shape, "uint8"))

    def begin(self, forward: ForwardPass) -> Reducer:
        """A reducer for one batch."""
        return _ClassPatchesReducer(self.label, forward)


class _ClassPatchesReducer:
    def __init__(self, label: str, forward: ForwardPass) -> None:
        masks, grid = np.asarray(forward.batch.labels[label], dtype=bool), forward.model.description.layout.grid
        self._columns: dict[str, Values] = {
            "share": torch.from_numpy(class_shares(masks, grid)),
            "corner": torch.from_numpy(class_corners(masks, grid).astype(np.uint8)),
        }

    def take(self, site: Site, value: Tensor) -> None:
        del site, value

    def finish(self) -> Mapping[str, Values]:
        return self._columns


def chosen(share: np.ndarray, corner: np.ndarray, rule: PatchRule) -> Bool[np.ndarray, "samples spatial"]:
    """Which tokens count as showing the class, from what `ClassPatches` keeps."""
    if rule == "corner":
        return corner.astype(bool)
    return share > 0 if rule == "any" else share >= 0.5


@dataclass(frozen=True)
class KeepPatches:
    """Only the image tokens that show the class exist, or only the others; CLS and registers stay.

    Attributes:
        which: class or context.
        rule: when a patch shows the class.
        label: name of the mask.
    """

    which: Literal["class", "context"]
    rule: PatchRule = "any"
    label: str = MASK

    @property
    def labels(self) -> tuple[str, ...]:
        """The mask."""
        return (self.label,)

    def key(self) -> dict[str, Any]:
        """Its name and settings."""
        return {"condition": "keep_patches", "which": self.which, "rule": self.rule, "label": self.label}

    def refusal(self, description: Description) -> str | None:
        """A model whose tokens cannot be chosen."""
        return Keep(self.label).refusal(description)

    def counts(self, labels: Mapping[str, np.ndarray], layout: TokenLayout) -> Int[np.ndarray, " samples"] | None:
        """How many tokens each sample keeps."""
        return self._kept(labels, layout).sum(axis=1)

    def n_spatial(self, layout: TokenLayout) -> int | None:
        """None: samples differ."""
        del layout

    def applied(self, trunk: Trunk, batch: Batch, layout: TokenLayout) -> AbstractContextManager[Tensor | None]:
        """Gathers the tokens before the first block.

        Raises:
            ValueError: samples of one batch that keep different numbers of tokens.
        """
        kept = self._kept(batch.labels, layout)
        if len(set(kept.sum(axis=1))) > 1:
            raise ValueError("samples of one batch must keep the same number of tokens; batch them by `counts`")
        positions = np.nonzero(kept)[1].reshape(len(kept), -1)
        return gathered(trunk, torch.from_numpy(positions).to(trunk.device), layout)

    def _kept(self, labels: Mapping[str, np.ndarray], layout: TokenLayout) -> Bool[np.ndarray, "samples spatial"]:
        shows = class_patches(labels[self.label], layout.grid, self.rule)
        return shows if self.which == "class" else ~shows


def known_labels(config: object) -> tuple[str, ...]:
    """Labels that a data set says all its splits have, without its data: of readers, and of scenes with classes."""
    return tuple(getattr(config, "label_names", None) or ())
