"""Mean ablation against terms that are replaced one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from readouts.text_decomposition.lens import Stored
from readouts.text_decomposition.removal import extended, factors, members, removed
from readouts.text_decomposition.sums import Sums
from readouts.text_decomposition.texts import credit
from tests.readouts.text_decomposition.known import HEADS, LAYERS, WIDTH, given, lens, outputs

N = 40
RNG = np.random.default_rng(3)
VECTORS = RNG.standard_normal((6, WIDTH))
LABELS = RNG.integers(6, size=N)
CODES = {name: np.eye(16, dtype=np.uint8)[RNG.integers(16, size=N)] for name in ("validation", "test")}


def made(means: str = "held_out", **columns: dict[str, np.ndarray]):
    known = {"validation": outputs(N, 1), "test": outputs(N, 2)} | columns
    return given(known, LABELS, VECTORS, codes=CODES, means=means)


def replaced(names: list[str], means: str) -> np.ndarray:
    """Credit with an array of terms in which those of the set are replaced by their means."""
    own = lens()
    terms = own.all_terms(Stored.of(outputs(N, 2)))
    other = own.all_terms(Stored.of(outputs(N, 1 if means == "held_out" else 2)))
    for name in names:
        for position in members(name, own):
            terms[:, position] = other[:, position].mean(0)
    return credit((terms.sum(1).numpy() @ VECTORS.T.astype(np.float32)), np.arange(6), LABELS)


@pytest.mark.parametrize("means", ["held_out", "evaluated"])
@pytest.mark.parametrize("names", [["1.0"], ["0"], ["mlps"], ["mlp.1", "init", "0.1"], ["0", "1"]])
def test_two_passes_equal_replaced_arrays(names: list[str], means: str) -> None:
    found = removed(made(means), [names])
    assert np.array_equal(found.right[0], replaced(names, means))
    assert np.array_equal(found.baseline, replaced([], means))


@pytest.mark.parametrize("split", ["uniform", "own_mean"])
def test_sums_of_sets_are_sums_of_terms(split: Any) -> None:
    own, stored = lens(), Stored.of(outputs(N, 2))
    terms = extended(own, stored, split)
    sets = [[0], [1, 3, 4], [], [5, 6], list(range(terms.shape[1])), [0, 5, terms.shape[1] - 1]]
    sums = Sums(own, sets, split)
    expected = torch.stack([terms[:, one].sum(1) for one in sets])
    assert torch.allclose(sums.of(sums.coordinates(stored)), expected, atol=1e-5)
    parts = [Stored.of(outputs(N, 2), rows) for rows in (slice(0, 7), slice(7, N))]
    assert torch.allclose(sums.of(sums.mean(parts))[:, 0], expected.mean(1), atol=1e-5)


def test_what_no_set_needs_is_not_read() -> None:
    own, kept = lens(), outputs(N, 2)
    few = Sums(own, [[0], [2]], "uniform")
    assert few.unread == ("mlps", "from_first")
    lacking = Stored.of({name: kept[name] * (name not in few.unread) for name in kept}, unread=few.unread)
    assert not lacking.mlps.any()
    assert torch.equal(few.of(few.coordinates(lacking)), few.of(few.coordinates(Stored.of(kept))))


def test_what_was_read_from_the_first_token_alone_is_replaced() -> None:
    own, stored = lens(), Stored.of(outputs(N, 2))
    first = own.from_first(stored)
    other = own.from_first(Stored.of(outputs(N, 1))).mean(0)
    left = own.all_terms(stored).sum(1) - (first - other).sum(1)
    expected = credit(left.numpy() @ VECTORS.T.astype(np.float32), np.arange(6), LABELS)
    assert np.array_equal(removed(made(), [["cls"]]).right[0], expected)
    assert not np.array_equal(expected, replaced([], "held_out"))


def test_images_that_are_all_alike_do_not_change() -> None:
    one = {name: np.repeat(values[:1], N, axis=0) for name, values in outputs(1, 7).items()}
    found = removed(made("evaluated", test=one), [["mlps"], ["0", "1"]])
    assert np.array_equal(found.right, np.repeat(found.baseline[None], 2, axis=0))


def test_without_anything_all_images_get_one_class() -> None:
    found = removed(made(), [["mlps", "0", "1"]])
    guessed = set(LABELS[found.right[0] == 1])
    assert len(guessed) == 1
    assert found.n_terms == [LAYERS * HEADS + LAYERS + 1]


def test_removing_two_sets_is_removing_their_union() -> None:
    terms = extended(lens(), Stored.of(outputs(N, 2)), "uniform")
    other = extended(lens(), Stored.of(outputs(N, 1)), "uniform").mean(0)
    whole = terms[:, : LAYERS * HEADS + LAYERS + 1].sum(1)
    one, two = members("0.1", lens()), members("mlp.0", lens())
    stepwise = whole - (terms - other)[:, one].sum(1) - (terms - other)[:, two].sum(1)
    expected = credit(stepwise.numpy() @ VECTORS.T.astype(np.float32), np.arange(6), LABELS)
    assert np.array_equal(removed(made(), [["0.1", "mlp.0"]]).right[0], expected)


def test_the_last_of_the_cumulative_sets_leaves_mlps_and_mean_attention() -> None:
    sets = [[str(layer) for layer in range(last + 1)] for last in range(LAYERS)]
    found = removed(made(), [[], *sets])
    assert np.array_equal(found.right[0], found.baseline)
    own = lens()
    mlps = own.of_mlps(Stored.of(outputs(N, 2))).sum(1)
    attention = own.of_heads(Stored.of(outputs(N, 1))).sum((1, 2)).mean(0)
    scores = (mlps + attention).numpy() @ VECTORS.T.astype(np.float32)
    assert np.array_equal(found.right[-1], credit(scores, np.arange(6), LABELS))


def test_labels_come_from_the_data_and_not_from_the_order() -> None:
    order = RNG.permutation(N)
    shuffled = {name: values[order] for name, values in outputs(N, 2).items()}
    known = {"validation": outputs(N, 1), "test": shuffled}
    other = given(known, LABELS[order], VECTORS, codes={**CODES, "test": CODES["test"][order]})
    one, two = removed(made(), [["0.0"]]), removed(other, [["0.0"]])
    assert np.array_equal(one.right[:, order], two.right)


def test_terms_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ValueError, match="has no term 7"):
        members("7.1", lens())
    with pytest.raises(ValueError, match="cls goes with MLPs only"):
        removed(made(), [["cls", "0"]])


def test_a_head_that_is_a_feature_is_told_by_it() -> None:
    """Head 0 of layer 1 is the colour with noise, the other one noise; both are told apart on other images."""
    columns = {"validation": outputs(N, 1), "test": outputs(N, 2)}
    points = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32) * 30
    codes = {name: np.eye(16, dtype=np.uint8)[np.arange(N) % 16] for name in columns}
    for name, one in columns.items():
        one["heads"][:, 1, 0] = points[codes[name].argmax(1) // 4]
        one["scale"][:] = 1
        one["embedding"][:] = 1
    found = factors(given(columns, LABELS, VECTORS, codes=codes))
    names = list(found.fitted)
    share = found.between.sum(1) / found.total.sum(0)
    position = members("1.0", lens())[0]
    assert share[names.index("color"), position] > 0.99
    assert share[names.index("shape"), position] < 0.1
    assert share[names.index("color"), members("1.1", lens())[0]] < 0.3
