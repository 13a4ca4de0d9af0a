from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from frozen.capture.capture import capture
from frozen.capture.reductions import WholeSite
from frozen.capture.sites import Site
from readouts.class_embedding.deletion import Deletion, area, kept_counts, paper_area
from readouts.class_embedding.relevancy import class_loss
from tests.readouts.class_embedding.nets import Pictures, columns_of, net


def by_autograd(model: Any, split: Pictures, softmax: Any) -> np.ndarray:
    """-dl / dA of every block's own projection, through attention weights that are written out."""
    total = np.zeros((len(split), 16))
    seen: list[torch.Tensor] = []
    outputs: list[torch.Tensor] = []

    def keep(_module: Any, _inputs: Any, weights: torch.Tensor) -> torch.Tensor:
        seen.append(weights.detach().requires_grad_())
        return seen[-1]

    handles = []
    for block in model.trunk.blocks:
        block.attn.fused_attn = False
        handles += [
            block.attn.attn_drop.register_forward_hook(keep),
            block.drop_path1.register_forward_hook(lambda _m, _i, out: outputs.append(out)),
            block.register_forward_pre_hook(lambda _m, inputs: (inputs[0].detach(),)),
        ]
    model.trunk.run(split.pixels)
    for handle in handles:
        handle.remove()
    for weights, added in zip(seen, outputs, strict=True):
        loss = class_loss(model.head.project(added[:, 0]), torch.tensor(split.classes), softmax).sum()
        (slope,) = torch.autograd.grad(loss, weights)
        n_prefix = model.description.layout.n_prefix
        total -= slope.sum(1)[:, 0, n_prefix:].numpy()
    return total


@pytest.mark.parametrize("softmax", ["single", "double"])
@pytest.mark.parametrize("kind", ["token", "layer_scale", "registers"])
def test_the_closed_form_is_what_autograd_finds(kind: str, softmax: Any) -> None:
    model, split = net(kind), Pictures(16)
    reduction = Deletion(3, (16,), ("relevancy",), softmax)
    found = columns_of(capture(model, split, [reduction])[reduction])["maps"][:, 0]
    true = by_autograd(net(kind), split, softmax)
    assert np.abs(found - true).max() <= 1e-4 * np.abs(true).max()


def test_the_two_softmaxes_order_tokens_differently() -> None:
    one, two = (Deletion(3, (16,), ("relevancy",), softmax) for softmax in ("single", "double"))
    tables = capture(net("token"), Pictures(16), [one, two])
    orders = [columns_of(tables[reduction])["maps"][:, 0].argsort(1) for reduction in (one, two)]
    assert (orders[0] == orders[1]).mean() < 0.9


def test_chefer_in_batches_is_a_loop_over_images_and_never_negative() -> None:
    model, split = net("registers"), Pictures(20)
    reduction = Deletion(3, (16,), ("chefer",))
    found = columns_of(capture(model, split, [reduction])[reduction])["maps"][:, 0]
    alone = [
        columns_of(capture(model, split, [reduction], indices=np.array([i]))[reduction])["maps"][0, 0]
        for i in range(20)
    ]
    assert np.abs(found - np.stack(alone)).max() < 1e-5
    assert found.min() >= 0
    assert found.std() > 0


def test_all_tokens_are_the_whole_model_and_none_leave_cls_alone() -> None:
    model, split = net("token"), Pictures(32)
    reduction = Deletion(3, (0, 8, 16), ("relevancy", "random", "mask"), n_random=2)
    output = WholeSite(Site.parse("logits"))
    tables = capture(model, split, [reduction, output])
    correct = columns_of(tables[reduction])["correct"]
    right = columns_of(tables[output])["activations"].argmax(1) == split.classes
    assert (correct[..., 2] == right[:, None, None]).all()
    assert (correct[..., 0] == correct[:, :1, :1, 0]).all()


def test_areas_of_a_flat_curve() -> None:
    counts = kept_counts(49, None)
    assert counts == tuple(range(50))
    flat = np.full((10, 50), 0.5)
    assert area(flat, counts) == pytest.approx(np.full(10, 0.5))
    assert paper_area(flat, counts).mean() == pytest.approx(48 / 49)
    assert kept_counts(64, 4) == (0, 16, 32, 48, 64)
