"""Mean ablation: terms replaced by their means, and the zero-shot accuracy that is left (paper, section 3.3).

Only direct effects change: later layers are not computed again. Removing a set S leaves y - Σ_S (c - mean c), so that
two passes over the stored terms serve any number of sets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from readouts.text_decomposition.given import Given
from readouts.text_decomposition.lens import Lens, Split, Stored
from readouts.text_decomposition.texts import credit


class Removal(NamedTuple):
    """What is left without each of S sets of terms, of n test images.

    Attributes:
        baseline: float32 [n], credit of each image with all terms.
        right: float32 [S n], without the set's terms.
        n_terms: terms in each set.
    """

    baseline: Float32[np.ndarray, " images"]
    right: Float32[np.ndarray, "sets images"]
    n_terms: list[int]


def members(name: str, lens: Lens) -> list[int]:
    """Positions among the extended terms (all terms, then what each layer read from the first token).

    Args:
        name: 11.3, 11, mlp.11, init, mlps, or cls for all that was read from the first token; of an attention that
            pools, final for the number of a block.
        lens: knows the terms.

    Raises:
        ValueError: a term that the model does not have.
    """
    terms = lens.terms
    if name == "cls":
        return [len(terms) + block for block in range(lens.n_blocks)]
    if name == "mlps":
        return [position for position, term in enumerate(terms) if term.kind != "head"]
    if name == "init":
        found = [position for position, term in enumerate(terms) if term.kind == "init"]
    elif name.startswith("mlp."):
        found = [p for p, term in enumerate(terms) if term.kind == "mlp" and lens.layers[term.layer] == name[4:]]
    else:
        layer, _, head = name.partition(".")
        found = [
            position
            for position, term in enumerate(terms)
            if term.kind == "head" and lens.layers[term.layer] == layer and head in ("", str(term.head))
        ]
    if not found:
        raise ValueError(f"the model has no term {name}")
    return found


def extended(lens: Lens, stored: Stored, split: Split) -> Float[Tensor, "image term joint"]:
    """All terms, then what each layer's heads read from the first token."""
    return torch.cat([lens.all_terms(stored, split), lens.from_first(stored, split)], dim=1)


def removed(given: Given, sets: Sequence[Iterable[str]]) -> Removal:
    """Accuracies without each of several sets of terms."""
    lens, split = given.lens, given.asked.shared.norm_split
    n_terms = len(lens.terms)
    chosen = torch.zeros(len(sets), n_terms + lens.n_blocks)
    for row, names in enumerate(sets):
        for name in names:
            chosen[row, members(name, lens)] = 1
    # of a head that goes altogether, its part that was read from the first token goes with it
    heads = chosen[:, : lens.n_blocks * lens.n_heads].unflatten(1, (lens.n_blocks, lens.n_heads))
    if ((heads.amax(2) > 0) & (chosen[:, n_terms:] > 0)).any():
        raise ValueError("cls goes with MLPs only: what heads read from the first token is a part of them")
    means = fit_means(given, split)
    baseline, right = [], []
    for rows, stored in given.chunks("test"):
        terms = extended(lens, stored, split)
        whole = terms[:, :n_terms].sum(1)
        left = whole + (chosen @ means)[:, None] - torch.einsum("st,ntj->snj", chosen, terms)
        labels = given.classes.labels[rows]
        baseline.append(credit(given.scores(whole.numpy()), given.text_of_class, labels))
        right.append(credit(given.scores(left.numpy()), given.text_of_class, labels))
    counts = chosen.sum(1).int().tolist()
    return Removal(np.concatenate(baseline), np.concatenate(right, axis=1), counts)


def fit_means(given: Given, split: Split) -> Float[Tensor, "term joint"]:
    """Means of the extended terms over the images that means come from."""
    total, count = torch.zeros(()), 0
    for _, stored in given.chunks(given.fit_split):
        total = total + extended(given.lens, stored, split).double().sum(0)
        count += len(stored.mean)
    return (total / count).float()


class Factors(NamedTuple):
    """How much of each term's variance a feature tells, of n test images and T terms.

    Attributes:
        between: float32 [features n T], squared deviation from the mean less that from the mean of the value.
        total: float32 [n T], squared deviation from the mean.
        fitted: by feature, the share on the images that the means come from [T].
    """

    between: Float32[np.ndarray, "features images terms"]
    total: Float32[np.ndarray, "images terms"]
    fitted: Mapping[str, np.ndarray]


def factors(given: Given) -> Factors:
    """Variance of terms between the values of each feature."""
    found = {split: given.features(split) for split in {given.fit_split, "test"}}
    names = list(found["test"])
    means, by_value = _value_means(given, found[given.fit_split])
    fitted = _shares(given, given.fit_split, means, by_value, found[given.fit_split])
    tested = _shares(given, "test", means, by_value, found["test"])
    share = fitted[0].sum(1) / np.maximum(fitted[1].sum(0), 1e-30)
    return Factors(*tested, dict(zip(names, share, strict=True)))


def _value_means(given: Given, known: Mapping[str, np.ndarray]) -> tuple[Tensor, dict[str, dict[int, Tensor]]]:
    """Means of the terms, and by feature and value."""
    total: Tensor = torch.zeros(())
    sums: dict[str, dict[int, Tensor]] = {name: {} for name in known}
    for rows, stored in given.chunks(given.fit_split):
        terms = given.lens.all_terms(stored, given.asked.shared.norm_split)
        total = total + terms.double().sum(0)
        for name, numbers in known.items():
            for value in np.unique(numbers[rows]).tolist():
                part = terms[torch.from_numpy(numbers[rows] == value)].double().sum(0)
                sums[name][value] = sums[name].get(value, torch.zeros(())) + part
    counts = {name: {value: int((known[name] == value).sum()) for value in sums[name]} for name in known}
    means = {
        name: {value: (part / counts[name][value]).float() for value, part in parts.items()}
        for name, parts in sums.items()
    }
    return (total / len(next(iter(known.values())))).float(), means


def _shares(
    given: Given,
    split: str,
    mean: Tensor,
    by_value: Mapping[str, Mapping[int, Tensor]],
    known: Mapping[str, np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    between, total = [], []
    for rows, stored in given.chunks(split):
        terms = given.lens.all_terms(stored, given.asked.shared.norm_split)
        whole = ((terms - mean) ** 2).sum(2)
        parts = []
        for name, numbers in known.items():
            own = torch.stack([by_value[name].get(value, mean) for value in numbers[rows].tolist()])
            parts.append(whole - ((terms - own) ** 2).sum(2))
        between.append(torch.stack(parts).numpy())
        total.append(whole.numpy())
    return np.concatenate(between, axis=1), np.concatenate(total)
