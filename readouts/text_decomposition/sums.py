"""Sums of sets of terms, without the terms: each sum is one linear map of what is stored of an image.

Every term is linear in its coordinates: outputs of a head or an MLP, and the constants that biases and the norm's
mean are multiplied by, all divided by the norm's deviation and the length of the embedding. So are sums and means. A
set of 12 heads of 10,000 images is one product of two matrices.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from readouts.text_decomposition.lens import Lens, Split, Stored


class Coordinates(NamedTuple):
    """Of the terms that some sets have (K heads, M MLPs, B layers whose part from the first token is a term).

    Attributes:
        heads: [image K D+3].
        mlps: [image M W+2]; what enters the first block is one of them.
        first: [image B*H D+3].
    """

    heads: Float[Tensor, "image head coordinate"]
    mlps: Float[Tensor, "image mlp channel"]
    first: Float[Tensor, "image part coordinate"]


class _Members(NamedTuple):
    """Of one set, by kind; first as numbers of the terms, then as places among those of all sets."""

    heads: list[int]
    mlps: list[int]
    layers: list[int]


class Sums:
    """Sums of the terms of several sets.

    Args:
        lens: from what is stored to terms.
        sets: positions among the extended terms: all terms, then what each layer read from the first token.
        split: of the norm's mean.
    """

    def __init__(self, lens: Lens, sets: Sequence[Iterable[int]], split: Split) -> None:
        self._lens = lens
        own = [_by_kind(lens, positions) for positions in sets]
        self._every = _Members(*(sorted({one for some in kinds for one in some}) for kinds in zip(*own, strict=True)))
        self._sets = [
            _Members(*([every.index(one) for one in some] for every, some in zip(self._every, one_set, strict=True)))
            for one_set in own
        ]
        basis = lens.head_basis(split)
        self._heads = basis.flatten(0, 1)[self._every.heads].transpose(1, 2)
        first = lens.first_basis(split) if self._every.layers else basis
        self._first = first[self._every.layers].transpose(2, 3)
        self._mlps = lens.mlp_basis(split)

    @property
    def unread(self) -> tuple[str, ...]:
        """What of the stored images no set needs."""
        needed = zip(("heads", "mlps", "from_first"), self._every, strict=True)
        return tuple(name for name, members in needed if not members)

    def coordinates(self, stored: Stored) -> Coordinates:
        """Coordinates of some images."""
        constants = torch.stack([stored.weight, stored.mean, stored.scale], dim=1)[:, None]
        length = (stored.scale * stored.norm(self._lens))[:, None, None]

        def of(outputs: Tensor, kept: Tensor) -> Tensor:
            return torch.cat([outputs, kept.expand(-1, outputs.shape[1], -1)], dim=2) / length

        return Coordinates(
            of(stored.heads.flatten(1, 2)[:, self._every.heads], constants),
            of(stored.mlps[:, self._every.mlps], constants[..., 1:]),
            of(stored.from_first[:, self._every.layers].flatten(1, 2), constants),
        )

    def mean(self, images: Iterable[Stored]) -> Coordinates:
        """Mean coordinates of all images, as those of one."""
        total: list[Tensor] = [torch.zeros(())] * 3
        count = 0
        for stored in images:
            parts = self.coordinates(stored)
            total = [one + part.double().sum(0, keepdim=True) for one, part in zip(total, parts, strict=True)]
            count += len(stored.mean)
        return Coordinates(*((one / count).float() for one in total))

    def of(self, coordinates: Coordinates) -> Float[Tensor, "set image joint"]:
        """The sums."""
        return torch.stack([self._sum(coordinates, members) for members in self._sets])

    def _sum(self, coordinates: Coordinates, members: _Members) -> Float[Tensor, "image joint"]:
        heads = coordinates.heads[:, members.heads].flatten(1) @ self._heads[members.heads].flatten(0, 1)
        of_mlps = coordinates.mlps[:, members.mlps].sum(1) @ self._mlps.T
        by_layer = coordinates.first.unflatten(1, (-1, self._lens.n_heads)) if members.layers else None
        if by_layer is None:
            return heads + of_mlps
        first = by_layer[:, members.layers].flatten(1) @ self._first[members.layers].flatten(0, 2)
        return heads + of_mlps + first


def _by_kind(lens: Lens, positions: Iterable[int]) -> _Members:
    n_heads, n_terms = lens.n_blocks * lens.n_heads, len(lens.terms)
    own = sorted(set(positions))

    def between(low: int, high: float) -> list[int]:
        return [one - low for one in own if low <= one < high]

    return _Members(between(0, n_heads), between(n_heads, n_terms), between(n_terms, float("inf")))
