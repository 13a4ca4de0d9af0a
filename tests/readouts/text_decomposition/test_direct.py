"""Terms against a separate computation of every head, token and layer, from the weights of the model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from frozen.capture.capture import capture
from readouts.text_decomposition.capture import ImageTerms
from readouts.text_decomposition.lens import Lens, Stored
from tests.readouts.text_decomposition.towers import DEPTH, HEADS, WIDTH, columns, joint, scenes, tower

CHOSEN = ((2, 1), (0, 3))
KINDS = ("clip", "registers_scale_qk_norm", "no_biases")


def error(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())


@torch.no_grad()
def direct(model: Any) -> tuple[Tensor, Tensor]:
    """Attention terms [image layer token head joint] and MLP terms [image layer+1 joint] by the paper's formulas.

    Attention of the CLS row is made of queries, keys and values; nothing is shared with the capture.
    """
    blocks, norm = model.trunk.blocks, model.trunk.ending.norm
    inputs: dict[str, Tensor] = {}
    handles = [blocks[0].register_forward_pre_hook(lambda _, given: inputs.update(start=given[0]))]
    model.trunk.run(scenes().images(np.arange(12)))
    for handle in handles:
        handle.remove()
    tokens = inputs["start"]
    attention, mlps = [], [tokens[:, 0]]
    for block in blocks:
        own, given = block.attn, block.norm1(tokens)
        query, key, value = own.qkv(given).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        query, key = own.q_norm(query), own.k_norm(key)
        weights = (query @ key.transpose(2, 3) / query.shape[-1] ** 0.5).softmax(-1)
        projection = own.proj.weight.unflatten(1, (HEADS, -1))
        bias = torch.zeros(WIDTH) if own.proj.bias is None else own.proj.bias
        scale = getattr(block.ls1, "gamma", 1.0)
        n_tokens = tokens.shape[1]
        wrote = torch.einsum("bhn,bhnd,whd->bnhw", weights[:, :, 0], value, projection)
        attention.append((wrote + bias / (n_tokens * HEADS)) * scale)
        whole = torch.einsum("bhqn,bhnd->bqhd", weights, value).flatten(2)
        tokens = tokens + block.ls1(own.proj(whole))
        added = block.ls2(block.mlp(block.norm2(tokens)))
        tokens = tokens + added
        mlps.append(added[:, 0])
    return _folded(model, tokens[:, 0], torch.stack(attention, 1), torch.stack(mlps, 1), norm)


def _folded(model: Any, last: Tensor, attention: Tensor, mlps: Tensor, norm: Any) -> tuple[Tensor, Tensor]:
    space = joint()
    project, bias = torch.from_numpy(space.project), torch.from_numpy(space.bias)
    mean = last.mean(-1)
    scale = (last.var(-1, correction=0) + norm.eps).sqrt()
    length = (norm(last) @ project.T + bias).norm(dim=1)
    count = 2 * DEPTH + 1

    def fold(term: Tensor, share: float) -> Tensor:
        shape = (-1, *[1] * (term.ndim - 1))
        inner = (term - mean.view(shape) * share) * norm.weight / scale.view(shape) + norm.bias * share
        return (inner @ project.T + bias * share) / length.view(shape)

    n_parts = attention.shape[2] * attention.shape[3]
    return fold(attention, 1 / (count * n_parts)), fold(mlps, 1 / count)


def kept(model: Any, layers: tuple[int, ...] | None = None) -> tuple[Lens, Stored, dict[str, np.ndarray]]:
    reduction = ImageTerms(DEPTH, True, layers, CHOSEN)
    found = columns(next(iter(capture(model, scenes(), [reduction], dtype="float32").values())))
    return Lens.of(model, joint()), Stored.of(found), found


@pytest.mark.parametrize("kind", KINDS)
def test_every_term_is_that_of_the_formulas(kind: str) -> None:
    model = tower(kind)
    attention, mlps = direct(model)
    lens, stored, found = kept(model)
    assert error(lens.of_heads(stored), attention.sum(2)) < 1e-5
    assert error(lens.of_mlps(stored), mlps) < 1e-5
    by_token = lens.of_tokens(stored, torch.tensor(found["token_map"]))
    assert error(by_token, attention.sum((1, 3))) < 1e-5
    assert error(lens.from_first(stored), attention[:, :, 0].sum(2)) < 1e-5
    assert error(lens.from_first(stored), attention[:, :, 1].sum(2)) > 0.1, "the first patch is not CLS"
    whole = by_token.sum(1) + lens.of_mlps(stored).sum(1)
    assert error(whole, lens.embeddings(stored)) < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_single_heads_by_token(kind: str) -> None:
    model = tower(kind)
    attention, _ = direct(model)
    lens, stored, found = kept(model)
    for number, (layer, head) in enumerate(CHOSEN):
        own = lens.of_head_tokens(stored, torch.tensor(found["token_heads"][:, number]), layer, head)
        assert error(own, attention[:, layer, :, head]) < 1e-5
        assert error(own.sum(1), lens.of_heads(stored)[:, layer, head]) < 1e-5
        assert error(own, attention[:, layer, :, (head + 1) % HEADS]) > 0.1


def test_a_map_of_some_layers_alone() -> None:
    model = tower("clip")
    attention, _ = direct(model)
    lens, stored, found = kept(model, (0, 2))
    own = lens.of_tokens(stored, torch.tensor(found["token_map"]), [0, 2])
    assert error(own, attention[:, [0, 2]].sum((1, 3))) < 1e-5
    assert error(own, attention.sum((1, 3))) > 0.1


@pytest.mark.parametrize("kind", ["avg_fc_norm", "avg_norm_first"])
def test_single_heads_of_pooled_tokens_sum_to_their_terms(kind: str) -> None:
    lens, stored, found = kept(tower(kind))
    for number, (layer, head) in enumerate(CHOSEN):
        own = lens.of_head_tokens(stored, torch.tensor(found["token_heads"][:, number]), layer, head)
        assert error(own.sum(1), lens.of_heads(stored)[:, layer, head]) < 1e-5


def test_a_share_of_the_bias_over_one_term_too_few_is_seen() -> None:
    """The norm's bias belongs to 2L + 1 terms; spread over 2L it is counted once too much."""
    lens, stored, _ = kept(tower("clip"))
    faulty = replace(lens, norm_bias=lens.norm_bias * (2 * DEPTH + 1) / (2 * DEPTH))
    assert error(faulty.all_terms(stored).sum(1), lens.embeddings(stored)) > 1e-3
    assert error(lens.all_terms(stored).sum(1), lens.embeddings(stored)) < 1e-5


def test_storage_in_half_precision_keeps_the_best_class() -> None:
    model = tower("clip")
    lens, stored, _ = kept(model)
    half = columns(next(iter(capture(model, scenes(), [ImageTerms(DEPTH)], dtype="float16").values())))
    classes = torch.randn(20, len(joint().project), generator=torch.Generator().manual_seed(0))
    one, other = (lens.all_terms(some).sum(1) @ classes.T for some in (stored, Stored.of(half)))
    assert torch.equal(one.argmax(1), other.argmax(1))
    assert float((one - other).abs().max()) > 0, "nothing was rounded"


def test_what_came_later_is_named_only_where_it_says_something() -> None:
    assert ImageTerms(3, True).key() == {
        "reduction": "image_terms",
        "reduction_version": 1,
        "blocks": 3,
        "tokens": True,
    }
    assert ImageTerms(3, True, (1,)).key()["token_layers"] == [1]
    assert ImageTerms(3, True, None, CHOSEN).key()["token_heads"] == [[2, 1], [0, 3]]
