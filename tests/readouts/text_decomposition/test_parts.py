"""Orthogonality of heads."""

from __future__ import annotations

import pytest
import torch

from readouts.text_decomposition.orthogonality import by_chance, orthogonality


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
