"""Maps of a text over an image, and the segmentation made of them (paper, section 5).

A map is what all heads read from each token, along a text. It is held against the exact mask of the object that the
text names: by its largest patch (pointing game), and pixel by pixel after a threshold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch.nn.functional import interpolate

from frozen.data.spec import open_split
from readouts.text_decomposition.asked import HEAD_MAPS, TWIN
from readouts.text_decomposition.given import Given
from readouts.text_decomposition.lens import Stored
from readouts.text_decomposition.settings import HeatmapConfig
from readouts.text_decomposition.texts import caption, captions, exchanged


class Named(NamedTuple):
    """What the maps of scenes are about.

    Attributes:
        codes: uint8 [scenes objects].
        own: object that a map is about; -1 where there is none.
        other: another object of the scene, or -1.
    """

    codes: np.ndarray
    own: np.ndarray
    other: np.ndarray

    def of(self, rows: slice) -> Named:
        """Of some scenes."""
        return Named(*(one[rows] for one in self))


def named_objects(codes: np.ndarray) -> Named:
    """The first and the last object of each scene's code."""
    kinds = [np.flatnonzero(code) for code in codes]
    own = [int(some[0]) if len(some) else -1 for some in kinds]
    other = [int(some[-1]) if len(some) > 1 else -1 for some in kinds]
    return Named(codes, np.array(own, np.int64), np.array(other, np.int64))


def text_maps(given: Given, tokens: Float32[np.ndarray, "image token joint"], named: Named) -> dict[str, np.ndarray]:
    """Maps [image token] along the object's text, less that of the other one, less the mean of all objects' texts.

    `caption - twin` is along the caption of the scene less that of its twin; nothing where there is no twin.
    """
    space = given.scene_space
    kinds = [caption([kind], space, given.grammar) for kind in range(space.n_objects)]
    vectors = given.table.rows(kinds)
    own = vectors[named.own]
    other = np.where((named.other >= 0)[:, None], vectors[named.other], 0)
    directions = {
        "text": own,
        "text - other": own - other,
        "other - text": other - own,
        "text - mean": own - vectors.mean(axis=0),
        TWIN: _of_twins(given, named.codes),
    }
    return {name: _along(tokens, direction) for name, direction in directions.items()}


def _of_twins(given: Given, codes: np.ndarray) -> Float32[np.ndarray, "image joint"]:
    """Caption less that of the twin; 0 where there is no twin."""
    space, twins = given.scene_space, exchanged(codes, given.scene_space)
    found = np.zeros((len(codes), given.class_vectors.shape[1]), np.float32)
    has_twin = (codes != twins).any(axis=1)
    if has_twin.any():
        one, other = (given.table.rows(captions(some[has_twin], space, given.grammar)) for some in (codes, twins))
        found[has_twin] = one - other
    return found


def _along(tokens: np.ndarray, direction: np.ndarray) -> np.ndarray:
    return np.einsum("ntj,nj->nt", tokens, direction)


class Mapped(NamedTuple):
    """What there is of each kind of map.

    Attributes:
        is_used: test images that have it.
        columns: of the samples of these.
        first: the maps of the first test images.
        named: texts that the maps of photographs are of, image by image; empty for scenes, whose objects say it.
    """

    is_used: dict[str, Bool[np.ndarray, " images"]]
    columns: dict[str, dict[str, np.ndarray]]
    first: dict[str, Float32[np.ndarray, "images row column"]]
    named: tuple[str, ...] = ()


def map_of(head: str, name: str) -> str:
    """Name of a single head's map."""
    return f"{head} {name}"


def squashed(dataset: Any, split: Any) -> Any:
    """The split whose masks are squashed to a square, whatever its images are cut to; scenes are as they are.

    Args:
        dataset: labelled images, or a scene.
        split: its test split.
    """
    transform = getattr(dataset, "transform", None)
    if transform is None:
        return split
    return open_split(replace(dataset, transform=replace(transform, resize="squash", crop=1.0)), split.name)


