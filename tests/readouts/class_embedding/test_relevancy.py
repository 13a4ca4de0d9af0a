from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from frozen.capture.capture import capture
from frozen.capture.reductions import WholeSite
from frozen.capture.sites import Site
from readouts.class_embedding.deletion import PROBE_RANKS, Deletion, Order, area, kept_counts, paper_area
from readouts.class_embedding.head_relevancy import HeadRelevancy
from readouts.class_embedding.memories import other_classes
from readouts.class_embedding.relevancy import Loss, Softmax
from tests.readouts.class_embedding.nets import N_CLASSES, Pictures, columns_of, net


def loss_of(logits: torch.Tensor, classes: torch.Tensor, name: Loss) -> torch.Tensor:
    """Written out, over all images."""
    chosen = torch.nn.functional.one_hot(classes, logits.shape[1]).bool()
    if name == "logit":
        return -logits[chosen].sum()
    scores = logits.exp() / logits.exp().sum(1, keepdim=True) if name == "double" else logits
    return (torch.logsumexp(scores, 1) - scores[chosen]).sum()


def by_autograd(model: Any, split: Pictures, classes: np.ndarray, loss_name: Loss) -> np.ndarray:
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
        loss = loss_of(model.head.project(added[:, 0]), torch.tensor(classes), loss_name)
        (slope,) = torch.autograd.grad(loss, weights)
        n_prefix = model.description.layout.n_prefix
        total -= slope.sum(1)[:, 0, n_prefix:].numpy()
    return total


@pytest.mark.parametrize(
    ("order", "softmax"),
    [("relevancy", "single"), ("relevancy", "double"), ("logit", "single"), ("other_class", "double")],
)
@pytest.mark.parametrize("kind", ["token", "layer_scale", "registers", "distilled", "beit"])
def test_the_closed_form_is_what_autograd_finds(kind: str, order: Order, softmax: Softmax) -> None:
    model, split = net(kind, double=True), Pictures(16)
    reduction = Deletion(3, (16,), (order,), softmax)
    found = columns_of(capture(model, split, [reduction])[reduction])["maps"][:, 0]
    classes = other_classes(N_CLASSES, 0)[split.classes] if order == "other_class" else split.classes
    loss: Loss = "logit" if order == "logit" else softmax
    true = by_autograd(net(kind, double=True), split, classes, loss)
    assert np.abs(found - true).max() <= 1e-5 * np.abs(true).max()


def test_maps_of_heads_make_the_map_of_all() -> None:
    model, split = net("registers"), Pictures(16)
    heads, whole = HeadRelevancy(3, "double"), Deletion(3, (), ("relevancy",), "double")
    tables = capture(model, split, [heads, whole])
    found, true = columns_of(tables[heads])["relevancy"], columns_of(tables[whole])["maps"][:, 0]
    assert found.shape == (16, 3, 3, 16)
    assert np.abs(found.sum((1, 2)) - true).max() <= 1e-5 * np.abs(true).max()
    assert np.abs(found[:, :, :2].sum((1, 2)) - true).max() > 1e-2 * np.abs(true).max()


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
    embed = WholeSite(Site("embed"))
    tokens = torch.tensor(columns_of(capture(model, split, [embed])[embed])["activations"])
    alone = right_of(model, tokens[:, :1], split)
    assert (correct[:, 0, 0, 0] == alone).all()
    maps = columns_of(tables[reduction])["maps"][:, 2]
    for end, places in enumerate((slice(0, 8), slice(8, 16))):
        kept = np.sort(np.argsort(-maps, axis=1, kind="stable")[:, places], axis=1) + 1
        rows = [torch.cat([x[:1], x[torch.from_numpy(k)]]) for x, k in zip(tokens, kept, strict=True)]
        assert (correct[:, 2, end, 1] == right_of(model, torch.stack(rows), split)).all()


def right_of(model: Any, tokens: torch.Tensor, split: Pictures) -> np.ndarray:
    """Whether the model is right when it sees these tokens alone, as they enter its first block."""
    with torch.no_grad():
        for block in model.trunk.blocks:
            tokens = block(tokens)
        return model.head.project(tokens)[:, 0].argmax(1).numpy() == split.classes


def test_the_order_of_probes_keeps_what_they_rank_best() -> None:
    """Given maps that are the share of the class, the curve is that of the oracle."""
    model, split = net("token"), Pictures(32)
    oracle = Deletion(3, (4, 8), ("mask",))
    table = columns_of(capture(model, split, [oracle])[oracle])
    for place, end in enumerate(("most", "least")):
        given = Deletion(3, (4, 8), ("probe",), ends=(end,))
        tables = capture(model, split, [given], labels={PROBE_RANKS: table["maps"][:, 0]})
        assert (columns_of(tables[given])["correct"][:, 0, 0] == table["correct"][:, 0, place]).all()


def test_areas_of_a_flat_curve() -> None:
    counts = kept_counts(49, None)
    assert counts == tuple(range(50))
    flat = np.full((10, 50), 0.5)
    assert area(flat, counts) == pytest.approx(np.full(10, 0.5))
    assert paper_area(flat, counts).mean() == pytest.approx(48 / 49)
    assert kept_counts(64, 4) == (0, 16, 32, 48, 64)
