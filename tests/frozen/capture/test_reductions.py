from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from frozen.capture import views
from frozen.capture.capture import Images
from frozen.capture.conditions import PLAIN, Condition, Keep, KeepMost, SelfOnly
from frozen.capture.forward import run_batch
from frozen.capture.reductions import Reduction, View, WholeSite
from frozen.capture.sites import Site
from frozen.capture.views import MODES, Mode
from frozen.models import BackboneError, VisionTransformer
from frozen.testing import ReductionConformance
from tests.frozen.capture.examples import ClassRanks, LogitGradient, Names, Relevancy
from tests.frozen.capture.nets import (
    EXACT,
    HEADS,
    N_CLASSES,
    NETS,
    WIDTH,
    Noise,
    backbone,
    backbone_of,
    batch,
    make,
    model_of,
    read,
)

CLASSES = np.array([3, 0, 16, 7, 7])
WORDS = tuple(f"word {i}" for i in range(N_CLASSES))
N = 16


def orders(n_samples: int) -> np.ndarray:
    return np.stack([np.random.default_rng(i).permutation(N) for i in range(n_samples)])


SPLIT = Noise(5, label=CLASSES, order=orders(5), mask=np.random.default_rng(3).random((5, N)) < 0.5)
EXAMPLES: dict[str, tuple[Reduction, Condition]] = {
    "cls": (View(Site("1"), "cls"), PLAIN),
    "mean": (View(Site("0", "attention"), "mean_spatial"), PLAIN),
    "both": (View(Site("2", "heads"), "cls_mean"), PLAIN),
    "all": (View(Site("embed"), "all"), PLAIN),
    "kept": (View(Site("1"), "cls_mean"), KeepMost(5, "order")),
    "masked": (View(Site("1"), "cls"), Keep("mask")),
    "whole": (WholeSite(Site("1", "values")), SelfOnly()),
    "embedding": (WholeSite(Site("final", "embedding")), PLAIN),
    "ranks": (ClassRanks((Site("embed"), Site("1"), Site("1", "mlp")), "label"), PLAIN),
    "names": (Names(Site("1", "logits"), WORDS), Keep("mask")),
    "relevancy": (Relevancy("1", "label"), PLAIN),
    "gradient": (LogitGradient(Site("1", "heads"), "label"), PLAIN),
}


@pytest.fixture(scope="module")
def single() -> VisionTransformer:
    return backbone_of(make(NETS["token"], torch.float32))


@pytest.mark.parametrize("name", EXAMPLES)
class TestConformance(ReductionConformance):
    @pytest.fixture
    def reduction(self, name: str) -> Reduction:
        return EXAMPLES[name][0]

    @pytest.fixture
    def condition(self, name: str) -> Condition:
        return EXAMPLES[name][1]

    @pytest.fixture
    def backbone(self, single: VisionTransformer) -> VisionTransformer:
        return single

    @pytest.fixture
    def split(self) -> Images:
        return SPLIT


@pytest.mark.parametrize("name", ["token", "registers", "gap"])
def test_views_of_layers_are_what_they_always_were(name: str) -> None:
    model, given = backbone_of(make(NETS[name], torch.float32)), batch()
    description = model.description
    modes: list[Mode] = [mode for mode in MODES if views.refuses(mode, description.layout) is None]
    wanted = {(layer, mode): View(Site(layer), mode) for layer in description.layers for mode in modes}
    found = run_batch(model, given, wanted.values())
    tokens = model.forward(given)
    for (layer, mode), view in wanted.items():
        expected = views.read(tokens[layer], mode, description.layout)
        assert torch.equal(found[view]["activations"], expected)  # pyright: ignore
        assert view.columns(description, PLAIN)[0].shape == tuple(expected.shape[1:])
        assert view.key() == {"layer": layer, "mode": mode}


def test_the_mean_of_a_site_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def counted(tokens: Tensor, mode: Mode, layout: Any) -> Tensor:
        calls.append(mode)
        return views.read(tokens, mode, layout)

    monkeypatch.setattr("frozen.capture.reductions.read", counted)
    run_batch(backbone("token"), batch(), [View(Site("1"), mode) for mode in MODES])
    assert sorted(calls) == ["all", "cls", "mean_spatial"]