def mapped(given: Given, split: Any, config: HeatmapConfig, layout: Any, masks_of: Any) -> Mapped:
    """Every map of the test images against the masks.

    Args:
        given: with a token map.
        split: the test split.
        config: the threshold, and single heads.
        layout: of the tokens.
        masks_of: the split that masks come from.

    Raises:
        ValueError: a data set without masks, or without objects to name.
    """
    if given.space is None:
        return _of_photos(given, masks_of, config, layout)
    if not hasattr(split, "masks"):
        raise ValueError("maps are held against exact masks, which this data set does not have; drawn scenes do")
    named = named_objects(given.codes("test"))
    found: dict[str, dict[str, list[np.ndarray]]] = {}
    first: dict[str, np.ndarray] = {}
    for rows, stored in given.chunks("test"):
        masks = split.masks(np.arange(rows.start, rows.stop))
        own = named.of(rows)
        object_masks = (masks == own.own[:, None, None] + 1) & (own.own >= 0)[:, None, None]
        maps = text_maps(given, tokens_of(given, rows, stored), own)
        for head, tokens in head_tokens(given, rows, stored):
            one = text_maps(given, tokens, own)
            maps |= {map_of(head, name): one[name] for name in HEAD_MAPS}
        for name, values in maps.items():
            spatial = values[:, layout.n_prefix :].reshape(-1, *layout.grid)
            first.setdefault(name, spatial)
            # what tells a scene from its twin is at either object, and of either sign
            is_of_both = name.endswith(TWIN)
            held = (np.abs(spatial), masks > 0) if is_of_both else (spatial, object_masks)
            for column, part in _scored(*held, config).items():
                found.setdefault(name, {}).setdefault(column, []).append(part)
    has_own, has_other = named.own >= 0, named.other >= 0
    has_twin = (named.codes != exchanged(named.codes, given.scene_space)).any(axis=1)
    used = {name: has_own & has_other if "other" in name else has_own for name in found}
    is_used = {name: has_twin if name.endswith(TWIN) else one for name, one in used.items()}
    columns = {
        name: {column: np.concatenate(parts)[is_used[name]] for column, parts in one.items()}
        for name, one in found.items()
    }
    return Mapped(is_used, columns, first)


def _of_photos(given: Given, split: Any, config: HeatmapConfig, layout: Any) -> Mapped:
    """Maps of the predicted class of labelled images against `class_mask` (paper: class less mean of all classes).

    Raises:
        ValueError: a data set without `class_mask`.
    """
    if "class_mask" not in split.label_names:
        raise ValueError(f"maps are held against class_mask; the data set has {', '.join(split.label_names)}")
    vectors = given.class_vectors
    called = dict(zip(given.text_of_class.tolist(), given.classes.texts, strict=True))
    named: list[str] = []
    found: dict[str, dict[str, list[np.ndarray]]] = {}
    first: dict[str, np.ndarray] = {}
    for rows, stored in given.chunks("test"):
        masks = split.labels("class_mask", np.arange(rows.start, rows.stop)) > 0
        guessed = given.scores(given.lens.embeddings(stored).numpy()).argmax(axis=1)
        named += [called[number] for number in guessed.tolist()]
        own = vectors[guessed]
        less_mean = own - vectors[given.text_of_class].mean(axis=0)
        tokens = tokens_of(given, rows, stored)
        maps = {"text": _along(tokens, own), "text - mean": _along(tokens, less_mean)}
        for head, tokens in head_tokens(given, rows, stored):
            maps[map_of(head, "text - mean")] = _along(tokens, less_mean)
        for name, values in maps.items():
            spatial = values[:, layout.n_prefix :].reshape(-1, *layout.grid)
            first.setdefault(name, spatial)
            for column, part in _scored(spatial, masks, config).items():
                found.setdefault(name, {}).setdefault(column, []).append(part)
    columns = {name: {key: np.concatenate(parts) for key, parts in one.items()} for name, one in found.items()}
    return Mapped({name: np.ones(given.n_images, bool) for name in found}, columns, first, tuple(named))


