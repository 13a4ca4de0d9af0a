"""What the measurements of a backbone on a data set share: weights, texts, classes, and the stored terms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Int64

from frozen.data.scenes.codes import FeatureSpace
from frozen.models import load
from frozen.models.joint import open_joint
from frozen.problems import shorten
from frozen.readout.cells import Cell
from frozen.readout.needs import Columns, Inputs
from readouts.text_decomposition.cells import SPACE, Asked
from readouts.text_decomposition.keys import AUTO
from readouts.text_decomposition.lens import Lens, Stored, chunks, pack, unpack
from readouts.text_decomposition.texts import (
    Classes,
    TextTable,
    captions,
    classifier,
    default_pool,
    exchanged,
    scene_classes,
)


@dataclass(frozen=True, eq=False)
class Given:
    """Everything there is to measure with.

    Attributes:
        lens: from stored outputs to the joint space.
        table: texts and their vectors.
        classes: of the test images.
        class_vectors: float32 [distinct J], of the distinct texts of classes.
        text_of_class: number of each class's distinct text.
        pools: texts by which heads are described, by name.
        scale: factor of the cosine in a score.
        grammar: of captions.
        space: features of the scenes.
        columns: of the captures and labels, by need.
        asked: by the first cell.
    """

    lens: Lens
    table: TextTable
    classes: Classes
    class_vectors: Float32[np.ndarray, "distinct joint"]
    text_of_class: Int64[np.ndarray, " classes"]
    pools: Mapping[str, tuple[str, ...]]
    scale: float
    grammar: str
    space: FeatureSpace
    columns: Mapping[str, Columns]
    asked: Asked

    @classmethod
    def opened(cls, cell: Cell, inputs: Inputs) -> Given:
        """From the model itself: what the product is made of."""
        asked: Asked = cell.settings
        joint = open_joint(cell.backbone)
        lens = Lens.of(load(cell.backbone, cell.dataset.config, torch.device("cpu")), joint)
        space, shared = cell.dataset.config.space, asked.shared
        codes = {split: inputs.array(f"{split}_labels", "object_codes") for split in ("validation", "test")}
        classes = scene_classes(codes["test"], space, joint.grammar)
        both = np.unique(np.concatenate(list(codes.values())), axis=0)
        pools = {pool: _pool(pool, space, joint.grammar) for pool in shared.pools}
        scenes = [*captions(both, space, joint.grammar), *captions(exchanged(both, space), space, joint.grammar)]
        words = default_pool(space, joint.grammar)
        table = TextTable.of(
            [*classes.texts, *scenes, *words, *(text for pool in pools.values() for text in pool)], joint
        )
        distinct = tuple(dict.fromkeys(classes.texts))
        number = {text: position for position, text in enumerate(distinct)}
        return cls(
            lens,
            table,
            classes,
            classifier(distinct, shared.templates, joint),
            np.array([number[text] for text in classes.texts], dtype=np.int64),
            pools,
            joint.scale,
            joint.grammar,
            space,
            inputs.columns,
            asked,
        )

    def packed(self) -> bytes:
        """The product, from which `of` makes the same again."""
        pools = {f"pool:{name}": np.array(texts, dtype=str) for name, texts in self.pools.items()}
        lens = {f"lens:{name}": value for name, value in self.lens.arrays().items()}
        return pack(
            {
                **lens,
                **self.table.arrays(),
                **pools,
                "class_vectors": self.class_vectors,
                "text_of_class": self.text_of_class,
                "scale": np.array(self.scale),
                "grammar": np.array(self.grammar),
            }
        )

    @classmethod
    def of(cls, cell: Cell, inputs: Inputs) -> Given:
        """From the product."""
        arrays = unpack(inputs.products[SPACE])
        grammar, space = str(arrays["grammar"]), cell.dataset.config.space
        named = {kind: {} for kind in ("pool", "lens")}
        for name, value in arrays.items():
            kind, colon, rest = name.partition(":")
            if colon:
                named[kind][rest] = value
        return cls(
            Lens.from_arrays(named["lens"]),
            TextTable.from_arrays(arrays),
            scene_classes(inputs.array("test_labels", "object_codes"), space, grammar),
            arrays["class_vectors"],
            arrays["text_of_class"],
            {name: tuple(texts.tolist()) for name, texts in named["pool"].items()},
            float(arrays["scale"]),
            grammar,
            space,
            inputs.columns,
            cell.settings,
        )

    @property
    def fit_split(self) -> str:
        """Where means come from, and where texts are chosen."""
        return "validation" if self.asked.shared.means == "held_out" else "test"

    def codes(self, split: str) -> np.ndarray:
        """Object codes of a split, uint8 [images objects]."""
        return self.columns[f"{split}_labels"]["object_codes"][:]

    def pair(self, split: str) -> np.ndarray | None:
        """Which images of a split belong together, or None."""
        labels = self.columns[f"{split}_labels"]
        return labels["pair"][:] if "pair" in labels else None

    def chunks(self, split: str) -> Iterator[tuple[slice, Stored]]:
        """The stored terms of a split, in parts."""
        return chunks(self.columns[split])

    @cached_property
    def n_images(self) -> int:
        """Images of the test split."""
        return len(self.columns["test"]["mean"])

    def scores(self, vectors: np.ndarray) -> np.ndarray:
        """Of the distinct texts of classes, for vectors [... J] of images."""
        return vectors @ self.class_vectors.T


def _pool(name: str, space: FeatureSpace, grammar: str) -> tuple[str, ...]:
    """Texts of a pool.

    Raises:
        ValueError: a file that cannot be read, or is empty.
    """
    if name == AUTO:
        return tuple(default_pool(space, grammar))
    try:
        lines = Path(name).expanduser().read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ValueError(f"the pool {shorten(name)} cannot be read: {error.strerror}") from error
    texts = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not texts:
        raise ValueError(f"the pool {shorten(name)} has no texts; write one a line")
    return texts