def test_heads_are_viewed_one_after_the_other() -> None:
    model = backbone("registers")
    site = Site("1", "heads")
    found = run_batch(model, batch(), [View(site, "cls"), View(site, "all"), WholeSite(site)])
    whole: Any = found[WholeSite(site)]["activations"]
    assert torch.equal(found[View(site, "cls")]["activations"], whole[:, 0].flatten(1))  # pyright: ignore
    expected = whole[:, [0, *range(5, 21)]].flatten(2)
    assert torch.equal(found[View(site, "all")]["activations"], expected)  # pyright: ignore
    assert View(site, "all").columns(model.description, PLAIN)[0].shape == (17, WIDTH)
    assert View(Site("1", "heads", 2), "cls").columns(model.description, PLAIN)[0].shape == (WIDTH // HEADS,)


@pytest.mark.parametrize(
    ("reduction", "condition", "net", "message"),
    [
        (View(Site("1"), "cls"), PLAIN, "gap", "mode cls needs a CLS token"),
        (View(Site("1"), "all"), Keep("mask"), "token", "the same number of tokens"),
        (View(Site("1"), "mean_spatial"), KeepMost(0, "order"), "token", "needs spatial tokens"),
        (View(Site("final", "logits"), "cls"), PLAIN, "token", "logits has no tokens"),
        (WholeSite(Site("1")), Keep("mask"), "token", "the same number of tokens"),
    ],
)
def test_what_makes_no_sense_is_refused_without_weights(
    reduction: Reduction, condition: Condition, net: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        reduction.columns(backbone(net).description, condition)


def test_a_missing_classifier_is_named() -> None:
    headless = backbone_of(make(NETS["token"]._replace(settings={"num_classes": 0})))
    with pytest.raises(BackboneError, match="no classifier"):
        run_batch(headless, batch(label=CLASSES[:3]), [ClassRanks((Site("1"),), "label")])


def test_ranks_count_the_classes_before_the_true_one() -> None:
    """Against the full order of all logits; of every class in turn they are all numbers once."""
    model = backbone("token")
    site = Site("2")
    logits = read(model, batch(), "2.logits")["2.logits"]
    position = logits.argsort(-1, descending=True).argsort(-1)
    total = torch.zeros(logits.shape[:2])
    for label in range(N_CLASSES):
        reduction = ClassRanks((site,), "label")
        found: Any = run_batch(model, batch(label=np.full(3, label)), [reduction])[reduction]
        assert torch.equal(found["2.rank"], position[..., label])
        assert torch.equal(found["2.logit"], logits[..., label])
        assert torch.equal(found["2.best"], logits.topk(5, dim=-1).indices)
        total += 1 - found["2.rank"] / N_CLASSES
    torch.testing.assert_close(total / N_CLASSES, torch.full_like(total, (N_CLASSES + 1) / (2 * N_CLASSES)))


def test_sublayers_are_projected_as_the_residual_stream_is() -> None:
    model = backbone("deit3")
    reduction = ClassRanks((Site("1", "attention"),), "label")
    found: Any = run_batch(model, batch(label=CLASSES[:3]), [reduction])[reduction]
    net = model_of(model)
    logits = net.head(net.fc_norm(net.norm(read(model, batch(), "1.attention")["1.attention"])))
    for i in range(3):
        torch.testing.assert_close(found["1.attention.logit"][i], logits[i, :, CLASSES[i]], **EXACT)


@pytest.mark.parametrize("name", ["token", "gap", "registers", "norms", "gated", "dinov3", "eva", "beit", "relpos"])
@pytest.mark.parametrize(
    "site", ["embed", "1", "1.mid", "0.attention", "1.mlp", "1.heads", "1.heads.2", "1.mlp_hidden"]
)
def test_gradients_are_the_slope_of_what_follows(name: str, site: str) -> None:
    """Against a change of the site's numbers by hand, in the middle of the pass."""
    model = backbone(name)
    given = batch(label=CLASSES[:3])
    wanted = Site.parse(site)
    reduction = LogitGradient(wanted, "label")
    gradient: Any = run_batch(model, given, [reduction])[reduction]["gradient"]
    assert gradient.abs().max() > 1e-6
    direction = torch.randn(gradient.shape, generator=torch.Generator().manual_seed(0), dtype=gradient.dtype)
    step = 1e-5
    up, down = (changed_logit(model, wanted, sign * step * direction) for sign in (1, -1))
    slope = (gradient * direction).flatten(1).sum(1)
    torch.testing.assert_close((up - down) / (2 * step), slope, rtol=1e-5, atol=1e-7)


def test_a_gradient_by_the_last_tokens_alone_runs_through_the_classifier() -> None:
    model = backbone("registers")
    reduction = LogitGradient(Site("final"), "label")
    found: Any = run_batch(model, batch(label=CLASSES[:3]), [reduction])[reduction]["gradient"]
    assert torch.equal(found[:, 0], model_of(model).head.weight[torch.from_numpy(CLASSES[:3])])
    assert (found[:, 1:] == 0).all()


def changed_logit(model: VisionTransformer, site: Site, change: Tensor) -> Tensor:
    """The true class's logit where something is added to what runs through a site."""
    trunk = model.trunk
    assert trunk is not None
    if site.part == "residual":
        module, side = trunk.blocks[0 if site.layer == "embed" else int(site.layer)], "output"
        side = "input" if site.layer == "embed" else side
    else:
        part = "attention" if site.part == "mid" else site.part  # what is added there reaches all that follows
        point = trunk.parts[int(site.layer)].points[part]
        module, side = point.module, point.side
    if site.head is not None:
        full = torch.zeros(*change.shape[:2], HEADS, change.shape[-1], dtype=change.dtype)
        full[:, :, site.head] = change
        change = full
    flat = change.flatten(2)
    if side == "input":
        handle = module.register_forward_pre_hook(lambda _module, inputs: (inputs[0] + flat, *inputs[1:]))
    else:
        handle = module.register_forward_hook(lambda _module, _inputs, output: output + flat)
    try:
        logits = read(model, batch(), "logits")["logits"]
    finally:
        handle.remove()
    return logits[torch.arange(3), torch.from_numpy(CLASSES[:3])]


@pytest.mark.parametrize("name", ["token", "gap", "deit3", "registers", "clip", "eva", "beit"])
@pytest.mark.parametrize("double", [True, False])
def test_relevancy_in_closed_form_is_the_derivative_by_attention_weights(name: str, double: bool) -> None:
    model = backbone(name)
    given = batch(label=CLASSES[:3])
    reduction = Relevancy("1", "label", double)
    found: Any = run_batch(model, given, [reduction])[reduction]["relevancy"]
    block, head = model_of(model).blocks[1], model.head
    assert head is not None
    tokens = {name: value.clone() for name, value in read(model, given, "0").items()}["0"]
    weights: list[Tensor] = []
    sums: list[Tensor] = []

    def show(_module: Any, _inputs: Any, output: Tensor) -> Tensor:
        weights.append(output.detach().requires_grad_())
        return weights[-1]

    block.attn.fused_attn = False
    handles = [
        block.attn.attn_drop.register_forward_hook(show),
        block.drop_path1.register_forward_hook(lambda _module, _inputs, output: sums.append(output)),
    ]
    try:
        block(tokens)
    finally:
        block.attn.fused_attn = True
        for handle in handles:
            handle.remove()
    logits = head.project(sums[0])[:, 0]
    scores = logits.softmax(-1) if double else logits
    loss = torch.nn.functional.cross_entropy(scores, torch.from_numpy(CLASSES[:3]), reduction="sum")
    (expected,) = torch.autograd.grad(loss, weights[0])
    torch.testing.assert_close(found, -expected[:, :, 0, model.description.layout.n_prefix :], rtol=1e-9, atol=1e-14)


def test_beside_a_gradient_other_reductions_take_plain_tensors() -> None:
    model = backbone("token")
    view, gradient = View(Site("1"), "cls"), LogitGradient(Site("1"), "label")
    given = batch(label=CLASSES[:3])
    found = run_batch(model, given, [view, gradient])
    value: Any = found[view]["activations"]
    assert not value.requires_grad
    torch.testing.assert_close(value, run_batch(model, given, [view])[view]["activations"], **EXACT)
    assert all(parameter.grad is None for parameter in model_of(model).parameters())
