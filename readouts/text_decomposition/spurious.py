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

from readouts.text_decomposition.cells import POLICIES
from readouts.text_decomposition.given import Given
from readouts.text_decomposition.keys import SpuriousConfig
from readouts.text_decomposition.lens import Term
from readouts.text_decomposition.removal import extended, factors, fit_means
from readouts.text_decomposition.texts import credit
from readouts.text_decomposition.textspan import Moments, text_span

_TEXTS = 5
ALL, BY_VARIANCE, BY_WORDS, RANDOM = POLICIES


class Without(NamedTuple):
    """Accuracy without a set of heads, of n test images.

    Attributes:
        right: float32 [n], credit for the class.
        baseline: float32 [n], with all terms.
        cue_right: float32 [n], credit for the value of the cue.
        groups: int64 [n], class and value of the cue.
        names: of the groups that occur.
        removed: names of the heads of each set; the control has several, over which credit is averaged.
    """

    right: Float32[np.ndarray, " images"]
    baseline: Float32[np.ndarray, " images"]
    cue_right: Float32[np.ndarray, " images"]
    groups: Int64[np.ndarray, " images"]
    names: Mapping[int, str]
    removed: list[list[str]]

    @property
    def n_groups(self) -> int:
        """Numbers of groups that may occur."""
        return max(self.names) + 1


class Feature(NamedTuple):
    """One feature as a classification: its number, texts and labels of the test images."""

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
    target, cue = _feature(given, config.target, -1), _feature(given, config.cue, 0)
    if target.name == cue.name:
        raise ValueError(f"target and cue are both {target.name}; name two features of {_names(given)}")
    known = {policy: removed_heads(given, config, policy, target, cue) for policy in policies}
    groups = target.labels * len(cue.texts) + cue.labels
    n_cues = len(cue.texts)
    names = {int(g): f"{target.texts[g // n_cues]} · {cue.texts[g % n_cues]}" for g in np.unique(groups)}
    found = {}
    baseline = _left(given, [[]], target, cue)[0][0]
    for policy, sets in known.items():
        right, cue_right = (np.mean(one, axis=0) for one in _left(given, sets, target, cue))
        found[policy] = Without(right, baseline, cue_right, groups, names, sets)
    return found


def _names(given: Given) -> str:
    return ", ".join(group.name for group in given.space.groups)


def _feature(given: Given, name: str, otherwise: int) -> Feature:
    groups = given.space.groups
    named = [number for number, group in enumerate(groups) if group.name == name]
    if name and not named:
        raise ValueError(f"the data set has no feature {name!r}; it has {_names(given)}")
    number = named[0] if named else otherwise % len(groups)
    codes = given.codes("test")
    if (codes.sum(axis=1) != 1).any():
        raise ValueError("classes and cue are features of one object; some scenes have none or several")
    labels = given.space.value_of_object[codes.argmax(axis=1), number]
    return Feature(groups[number].name, groups[number].values, labels)


def removed_heads(
    given: Given, config: SpuriousConfig, policy: str, target: Feature, cue: Feature
) -> list[list[str]]:
    """Heads that go: one set, or several of the control."""
    if policy == ALL:
        return [[]]
    heads = [term for term in given.lens.terms if term.kind == "head"]
    told = factors(given).fitted
    chosen = [_name(head) for p, head in enumerate(heads) if told[cue.name][p] - told[target.name][p] > config.share]
    if policy == BY_VARIANCE:
        return [chosen]
    if policy == BY_WORDS:
        words = config.keywords or cue.texts
        named = zip(heads, head_texts(given), strict=True)
        return [[_name(head) for head, texts in named if names_cue(texts, words, target.texts)]]
    return random_heads(chosen, given.lens.n_heads, config.draws, given.asked.shared.seed)


def _name(head: Term) -> str:
    return f"{head.layer}.{head.head}"


def names_cue(texts: Sequence[str], words: Sequence[str], others: Sequence[str]) -> bool:
    """Whether most of some texts have one of some words and none of the others."""
    pattern, not_meant = (
        re.compile("|".join(rf"\b{re.escape(word)}\b" for word in some), re.IGNORECASE) for some in (words, others)
    )
    named = [bool(pattern.search(text)) and not not_meant.search(text) for text in texts]
    return 2 * sum(named) > len(texts)


def head_texts(given: Given) -> list[list[str]]:
    """The first texts of every head, chosen on the images that means come from."""
    texts = next(iter(given.pools.values()))
    moments: Moments | None = None
    for _, stored in given.chunks(given.fit_split):
        part = Moments.of(given.lens.coordinates(stored, stored.heads).flatten(1, 2))
        moments = part if moments is None else moments + part
    assert moments is not None
    basis = given.lens.head_basis(given.asked.shared.norm_split).flatten(0, 1)
    span = text_span(moments, basis, torch.from_numpy(given.table.rows(texts)), _TEXTS)
    return [[texts[number] for number in row] for row in span.texts.tolist()]


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
    position = {_name(term): number for number, term in enumerate(lens.terms) if term.kind == "head"}
    chosen = torch.zeros(len(sets), len(lens.terms))
    for row, heads in enumerate(sets):
        chosen[row, [position[name] for name in heads]] = 1
    mean = fit_means(given, split)[: len(lens.terms)]
    found: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for rows, stored in given.chunks("test"):
        terms = extended(lens, stored, split)[:, : len(lens.terms)]
        left = terms.sum(1) - torch.einsum("st,ntj->snj", chosen, terms - mean)
        for feature, parts in zip((target, cue), found, strict=True):
            scores = left.numpy() @ given.table.rows(feature.texts).T
            parts.append(credit(scores, np.arange(len(feature.texts)), feature.labels[rows]))
    return np.concatenate(found[0], axis=1), np.concatenate(found[1], axis=1)
