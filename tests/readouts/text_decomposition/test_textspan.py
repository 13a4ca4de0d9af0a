"""TextSpan on heads whose texts are known, and against the paper's loop over images."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from readouts.text_decomposition.textspan import Moments, Span, naive_text_span, text_span, turned


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def span_of(terms: Tensor, texts: Tensor, n_texts: int, rank: int | None = None) -> Span:
    """Of one head whose coordinates are its terms."""
    basis = torch.eye(terms.shape[1], dtype=torch.float64)[None]
    return text_span(Moments.of(terms[:, None]), basis, texts, n_texts, rank)


def planted(noise: float = 0.0) -> tuple[Tensor, Tensor, list[int]]:
    """Six orthonormal texts with deviations 5..0.5 among 200 random ones: terms, texts and where the six are."""
    random = generator()
    frame = torch.linalg.qr(torch.randn(64, 64, generator=random, dtype=torch.float64))[0][:6]
    scales = torch.tensor([5, 4, 3, 2, 1, 0.5], dtype=torch.float64)
    terms = torch.randn(2000, 6, generator=random, dtype=torch.float64) * scales @ frame
    terms += noise * torch.randn(terms.shape, generator=random, dtype=torch.float64)
    others = normalize(torch.randn(200, 64, generator=random, dtype=torch.float64), dim=1)
    places = [13, 170, 55, 90, 3, 120]
    others[places] = frame
    return terms, others, places


@pytest.mark.parametrize(("noise", "rank"), [(0.0, None), (0.1, 7)])
def test_planted_texts_come_first_in_order_of_their_variance(noise: float, rank: int | None) -> None:
    terms, texts, places = planted(noise)
    found = span_of(terms, texts, 6, rank)
    assert found.texts[0].tolist() == places
    shares = found.explained[0]
    assert (shares.diff() < 0).all()
    assert 0.97 < float(shares.sum()) <= 1 + 1e-9
    expected = torch.tensor([25, 16, 9, 4, 1, 0.25], dtype=torch.float64)
    assert torch.allclose(shares, expected / expected.sum(), atol=0.03)


def test_directions_are_orthonormal_and_as_many_as_the_rank_rebuild_everything() -> None:
    terms, texts, _ = planted()
    found = span_of(terms, texts, 6)
    frame = found.directions[0]
    assert float((frame @ frame.T - torch.eye(6)).abs().max()) < 1e-10
    centred = terms - terms.mean(0)
    assert float((centred @ frame.T @ frame - centred).norm() / centred.norm()) < 1e-6
    assert float(found.explained.sum()) == pytest.approx(1, abs=1e-9)


def test_what_is_left_of_a_text_keeps_its_length() -> None:
    """Of texts e1, nearly e1, and .3 e2 + .95 e3, the second is short once e1 is taken away: the third is chosen.

    With lengths restored the second one would be, because all of what is left of it lies along e2.
    """
    terms = torch.randn(4000, 2, generator=generator(), dtype=torch.float64) * torch.tensor([5.0, 1.0])
    terms = torch.cat([terms, torch.zeros(4000, 1, dtype=torch.float64)], dim=1)
    terms[:, 2] += 1e-3 * torch.randn(4000, generator=generator(1), dtype=torch.float64)
    texts = normalize(torch.tensor([[1, 0, 0], [1, 0.05, 0], [0, 0.3, 0.954]], dtype=torch.float64), dim=1)
    assert span_of(terms, texts, 2).texts[0].tolist() == [0, 2]


@pytest.mark.parametrize(("n_images", "duplicates"), [(30, False), (400, False), (400, True)])
def test_batched_equals_the_loop_over_images(n_images: int, duplicates: bool) -> None:
    random = generator(4)
    basis = torch.randn(5, 48, 9, generator=random, dtype=torch.float64)
    coordinates = torch.randn(n_images, 5, 9, generator=random, dtype=torch.float64) * torch.linspace(0.3, 3, 9) + 1
    texts = normalize(torch.randn(80, 48, generator=random, dtype=torch.float64), dim=1)
    texts = torch.cat([texts, texts[:40]]) if duplicates else texts
    found = text_span(Moments.of(coordinates), basis, texts, 7)
    for head in range(5):
        terms = coordinates[:, head] @ basis[head].T
        numbers, rebuilt = naive_text_span(terms, texts, 7, rank=9)
        assert found.texts[head].tolist() == numbers.tolist()
        assert len(set((found.texts[head] % 80).tolist())) == 7, "a text was chosen twice"
        frame, mean = found.directions[head], terms.mean(0)
        own = mean + (terms - mean) @ frame.T @ frame
        assert float((own - rebuilt).norm() / rebuilt.norm()) < 1e-5
        assert float(rebuilt.std(0).max()) > 0.1, "all images were rebuilt alike"
        assert torch.allclose((rebuilt - mean) @ frame.T, (terms - mean) @ frame.T)


def test_heads_of_different_rank_are_measured_together() -> None:
    random = generator(5)
    full = torch.randn(200, 6, generator=random, dtype=torch.float64)
    poor = full.clone()
    poor[:, 3:] = 0
    texts = normalize(torch.randn(60, 6, generator=random, dtype=torch.float64), dim=1)
    basis = torch.eye(6, dtype=torch.float64).expand(2, -1, -1)
    found = text_span(Moments.of(torch.stack([full, poor], dim=1)), basis, texts, 3)
    assert found.texts[1].tolist() == naive_text_span(poor, texts, 3, rank=3)[0].tolist()
    assert float(found.explained[1].sum()) == pytest.approx(1, abs=1e-6)


def test_more_texts_than_directions_are_refused() -> None:
    terms, texts, _ = planted()
    with pytest.raises(ValueError, match="choose fewer than 7 texts"):
        span_of(terms, texts, 7)


def test_rank_limits_what_texts_can_reach() -> None:
    terms, texts, places = planted()
    assert span_of(terms, texts, 2, rank=2).texts[0].tolist() == places[:2]
    with pytest.raises(ValueError, match="choose fewer"):
        span_of(terms, texts, 3, rank=2)


def test_moments_of_parts_add_up() -> None:
    data = torch.randn(50, 3, 4, generator=generator())
    whole, parts = Moments.of(data), Moments.of(data[:20]) + Moments.of(data[20:])
    assert torch.allclose(whole.covariance, parts.covariance)
    expected = torch.cov(data[:, 1].double().T, correction=0)
    assert torch.allclose(whole.covariance[1], expected)


def test_coordinates_permuted_one_by_one_lose_what_they_share() -> None:
    """All of a head's eight coordinates are one number: one text tells it all, and an eighth of it when permuted."""
    random = generator(6)
    one = torch.randn(4000, 1, generator=random, dtype=torch.float64)
    terms = one.expand(-1, 8) + 2
    texts = torch.cat([normalize(torch.ones(1, 8, dtype=torch.float64), dim=1), torch.eye(8, dtype=torch.float64)])
    moments = Moments.of(terms[:, None])
    basis = torch.eye(8, dtype=torch.float64)[None]
    whole = text_span(moments, basis, texts, 1)
    apart = text_span(moments.unmixed(), basis, texts, 1)
    assert float(whole.explained[0]) == pytest.approx(1)
    assert float(apart.explained[0]) == pytest.approx(1 / 8)
    permuted = torch.stack([terms[torch.randperm(4000, generator=random), c] for c in range(8)], dim=1)
    drawn = Moments.of(permuted[:, None])
    assert torch.allclose(drawn.covariance, moments.unmixed().covariance, atol=0.08)
    assert torch.allclose(drawn.mean, moments.unmixed().mean)


def test_coordinates_that_share_nothing_are_left_alone() -> None:
    terms, texts, _ = planted()
    frame = torch.linalg.svd(terms - terms.mean(0), full_matrices=False).Vh[:6]
    own = (terms - terms.mean(0)) @ frame.T
    moments = Moments.of(own[:, None])
    basis = frame.T[None]
    one, other = (text_span(some, basis, texts, 5).explained.sum() for some in (moments, moments.unmixed()))
    assert float(one) == pytest.approx(float(other), abs=1e-6)


def test_rotated_texts_keep_their_angles_and_lose_their_meaning() -> None:
    terms, texts, _ = planted()
    random = turned(texts, generator(2))
    assert torch.allclose(random @ random.T, texts @ texts.T)
    own = float(span_of(terms, texts, 3).explained.sum())
    chance = [float(span_of(terms, turned(texts, generator(seed)), 3).explained.sum()) for seed in range(5)]
    assert max(chance) < own - 0.05