def tokens_of(given: Given, rows: slice, stored: Stored) -> Float32[np.ndarray, "image token joint"]:
    """What the heads of the study's layers read from each token, in the joint space."""
    config = given.asked.config
    layers = sorted(set(config.layers)) if isinstance(config, HeatmapConfig) and config.layers is not None else None
    token_map = torch.from_numpy(np.array(given.columns["test"]["token_map"][rows], np.float32))
    return given.lens.of_tokens(stored, token_map, layers).numpy()


def head_tokens(given: Given, rows: slice, stored: Stored) -> Iterator[tuple[str, np.ndarray]]:
    """The heads that have maps of their own, and what each read from each token, in the joint space."""
    config = given.asked.config
    heads = config.heads if isinstance(config, HeatmapConfig) else ()
    if not heads:
        return
    kept = torch.from_numpy(np.array(given.columns["test"]["token_heads"][rows], np.float32))
    for number, name in enumerate(heads):
        layer, _, head = name.partition(".")
        yield (
            name,
            given.lens.of_head_tokens(stored, kept[:, number], given.lens.layers.index(layer), int(head)).numpy(),
        )


def _scored(
    maps: Float32[np.ndarray, "image row column"],
    masks: Bool[np.ndarray, "image height width"],
    config: HeatmapConfig,
) -> dict[str, np.ndarray]:
    grid, size = maps.shape[1:], masks.shape[1:]
    touched = interpolate(torch.from_numpy(masks[:, None].astype(np.float32)), size=grid, mode="area")[:, 0] > 0
    touched = touched.flatten(1).numpy()
    flat = maps.reshape(len(maps), -1)
    is_largest = flat == flat.max(axis=1, keepdims=True)
    large = interpolate(torch.from_numpy(maps[:, None].copy()), size=size, mode="bilinear", align_corners=False)
    scaled = scale(large[:, 0].numpy())
    threshold = scaled.mean(axis=(1, 2), keepdims=True) if config.threshold is None else config.threshold
    scores = segmentation(scaled > threshold, masks)
    precision = [average_precision(one, mask) for one, mask in zip(scaled, masks, strict=True)]
    return {
        "pointed": (touched & is_largest).sum(axis=1) / is_largest.sum(axis=1),  # of a flat map, the share by chance
        "touched": touched.mean(axis=1),
        "precision": np.array(precision),
        **scores,
    }


def scale(maps: Float[np.ndarray, "image height width"]) -> Float[np.ndarray, "image height width"]:
    """Each map clipped at 0 and scaled to 0..1 by itself; all 0 where nothing is above it."""
    above = np.maximum(maps, 0)
    low, high = above.min(axis=(1, 2), keepdims=True), above.max(axis=(1, 2), keepdims=True)
    return (above - low) / np.where(high > low, high - low, 1)


def segmentation(
    found: Bool[np.ndarray, "image height width"], truth: Bool[np.ndarray, "image height width"]
) -> Mapping[str, np.ndarray]:
    """Pixels of each image: right ones, and intersection and union of the object and of the rest."""
    count = {"right_pixels": found == truth, "pixels": np.ones_like(truth)}
    count |= {"object_both": found & truth, "object_either": found | truth}
    count |= {"rest_both": ~found & ~truth, "rest_either": ~found | ~truth}
    return {name: values.sum(axis=(1, 2)) for name, values in count.items()}


def average_precision(scores: Float[np.ndarray, "height width"], truth: Bool[np.ndarray, "height width"]) -> float:
    """Area under precision over recall of the two classes together: rest by 1 - score, object by score (paper).

    Equal scores are one threshold, as in scikit-learn's average_precision_score.
    """
    values = np.concatenate([1 - scores.ravel(), scores.ravel()])
    is_true = np.concatenate([~truth.ravel(), truth.ravel()])
    order = np.argsort(-values, kind="stable")
    values, is_true = values[order], is_true[order]
    ends = np.append(np.flatnonzero(np.diff(values)), len(values) - 1)
    hits = is_true.cumsum()[ends]
    precision, recall = hits / (ends + 1), hits / max(int(is_true.sum()), 1)
    return float((np.diff(recall, prepend=0) * precision).sum())
