from __future__ import annotations

import pytest
import torch

from frozen.capture.capture import capture
from frozen.capture.reductions import WholeSite
from frozen.capture.sites import Site
from readouts.class_embedding.attribution import Attribution, added_sites, frozen_logits
from tests.readouts.class_embedding.nets import KINDS, Pictures, columns_of, net


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "distilled"])
def test_all_that_is_added_makes_the_last_block_and_the_logits(kind: str) -> None:
    model, split = net(kind), Pictures(20)
    output, reduction = WholeSite(Site.parse("logits")), Attribution(3)
    wholes = [WholeSite(site) for site in (*added_sites(3), Site("2"))]
    tables = capture(model, split, [reduction, output, *wholes])
    *added, last = (torch.tensor(columns_of(tables[whole])["activations"]) for whole in wholes)
    assert float((sum(added) - last).abs().max()) <= 1e-4
    assert float((sum(added[:-1]) - last).abs().max()) > 1e-2, "without the last MLP the sum must differ"
    logits = columns_of(tables[output])["activations"]
    centred = (logits - logits.mean(1, keepdims=True))[range(20), split.classes]
    found = columns_of(tables[reduction])
    assert abs(found["attribution"].sum(1) + found["rest"] - centred).max() <= 1e-4
    assert abs(found["attribution"][:, :-1].sum(1) + found["rest"] - centred).max() > 1e-2


def test_logits_of_two_classifiers_are_not_shared_out() -> None:
    with pytest.raises(ValueError, match="neither its CLS token nor the mean"):
        capture(net("distilled"), Pictures(4), [Attribution(3)])


def test_a_token_of_its_own_scale_gives_the_projection_without_biases() -> None:
    model = net("token")
    assert model.head is not None
    tokens = torch.randn(5, 1, 48, generator=torch.Generator().manual_seed(0))
    norm, _ = model.head.norms
    biases = model.head.linear(norm.bias)  # pyright: ignore
    assert torch.allclose(
        frozen_logits(model.head, tokens, tokens) + biases, model.head.project(tokens)[:, 0], atol=1e-5
    )
