"""All terms sum to the model's own embedding, for every kind of ViT, split and storage."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from readouts.text_decomposition.lens import SPLITS, Lens, pack, unpack
from tests.readouts.text_decomposition.towers import DEPTH, HEADS, KINDS, decomposed, joint, scenes, tower


def error(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("split", SPLITS)
def test_terms_sum_to_the_embedding(kind: str, split: str) -> None:
    lens, stored, _ = decomposed(kind)
    assert len(lens.terms) == DEPTH * HEADS + DEPTH + 1
    assert error(lens.all_terms(stored, split).sum(1), lens.embeddings(stored)) < 1e-5  # pyright: ignore


@pytest.mark.parametrize("kind", KINDS)
def test_the_embedding_is_the_models_own(kind: str) -> None:
    lens, stored, _ = decomposed(kind)
    model, space = tower(kind), joint()
    tokens = model.trunk.run(scenes().images(np.arange(12)))  # pyright: ignore
    own = model.trunk.pool(tokens) @ torch.from_numpy(space.project).T + torch.from_numpy(space.bias)  # pyright: ignore
    assert error(lens.embeddings(stored), own / own.norm(dim=1, keepdim=True)) < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_sum_to_the_heads(kind: str) -> None:
    lens, stored, columns = decomposed(kind)
    by_token = lens.of_tokens(stored, torch.tensor(columns["token_map"]))
    assert error(by_token.sum(1), lens.of_heads(stored).sum((1, 2))) < 1e-5
    if KINDS[kind].get("class_token", True):
        assert error(lens.from_first(stored).sum(1), by_token[:, 0]) < 1e-5
        assert error(lens.from_first(stored).sum(1), by_token[:, 1]) > 0.1, "the first patch is not CLS"


@pytest.mark.parametrize("kind", ["clip", "avg_norm_first"])
def test_splits_differ_in_single_terms(kind: str) -> None:
    lens, stored, _ = decomposed(kind)
    one, other = (lens.all_terms(stored, split) for split in SPLITS)
    assert error(one, other) > 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_storage_in_half_precision_keeps_the_sum(kind: str) -> None:
    lens, stored, columns = decomposed(kind, "float16")
    exact = decomposed(kind)
    assert columns["heads"].dtype == np.float16
    assert error(lens.all_terms(stored).sum(1), lens.embeddings(stored)) < 1e-3
    assert error(lens.all_terms(stored), exact[0].all_terms(exact[1])) < 1e-3


@pytest.mark.parametrize("name", ["output_bias", "norm_bias", "project_bias"])
def test_a_dropped_bias_is_seen(name: str) -> None:
    lens, stored, _ = decomposed("clip")
    faulty = replace(lens, **{name: torch.zeros_like(getattr(lens, name))})
    assert error(faulty.all_terms(stored).sum(1), lens.embeddings(stored)) > 1e-3


def test_a_bias_counted_for_every_token_is_seen() -> None:
    lens, stored, _ = decomposed("clip")
    faulty = replace(lens, output_bias=lens.output_bias * lens.n_tokens)
    assert error(faulty.all_terms(stored).sum(1), lens.embeddings(stored)) > 1e-3


def test_weights_come_back_from_a_file() -> None:
    lens, stored, _ = decomposed("registers_scale_qk_norm")
    again = Lens.from_arrays(unpack(pack(lens.arrays())))
    assert torch.equal(again.all_terms(stored), lens.all_terms(stored))


def test_a_head_is_its_own_column_of_the_output_projection() -> None:
    """Head 0 of block 0 by hand: its output times its part of the projection."""
    lens, stored, _ = decomposed("clip")
    model = tower("clip")
    block = model.trunk.blocks[0]  # pyright: ignore
    width = stored.heads.shape[3]
    wrote = stored.heads[:, 0, 0] @ block.attn.proj.weight[:, :width].T + block.attn.proj.bias / HEADS
    count = 2 * DEPTH + 1
    norm = model.trunk.ending.norm  # pyright: ignore
    shared = (wrote - stored.mean[:, None] / (count * HEADS)) * norm.weight / stored.scale[:, None]
    space = joint()
    shared = (shared + norm.bias / (count * HEADS)) @ torch.from_numpy(space.project).T
    shared = (shared + torch.from_numpy(space.bias) / (count * HEADS)) / stored.norm(lens)[:, None]
    assert error(lens.of_heads(stored)[:, 0, 0], shared) < 1e-5
