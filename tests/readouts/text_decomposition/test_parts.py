"""Orthogonality of heads, and pooling heads."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from frozen.models import BackboneError
from frozen.models._torchvision_ops import declare_missing_operators
from readouts.text_decomposition.orthogonality import by_chance, orthogonality
from readouts.text_decomposition.pooling_head import pooling_terms


def test_heads_in_random_directions_and_a_copied_head() -> None:
    terms = torch.randn(800, 4, 64, generator=torch.Generator().manual_seed(0)) + 3
    terms[:, 3] = 2 * terms[:, 0] + 1  # the same but for length and mean
    found = orthogonality(terms.split(300), terms.mean(0))
    assert torch.allclose(found.diagonal(), torch.ones(4), atol=1e-5)
    assert float(found[0, 3]) == pytest.approx(1, abs=1e-4)
    assert float(found[0, 1]) == pytest.approx(by_chance(64), rel=0.05)
    assert torch.allclose(found, orthogonality([terms], terms.mean(0)), atol=1e-5)


def test_orthogonal_heads_have_no_cosine() -> None:
    terms = torch.zeros(50, 2, 8)
    terms[:, 0, :4] = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    terms[:, 1, 4:] = torch.randn(50, 4, generator=torch.Generator().manual_seed(1))
    assert float(orthogonality([terms], terms.mean(0))[0, 1]) < 1e-6


@pytest.mark.parametrize("qk_norm", [False, True])
def test_a_pooling_head_is_the_sum_of_its_heads_tokens_bias_and_mlp(qk_norm: bool) -> None:
    declare_missing_operators()
    from timm.layers import AttentionPoolLatent

    torch.manual_seed(0)
    pool: Any = AttentionPoolLatent(
        32, num_heads=4, mlp_ratio=2, qk_norm=qk_norm, norm_layer=torch.nn.LayerNorm
    ).eval()
    for parameter in pool.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape)
    tokens = torch.randn(3, 10, 32)
    with torch.no_grad():
        own = pool(tokens)
    found = pooling_terms(pool, tokens)
    assert found.heads.shape == (3, 4, 10, 32)
    assert float((found.sum() - own).norm() / own.norm()) < 1e-5
    assert float((found.sum() - found.bias - own).norm() / own.norm()) > 1e-2


def test_another_pooling_head_is_refused() -> None:
    with pytest.raises(BackboneError, match="no attention pool"):
        pooling_terms(torch.nn.Identity(), torch.zeros(1, 2, 3))
