"""TextSpan (paper, algorithm 1) for many heads at once, on Gram matrices: no step looks at images again.

A head's terms C [images J] are basis @ coordinates, so that everything TextSpan needs of them are first and second
moments of D + 3 coordinates. Texts are projected to the top right singular vectors of C; each step takes the text
along which C varies most, and removes its direction from C and from all texts, whose lengths are not restored:
a text of which little is left is not chosen for what is left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

_SMALLEST = 1e-5
"""Length of what is left of a text, and of a singular value as a share of the largest one, that counts as nothing."""


@dataclass(frozen=True, eq=False)
class Moments:
    """First and second moments of the coordinates of G heads, which can be added up.

    Attributes:
        count: images.
        first: float64 [G D], sums.
        second: float64 [G D D], sums of products.
    """

    count: int
    first: Tensor
    second: Tensor

    @classmethod
    def of(cls, coordinates: Float[Tensor, "image head coordinate"]) -> Moments:
        """Of some images."""
        wide = coordinates.double().transpose(0, 1)
        return cls(len(coordinates), wide.sum(1), wide.transpose(1, 2) @ wide)

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.count + other.count, self.first + other.first, self.second + other.second)

    @property
    def mean(self) -> Tensor:
        """[G D]."""
        return self.first / self.count

    @property
    def covariance(self) -> Tensor:
        """[G D D]."""
        mean = self.mean
        return self.second / self.count - mean[:, :, None] * mean[:, None]

    def unmixed(self) -> Moments:
        """What is expected where each coordinate is permuted among the images by itself: no two go together."""
        mean = self.mean
        apart = torch.diag_embed(self.covariance.diagonal(dim1=1, dim2=2)) + mean[:, :, None] * mean[:, None]
        return Moments(self.count, self.first, apart * self.count)


class Span(NamedTuple):
    """What TextSpan chose for G heads.

    Attributes:
        texts: [G m], numbers of the texts in the order in which they were chosen.
        directions: float64 [G m J], orthonormal; a reconstruction is the projection on them, plus the mean.
        explained: float64 [G m], share of the variance of the images used that lies along each direction.
    """

    texts: Int[Tensor, "head chosen"]
    directions: Float[Tensor, "head chosen joint"]
    explained: Float[Tensor, "head chosen"]


def text_span(
    moments: Moments,
    basis: Float[Tensor, "head joint coordinate"],
    texts: Float[Tensor, "text joint"],
    n_texts: int,
    rank: int | None = None,
) -> Span:
    """Choose texts for every head.

    Args:
        moments: of the coordinates.
        basis: from coordinates to the joint space.
        texts: unit vectors.
        n_texts: m.
        rank: most singular vectors that texts are projected to; never more than C has.

    Raises:
        ValueError: more texts than directions that the heads or the texts have.
    """
    frames, covariance, total = _frames(moments, basis, rank)
    left = torch.einsum("tj,gjk->gtk", texts.double(), frames)
    whole = covariance.clone()
    heads = torch.arange(len(left))
    chosen, directions, explained = [], [], []
    variance = torch.einsum("gtk,gkl,gtl->gt", left, whole, left)
    for step in range(n_texts):
        length = left.norm(dim=2)
        candidates = torch.where(length > _SMALLEST, variance, -torch.inf)
        best = candidates.argmax(1)
        if not torch.isfinite(candidates[heads, best]).all():
            raise ValueError(
                f"after {step} texts there is nothing left to choose from: the pool, or the outputs of a head, has "
                f"no more directions; choose fewer than {n_texts} texts"
            )
        direction = left[heads, best] / length[heads, best, None]
        along = torch.einsum("gkl,gl->gk", whole, direction)
        share = (direction * along).sum(1)
        reach, cross = torch.einsum("gtk,gk->gt", left, direction), torch.einsum("gtk,gk->gt", left, along)
        variance = (variance - 2 * reach * cross + reach**2 * share[:, None]).clamp_min(0)
        left = left - reach[:, :, None] * direction[:, None]
        left[heads, best] = 0
        outer = along[:, :, None] * direction[:, None]
        whole = (
            whole - outer - outer.transpose(1, 2) + share[:, None, None] * direction[:, :, None] * direction[:, None]
        )
        chosen.append(best)
        directions.append(torch.einsum("gjk,gk->gj", frames, direction))
        explained.append(share / total)
    return Span(torch.stack(chosen, 1), torch.stack(directions, 1), torch.stack(explained, 1))


def _frames(moments: Moments, basis: Tensor, rank: int | None) -> tuple[Tensor, Tensor, Tensor]:
    """Top right singular vectors of each head's uncentred C [G J k], C's covariance in them, and its total variance.

    Vectors beyond a head's own rank are zero, so that heads of different rank fit in one array.
    """
    spanning, triangle = torch.linalg.qr(basis.double())
    second = triangle @ (moments.second / moments.count) @ triangle.transpose(1, 2)
    values, vectors = torch.linalg.eigh(second)
    values, vectors = values.flip(1), vectors.flip(2)
    kept = values.shape[1] if rank is None else min(rank, values.shape[1])
    is_there = values.clamp_min(0).sqrt() > _SMALLEST * values[:, :1].clamp_min(0).sqrt()
    vectors = (vectors * is_there[:, None])[:, :, :kept]
    centred = triangle @ moments.covariance @ triangle.transpose(1, 2)
    covariance = vectors.transpose(1, 2) @ centred @ vectors
    total = centred.diagonal(dim1=1, dim2=2).sum(1).clamp_min(1e-300)
    return spanning @ vectors, covariance, total


def turned(texts: Float[Tensor, "text joint"], generator: torch.Generator) -> Float[Tensor, "text joint"]:
    """The texts under a random rotation: as alike among each other as before, and about nothing."""
    width = texts.shape[1]
    random = torch.randn(width, width, generator=generator, dtype=torch.float64)
    orthogonal, triangle = torch.linalg.qr(random)
    return texts.double() @ (orthogonal * triangle.diagonal().sign())


def naive_text_span(terms: Tensor, texts: Tensor, n_texts: int, rank: int) -> tuple[Tensor, Tensor]:
    """The paper's loop for one head, image by image; what the other one is tested against.

    Args:
        terms: C [images J].
        texts: unit vectors.
        n_texts: m.
        rank: k.

    Returns:
        Numbers of the texts, and the reconstruction of C.
    """
    data, left = terms.double(), texts.double()
    frame = torch.linalg.svd(data, full_matrices=False).Vh[:rank]
    left = left @ frame.T @ frame
    mean = data.mean(0)
    data = data - mean
    reconstruction = mean.expand_as(data).clone()
    chosen = []
    for _ in range(n_texts):
        best = int((data @ left.T).std(0).argmax())
        direction = left[best] / left[best].norm()
        along = data @ direction
        reconstruction += along[:, None] * direction
        data = data - along[:, None] * direction
        left = left - (left @ direction)[:, None] * direction
        chosen.append(best)
    return torch.tensor(chosen), reconstruction
