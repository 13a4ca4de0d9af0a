"""What the measurements of a backbone on a data set share: weights, texts, classes, and the stored terms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int64

from frozen.data.scenes.codes import FeatureSpace
from frozen.data.spec import open_split
from frozen.models import load
from frozen.models.joint import open_joint
from frozen.paths import written
from frozen.readout.cells import Cell
from frozen.readout.needs import Columns, Inputs
from readouts.text_decomposition.asked import MAP, SPACE, Asked
from readouts.text_decomposition.files import lines_of
from readouts.text_decomposition.lens import Lens, Stored, chunks, pack, unpack
from readouts.text_decomposition.mapping import mapped_space
from readouts.text_decomposition.settings import AUTO
from readouts.text_decomposition.texts import (
    Classes,
    TextTable,
    captions,
    classifier,
    default_pool,
    exchanged,
    scene_classes,
)

OBJECT_CODES, LABEL = "object_codes", "label:"
"""Columns of labels: codes of scenes, and prefix of the labels of other images."""
PLAIN, PHOTO = ("{}",), ("a photo of a {}.",)
"""Templates of scenes, whose classes are captions, and of labelled images."""
_MOST_BITS = 62


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
        names: by feature (of a scene) or label (of labelled images), what its values are called.
        scale: factor of the cosine in a score.
        grammar: of captions.
        space: features of the scenes; None for labelled images.
        columns: of the captures and labels, by need.
        asked: by the first cell.
    """

    lens: Lens
    table: TextTable
    classes: Classes
    class_vectors: Float32[np.ndarray, "distinct joint"]
    text_of_class: Int64[np.ndarray, " classes"]
    pools: Mapping[str, tuple[str, ...]]
    names: Mapping[str, tuple[str, ...]]
    scale: float
    grammar: str
    space: FeatureSpace | None
    columns: Mapping[str, Columns]
    asked: Asked

    @classmethod
    def opened(cls, cell: Cell, inputs: Inputs) -> Given:
        """From the model itself: what the product is made of."""
        asked: Asked = cell.settings
        shared = asked.shared
        joint = open_joint(cell.backbone) if asked.joint is None else mapped_space(asked.joint, inputs.products[MAP])
        lens = Lens.of(load(cell.backbone, cell.dataset.config, torch.device("cpu")), joint)
        space: FeatureSpace | None = getattr(cell.dataset.config, "space", None)
        if space is None:
            names = value_names(open_split(cell.dataset.config, asked.splits["test"]))
            classes = _named_classes(inputs, names, shared.classes)
            texts = [*classes.texts, *_named_values(names)]
            templates = shared.templates or PHOTO
        else:
            names = {group.name: group.values for group in space.groups}
            codes = [inputs.array(f"{role}_labels", OBJECT_CODES) for role in ("validation", "test")]
            classes = scene_classes(codes[1], space, joint.grammar)
            both = np.unique(np.concatenate(codes), axis=0)
            scenes = [
                text for some in (both, exchanged(both, space)) for text in captions(some, space, joint.grammar)
            ]
            texts = [*classes.texts, *scenes, *default_pool(space, joint.grammar)]
            templates = shared.templates or PLAIN
        named = (*classes.texts, *_named_values(names))
        pools = {written(pool): _pool(pool, space, joint.grammar, named) for pool in shared.pools}
        table = TextTable.of([*texts, *(text for pool in pools.values() for text in pool)], joint)
        distinct = tuple(dict.fromkeys(classes.texts))
        number = {text: position for position, text in enumerate(distinct)}
        return cls(
            lens,
            table,
            classes,
            classifier(distinct, templates, joint),
            np.array([number[text] for text in classes.texts], dtype=np.int64),
            pools,
            names,
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
                **{f"names:{name}": np.array(values, dtype=str) for name, values in self.names.items()},
                "classes": np.array(self.classes.texts, dtype=str),
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
        grammar, space = str(arrays["grammar"]), getattr(cell.dataset.config, "space", None)
        named: dict[str, dict[str, np.ndarray]] = {kind: {} for kind in ("pool", "lens", "names")}
        for name, value in arrays.items():
            kind, colon, rest = name.partition(":")
            if colon:
                named[kind][rest] = value
        return cls(
            Lens.from_arrays(named["lens"]),
            TextTable.from_arrays(arrays),
            Classes(tuple(arrays["classes"].tolist()), _class_labels(inputs, space, grammar)),
            arrays["class_vectors"],
            arrays["text_of_class"],
            {name: tuple(texts.tolist()) for name, texts in named["pool"].items()},
            {name: tuple(texts.tolist()) for name, texts in named["names"].items()},
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

    @property
    def scene_space(self) -> FeatureSpace:
        """Features of the scenes.

        Raises:
            ValueError: labelled images, of which no objects are known.
        """
        if self.space is None:
            raise ValueError("this asks for the objects of scenes, which labelled images do not tell")
        return self.space

    def codes(self, split: str) -> np.ndarray:
        """Object codes of a split, uint8 [images objects]."""
        return self.columns[f"{split}_labels"][OBJECT_CODES][:]

    def features(self, split: str) -> dict[str, Int64[np.ndarray, " images"]]:
        """For each feature of scenes, which of its values an image has, as a number; else the images' labels."""
        if self.space is not None:
            return present_values(self.codes(split), self.space)
        labels = self.columns[f"{split}_labels"]
        found = {name: labels[LABEL + name][:].astype(np.int64) for name in self.names}
        if not found:
            raise ValueError("the data set has no labels that are numbers")
        return found

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


def value_names(split: Any) -> dict[str, tuple[str, ...]]:
    """Labels of labelled images that are numbers, and what these are called; nothing where nobody says.

    Values beside classes that are called 0, 1, .. have no names.
    """
    found = {name: tuple(split.value_names(name)) for name in numbered_labels(split)}
    return {
        name: () if name != "class" and all(text.isdecimal() for text in texts) else texts
        for name, texts in found.items()
    }


def numbered_labels(split: Any) -> list[str]:
    """Labels that are one whole number an image."""
    return [
        name
        for name in split.label_names
        if "mask" not in name and (first := split.labels(name, np.arange(min(len(split), 1)))).ndim == 1
        if first.dtype.kind in "iu"
    ]


def present_values(codes: np.ndarray, space: FeatureSpace) -> dict[str, Int64[np.ndarray, " images"]]:
    """For each feature, a number for which of its values a scene has."""
    features = space.feature_codes(codes).astype(np.int64)
    parts = np.split(features, space.offsets[1:], axis=1)
    return {
        group.name: part @ (1 << np.arange(part.shape[1]))
        for group, part in zip(space.groups, parts, strict=True)
        if part.shape[1] < _MOST_BITS
    }


def _named_values(names: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """What the values of all labels are called."""
    return tuple(text for some in names.values() for text in some)


def _named_classes(inputs: Inputs, names: Mapping[str, tuple[str, ...]], file: str | None) -> Classes:
    """Classes of labelled images.

    Raises:
        ValueError: no names of classes, or not as many as there are classes.
    """
    texts = names.get("class", ()) if file is None else lines_of(file, "list of classes")
    labels = _class_labels(inputs, None, "")
    if not texts:
        raise ValueError("the data set does not say what its classes are called; name a file with `classes:`")
    if len(labels) and labels.max() >= len(texts):
        raise ValueError(f"{len(texts)} names of classes, the data set has class {labels.max()}")
    return Classes(texts, labels)


def _class_labels(inputs: Inputs, space: FeatureSpace | None, grammar: str) -> Int64[np.ndarray, " images"]:
    """Class of each test image; empty for labelled images without one."""
    if space is not None:
        return scene_classes(inputs.array("test_labels", OBJECT_CODES), space, grammar).labels
    columns = inputs.columns["test_labels"]
    return columns[f"{LABEL}class"][:].astype(np.int64) if f"{LABEL}class" in columns else np.zeros(0, np.int64)


def _pool(name: str, space: FeatureSpace | None, grammar: str, named: tuple[str, ...]) -> tuple[str, ...]:
    """Texts of a pool; by default words and phrases of scenes, or the names of classes and of other labels.

    Raises:
        ValueError: a file that cannot be read, or is empty.
    """
    if name != AUTO:
        return tuple(dict.fromkeys(lines_of(name, "pool")))
    return tuple(dict.fromkeys(named if space is None else default_pool(space, grammar)))
