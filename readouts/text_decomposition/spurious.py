"""Heads of a cue that goes along with the classes without being meant, and accuracy without them.

The paper names such heads by hand from their texts. Here they are chosen on validation images: by how much more of a
head's variance the cue tells than the target, or by words of the cue among the head's texts. Test labels choose
nothing. Random heads, equally many in each layer, are the control.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Int64

from readouts.text_decomposition.asked import NAMED, POLICIES
from readouts.text_decomposition.given import Given
from readouts.text_decomposition.removal import extended, factors, fit_means, members
from readouts.text_decomposition.settings import SpuriousConfig
from readouts.text_decomposition.texts import credit
from readouts.text_decomposition.textspan import Moments, text_span

_TEXTS = 5
ALL, BY_VARIANCE, BY_WORDS, RANDOM = POLICIES


class Without(NamedTuple):
    """Accuracy without a set of heads, of n test images.

    Attributes:
        right: float32 [n], credit for the class.
        baseline: float32 [n], with all terms.
        cue_right: float32 [n], credit for the value of the cue; empty where its values have no names.
        groups: int64 [n], class and value of the cue.
        names: of the groups that occur.
        removed: names of the heads of each set; the control has several, over which credit is averaged.
    """

    right: Float32[np.ndarray, " images"]
    baseline: Float32[np.ndarray, " images"]
    cue_right: Float32[np.ndarray, " known"]
    groups: Int64[np.ndarray, " images"]
    names: Mapping[int, str]
    removed: list[list[str]]

    @property
    def n_groups(self) -> int:
        """Numbers of groups that may occur."""
        return max(self.names) + 1


class Feature(NamedTuple):
    """One feature as a classification: its name, texts (none where nobody says) and labels of the test images."""

    name: str
    texts: tuple[str, ...]
    labels: np.ndarray


def without_cue(given: Given, policies: Sequence[str]) -> dict[str, Without]:
    """What each policy leaves.

    Raises:
        ValueError: scenes that have not exactly one object, or features that the data set does not have.
    """
    config = given.asked.config
    assert isinstance(config, SpuriousConfig)
    target, cue = (_feature(given, name) for name in _target_and_cue(given, config))
    if target.name == cue.name:
        raise ValueError(f"target and cue are both {target.name}; name two features of {_names(given)}")
    known = {policy: removed_heads(given, config, policy, target, cue) for policy in policies}
    if not target.texts:
        raise ValueError(f"the values of {target.name} have no names, by which they could be classes")
    n_cues = int(cue.labels.max(initial=0)) + 1
    groups = target.labels * n_cues + cue.labels
    called = cue.texts or [f"{cue.name} {value}" for value in range(n_cues)]
    names = {int(g): f"{target.texts[g // n_cues]} · {called[g % n_cues]}" for g in np.unique(groups)}
    found = {}
    baseline = _left(given, [[]], target, cue)[0][0]
    for policy, sets in known.items():
        right, cue_right = (np.mean(one, axis=0) for one in _left(given, sets, target, cue))
        found[policy] = Without(right, baseline, cue_right, groups, names, sets)
    return found


def _names(given: Given) -> str:
    return ", ".join(given.names)


def _feature(given: Given, name: str) -> Feature:
    """A feature of single objects, or a label.

    Raises:
        ValueError: no such feature, or scenes that have not exactly one object.
    """
    if name not in given.names:
        raise ValueError(f"the data set has no feature {name!r}; it has {_names(given)}")
    if given.space is None:
        return Feature(name, given.names[name], given.features("test")[name])
    codes = given.codes("test")
    if (codes.sum(axis=1) != 1).any():
        raise ValueError("classes and cue are features of one object; some scenes have none or several")
    number = list(given.names).index(name)
    return Feature(name, given.names[name], given.space.value_of_object[codes.argmax(axis=1), number])


def _target_and_cue(given: Given, config: SpuriousConfig) -> tuple[str, str]:
    """As a study names them; else the class and the first other label, or last and first feature.

    Raises:
        ValueError: no label that could be one of them.
    """
    names = list(given.names)
    if given.space is not None:
        return config.target or names[-1], config.cue or names[0]
    others = [name for name in names if name not in ("class", "group")]
    target, cue = config.target or "class", config.cue or next(iter(others), "")
    if target not in names or not cue:
        raise ValueError(f"a cue needs a label beside the class; there are {_names(given) or 'none with names'}")
    return target, cue


def removed_heads(
    given: Given, config: SpuriousConfig, policy: str, target: Feature, cue: Feature
) -> list[list[str]]:
    """Heads that go: one set, or several of the control."""
    if policy in (ALL, NAMED):
        return [list(config.named) if policy == NAMED else []]
    heads = [term for term in given.lens.terms if term.kind == "head"]
    told = factors(given).fitted
    called = [f"{given.lens.layers[head.layer]}.{head.head}" for head in heads]
    chosen = [name for p, name in enumerate(called) if told[cue.name][p] - told[target.name][p] > config.share]
    if policy == BY_VARIANCE:
        return [chosen]
    if policy == BY_WORDS:
        words = config.keywords or cue.texts
        named = zip(called, head_texts(given), strict=True)
        return [[name for name, texts in named if cue_share(texts, words, target.texts) > 0.5]]
    return random_heads(chosen, given.lens.n_heads, config.draws, given.asked.shared.seed)


def cue_share(texts: Sequence[tuple[str, float]], words: Sequence[str], others: Sequence[str]) -> float:
    """Of the variance that some texts explain, the share of those with one of some words and none of the others."""
    pattern, not_meant = (
        re.compile("|".join(rf"\b{re.escape(word)}\b" for word in some), re.IGNORECASE) for some in (words, others)
    )
    named = [share for text, share in texts if pattern.search(text) and not not_meant.search(text)]
    return sum(named) / max(sum(share for _, share in texts), 1e-12)


def head_texts(given: Given) -> list[list[tuple[str, float]]]:
    """The first texts of every head and the variance each explains, on the images that means come from."""
    texts = next(iter(given.pools.values()))
    vectors = torch.from_numpy(given.table.rows(texts))
    most = min(_TEXTS, int(torch.linalg.matrix_rank(vectors.double())))  # of two classes there are no more than two
    moments: Moments | None = None
    for _, stored in given.chunks(given.fit_split):
        part = Moments.of(given.lens.coordinates(stored, stored.heads).flatten(1, 2))
        moments = part if moments is None else moments + part
    assert moments is not None
    basis = given.lens.head_basis(given.asked.shared.norm_split).flatten(0, 1)
    span = text_span(moments, basis, vectors, most)
    shares = span.explained.tolist()
    return [
        [(texts[number], share) for number, share in zip(*row, strict=True)]
        for row in zip(span.texts.tolist(), shares, strict=True)
    ]


def random_heads(chosen: Sequence[str], n_heads: int, draws: int, seed: int) -> list[list[str]]:
    """Sets with as many heads in each layer as are chosen there."""
    rng = np.random.default_rng([seed, 7])
    counts = Counter(name.partition(".")[0] for name in chosen)
    return [
        [f"{layer}.{head}" for layer, count in sorted(counts.items()) for head in rng.permutation(n_heads)[:count]]
        for _ in range(draws)
    ]


def _left(
    given: Given, sets: Sequence[Sequence[str]], target: Feature, cue: Feature
) -> tuple[np.ndarray, np.ndarray]:
    """Credit [sets images] for class and cue without each set of heads."""
    lens, split = given.lens, given.asked.shared.norm_split
    chosen = torch.zeros(len(sets), len(lens.terms))
    for row, heads in enumerate(sets):
        for name in heads:
            chosen[row, members(name, lens)] = 1
    mean = fit_means(given, split)[: len(lens.terms)]
    found: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for rows, stored in given.chunks("test"):
        terms = extended(lens, stored, split)[:, : len(lens.terms)]
        left = terms.sum(1) + (chosen @ mean)[:, None] - torch.einsum("st,ntj->snj", chosen, terms)
        for feature, parts in zip((target, cue), found, strict=True):
            is_class = feature.name == "class" and given.space is None
            if not feature.texts:
                continue
            vectors = given.class_vectors[given.text_of_class] if is_class else given.table.rows(feature.texts)
            scores = left.numpy() @ vectors.T
            parts.append(credit(scores, np.arange(len(feature.texts)), feature.labels[rows]))
    nothing = np.zeros((len(sets), 0), np.float32)
    right, cue_right = (np.concatenate(parts, axis=1) if parts else nothing for parts in found)
    return right, cue_right
