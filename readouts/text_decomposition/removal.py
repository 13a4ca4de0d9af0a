"""Mean ablation: terms replaced by their means, and the zero-shot accuracy that is left (paper, section 3.3).

Only direct effects change: later layers are not computed again. Removing a set S leaves y - Σ_S (c - mean c) of the
sum y of all terms, so that two passes over what is stored serve any number of sets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from readouts.text_decomposition.given import Given
from readouts.text_decomposition.lens import Lens, Split, Stored
from readouts.text_decomposition.sums import Coordinates, Sums
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
    lens = given.lens
    positions = [sorted({one for name in names for one in members(name, lens)}) for names in sets]
    n_terms = len(lens.terms)
    for some in positions:
        # of a head that goes altogether, its part that was read from the first token goes with it
        with_heads = {one // lens.n_heads for one in some if one < lens.n_blocks * lens.n_heads}
        if with_heads & {one - n_terms for one in some}:
            raise ValueError("cls goes with MLPs only: what heads read from the first token is a part of them")
    baseline, right = [], []
    for rows, whole, left in without(given, positions):
        labels = given.classes.labels[rows]
        found = [credit(given.scores(one.numpy()), given.text_of_class, labels) for one in (whole, *left.unbind(0))]
        baseline.append(found[0])
        right.append(np.stack(found[1:]))
    return Removal(np.concatenate(baseline), np.concatenate(right, axis=1), [len(some) for some in positions])


def without(given: Given, sets: Sequence[Iterable[int]]) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Test images in parts: which, the sum of all terms [image joint], and that without each set [set image joint].

    Args:
        given: the images, and where means come from.
        sets: positions among the extended terms.
    """
    lens, split = given.lens, given.asked.shared.norm_split
    every, sums = Sums(lens, [range(len(lens.terms))], split), Sums(lens, sets, split)
    mean = sums.mean(stored for _, stored in given.chunks(given.fit_split, sums.unread))
    unread = tuple(set(every.unread) & set(sums.unread))
    for rows, stored in given.chunks("test", unread):
        whole = every.of(every.coordinates(stored))[0]
        apart = Coordinates(*(one - of_mean for one, of_mean in zip(sums.coordinates(stored), mean, strict=True)))
        yield rows, whole, whole - sums.of(apart)


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
