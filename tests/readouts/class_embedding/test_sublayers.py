from __future__ import annotations

import pytest
import torch

from frozen.capture.capture import capture
from frozen.capture.reductions import WholeSite
from frozen.capture.sites import Site
from readouts.class_embedding.attribution import frozen_logits
from readouts.class_embedding.sublayers import COEFFICIENTS, Sublayer, contribution, value_vectors
from tests.readouts.class_embedding.nets import KINDS, Pictures, columns_of, net


@pytest.mark.parametrize("sublayer", ["attention", "mlp"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_sublayer_adds_what_its_coefficients_make(kind: str, sublayer: Sublayer) -> None:
    model = net(kind)
    sites = [WholeSite(Site("1", COEFFICIENTS[sublayer])), WholeSite(Site("1", sublayer))]
    tables = capture(model, Pictures(8), sites)
    coefficients, added = (torch.tensor(columns_of(tables[site])["activations"]) for site in sites)
    found = contribution(model, 1, sublayer)(coefficients.flatten(2))
    assert torch.allclose(found, added, atol=1e-5)


@pytest.mark.parametrize("sublayer", ["attention", "mlp"])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("mean_pool", "beit")])
def test_folded_value_vectors_make_the_sublayers_attribution(kind: str, sublayer: Sublayer) -> None:
    """E times the folded vectors, divided by the norm's deviation, is what coefficients add to the logits."""
    model = net(kind)
    assert model.head is not None
    reads = Site("1", COEFFICIENTS[sublayer])
    sites = [WholeSite(reads), WholeSite(Site("1", sublayer)), WholeSite(Site("2"))]
    tables = capture(model, Pictures(8), sites)
    coefficients, added, last = (torch.tensor(columns_of(tables[site])["activations"])[:, :1] for site in sites)
    coefficients = coefficients.flatten(2)
    of_bias = contribution(model, 1, sublayer)(torch.zeros_like(coefficients))
    with torch.no_grad():
        true = frozen_logits(model.head, added - of_bias, last)
        norm = model.head.norms[0]
        assert isinstance(norm, torch.nn.LayerNorm)
        sigma = (last.var(-1, unbiased=False) + norm.eps).sqrt()
        for rule in ("folded", "raw"):
            vectors = value_vectors(model, 1, sublayer, rule)
            found = (coefficients @ (model.head.linear.weight @ vectors).T)[:, 0] / sigma
            assert torch.allclose(found, true, atol=2e-4) == (rule == "folded")


def test_folded_vectors_of_a_block_with_a_later_norm_hold_that_norm_too() -> None:
    """The MLP of a ResPostBlock: what a coefficient adds, but for the deviations of the two norms."""
    model = net("mean_pool")
    assert model.head is not None
    assert model.trunk is not None
    block = model.trunk.blocks[1]
    inner, outer = block.get_submodule("norm2"), model.head.norms[1]
    assert isinstance(inner, torch.nn.LayerNorm)
    assert isinstance(outer, torch.nn.LayerNorm)
    w = torch.randn(3, 192, generator=torch.Generator().manual_seed(0)) @ value_vectors(model, 1, "mlp").T
    with torch.no_grad():
        sigma = (w.var(-1, unbiased=False, keepdim=True) + inner.eps).sqrt()
        added = inner(w) - inner.bias
        deviation = (added.var(-1, unbiased=False, keepdim=True) + outer.eps).sqrt()
        true = torch.nn.functional.linear(outer(added) - outer.bias, model.head.linear.weight)
        coefficients = torch.randn(3, 192, generator=torch.Generator().manual_seed(0))
        folded = value_vectors(model, 1, "mlp", "folded")
        found = coefficients @ folded.T @ model.head.linear.weight.T / sigma / deviation
    assert torch.allclose(found, true, atol=1e-4)
