"""What the shipped models can do on scenes they were not trained on: the numbers in the headers of their files."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import torch

from binding.backbones.decoding import log_likelihoods, write_captions
from binding.backbones.parts import ShippedModel
from binding.codes import FeatureSpace
from binding.scenes import FewShapes, SplitPolicy, TargetShapes, TwinShapes, entails, phrase

_BATCH = 250
_COUNTS = ("one", "two", "three")


def numbers(model: ShippedModel, n: int, seed: int) -> dict[str, float]:
    """Shares between 0 and 1, each of `n` scenes.

    Args:
        model: head, text or decoder decide what is measured.
        n: scenes, an even number.
        seed: of the scenes.

    class model: top1. CLIP: zero-shot accuracy among all scenes of one and of two objects (`one_object`,
    `two_objects`; 16 and 120 texts), mean AUC of the score for a text being true over 16 kinds and over 8 words
    (`kinds_auc`, `words_auc`), and the share of pairs in which the caption of a scene scores higher than that of its
    twin, ties counting half (`forced_choice`). CoCa: share of right colour-shape pairs that captions name
    (`pairs_one`, ...), of captions that are right as a whole (`exact_one`, ...), and of scenes whose own caption is
    likelier than their twin's (`forced_choice`).
    """
    if model.decoder is not None:
        return _coca_numbers(model, n, seed)
    if model.text is not None:
        return _clip_numbers(model, n, seed)
    if model.head is not None:
        return {"top1": _top1(model, n, seed)}
    raise ValueError(f"{model.name} has neither head nor text nor decoder: nothing to measure")


def _few(n: int, seed: int, **settings: int) -> Any:
    return FewShapes(seed=seed, split=SplitPolicy(train=2, validation=2, test=n), **settings).open("test")


def _twins(n: int, seed: int) -> Any:
    return TwinShapes(seed=seed, split=SplitPolicy(train=2, validation=2, test=n)).open("test")


def _in_batches(split: Any, read: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    starts = range(0, len(split), _BATCH)
    return np.concatenate([read(split.images(np.arange(i, min(i + _BATCH, len(split))))) for i in starts])


def _top1(model: ShippedModel, n: int, seed: int) -> float:
    head = model.head
    assert head is not None
    split = TargetShapes(seed=seed, split=SplitPolicy(train=2, validation=2, test=n)).open("test")
    guessed = _in_batches(split, lambda images: head.logits(model.read(images)[:, 0]).argmax(dim=1).numpy())
    return float((guessed == split.classes).mean())


def _clip_numbers(model: ShippedModel, n: int, seed: int) -> dict[str, float]:
    text = model.text
    assert text is not None
    few, twins = _few(n, seed), _twins(n, seed)
    space = few.space
    by_features = model.header["grammar"] == "features"
    words = [value for group in space.groups for value in group.values]
    kinds = [phrase(k, space) for k in range(space.n_objects)]
    vectors = _in_batches(few, model.vectors)
    found = {"words_auc": _mean_auc(vectors, words, few.object_codes, model)}
    if not by_features:
        found["kinds_auc"] = _mean_auc(vectors, kinds, few.object_codes, model)
        for name, size in (("one_object", 1), ("two_objects", 2)):
            found[name] = _zero_shot(model, _few(n, seed, min_objects=size, max_objects=size), size)
    captions = twins.captions(np.arange(n), "features" if by_features else "plain")
    vectors = _in_batches(twins, model.vectors)
    texts = text.encode(captions)
    own = _diagonal(vectors, texts)
    other = _diagonal(vectors, texts[np.arange(n) ^ 1])
    return {**found, "forced_choice": _preferred(own, other)}


def _diagonal(images: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """Cosine of each image with its own text."""
    one, other = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (images, texts))
    return (one * other).sum(axis=1)


def _preferred(own: np.ndarray, other: np.ndarray) -> float:
    return float(np.mean((own > other) + 0.5 * (own == other)))


def _mean_auc(vectors: np.ndarray, texts: list[str], codes: np.ndarray, model: ShippedModel) -> float:
    assert model.text is not None
    scores = model.text.scores(vectors, model.text.encode(texts))
    truth = entails(codes, texts, FewShapes().space)
    return float(np.mean([auc(scores[:, j], truth[:, j]) for j in range(len(texts))]))


def auc(scores: np.ndarray, truth: np.ndarray) -> float:
    """Probability that a true sample scores higher than a false one, ties counting half."""
    _, which, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[which]
    positive = int(truth.sum())
    return float((ranks[truth].sum() - positive * (positive + 1) / 2) / (positive * (len(truth) - positive)))


def _zero_shot(model: ShippedModel, split: Any, size: int) -> float:
    assert model.text is not None
    space: FeatureSpace = split.space
    candidates = list(combinations(range(space.n_objects), size))
    texts = model.text.encode([" and ".join(phrase(k, space) for k in kinds) for kinds in candidates])
    guessed = model.text.scores(_in_batches(split, model.vectors), texts).argmax(axis=1)
    truth = [tuple(np.flatnonzero(code).tolist()) for code in split.object_codes]
    return float(np.mean([candidates[guess] == kinds for guess, kinds in zip(guessed.tolist(), truth, strict=True)]))


def _coca_numbers(model: ShippedModel, n: int, seed: int) -> dict[str, float]:
    decoder = model.decoder
    assert decoder is not None
    found = {}
    for size, name in enumerate(_COUNTS, start=1):
        split = _few(n, seed, min_objects=size, max_objects=size)
        truth = split.captions(np.arange(n), "counted")
        memories = _in_batches(split, lambda images: decoder.memory(model.read(images)).numpy())
        written = write_captions(decoder, torch.from_numpy(memories)).texts
        named = [pairs_named(text) for text in written]
        true = [pairs_named(text) for text in truth]
        found[f"pairs_{name}"] = float(np.mean([len(a & b) / len(b) for a, b in zip(named, true, strict=True)]))
        found[f"exact_{name}"] = float(np.mean([a == b for a, b in zip(written, truth, strict=True)]))
    twins = _twins(n, seed)
    captions = twins.captions(np.arange(n), "counted")
    memory = torch.from_numpy(_in_batches(twins, lambda images: decoder.memory(model.read(images)).numpy()))
    own = log_likelihoods(decoder, memory, captions)
    other = log_likelihoods(decoder, memory, [captions[i] for i in np.arange(n) ^ 1])
    return {**found, "forced_choice": _preferred(own, other)}


def pairs_named(caption: str) -> set[tuple[str, str]]:
    """Colour and shape of every object that a counted caption names, whatever else it says."""
    words = caption.split()
    return {(words[i + 1], words[i + 2]) for i, word in enumerate(words[:-2]) if word == "a"}
