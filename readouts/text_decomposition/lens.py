"""The linear map from stored outputs of heads and MLPs to terms of the embedding in the joint space.

With K = 2L + 1 terms before heads are told apart (L attention sublayers, L MLPs and what enters the first block),
gain g, bias β, mean μ and deviation s of the final norm, and the projection P, an MLP's output t becomes

    ((t - μ/K) * g / s + β/K) P / ||y||        (paper, appendix A)

and a head's the same with t = z W_h + b_o/H and K H for K. The terms sum to y/||y||. The split `own_mean` takes from
each term the mean over its own channels instead of an equal share of μ: the same sum, other terms.

Of a model whose tokens an attention pools after the final norm (SigLIP), the terms are those of that attention: its
heads, the bias b_o of its output projection (as `init`, once) and its MLP. No norm follows, so that μ = 0, s = 1, and
both splits are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from io import BytesIO
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from frozen.models import Backbone, BackboneError, Ending, PoolingHead
from frozen.models.joint import JointSpace, output_map
from frozen.rows import ArrayRows

Split = Literal["uniform", "own_mean"]
POOLING = "final"
"""Name of the layer whose heads pool the tokens."""
SPLITS: tuple[Split, ...] = get_args(Split)
CHUNK = 512
"""Images at once."""
_EXTRA = 3
"""Coordinates of a head's output beyond its own: of the biases b_o and β, and of the mean."""


class Term(NamedTuple):
    """One summand of the embedding.

    Attributes:
        kind: head, mlp or init (what enters the first block; of an attention that pools, its bias).
        layer: number of the block, 0 for an attention that pools; -1 for init.
        head: number of the head, or None.
    """

    kind: Literal["head", "mlp", "init"]
    layer: int
    head: int | None = None

    def __str__(self) -> str:
        return f"head {self.head}" if self.kind == "head" else self.kind


@dataclass(frozen=True, eq=False)
class Lens:
    """Weights behind the stored outputs of a model (L blocks, H heads of width D, width W, joint space of J).

    Attributes:
        output: float32 [L W H*D], output projections of the heads, layer scale included.
        output_bias: float32 [L W].
        gain: float32 [W], of the final norm.
        norm_bias: float32 [W].
        project: float32 [J W], to the joint space.
        project_bias: float32 [J].
        n_heads: H.
        n_tokens: N, all tokens of the model.
        is_pooling: whether the heads are those of the attention that pools, after which there is no norm; L is 1.
    """

    output: Tensor
    output_bias: Tensor
    gain: Tensor
    norm_bias: Tensor
    project: Tensor
    project_bias: Tensor
    n_heads: int
    n_tokens: int
    is_pooling: bool = False

    @classmethod
    def of(cls, model: Backbone, space: JointSpace) -> Lens:
        """The weights of a loaded model.

        Raises:
            BackboneError: a model that is no ViT with a layer norm, or an attention that pools, at its end.
        """
        trunk = model.trunk
        if trunk is not None and isinstance(trunk.ending, PoolingHead):
            return cls._of_pooling(trunk.ending, space, model.description.layout.n_tokens)
        heads = model.description.part("heads")
        if trunk is None or not isinstance(trunk.ending, Ending) or isinstance(heads, str):
            reason = heads if isinstance(heads, str) else "it does not end in a layer norm and pooled tokens"
            raise BackboneError(f"{model.identity} cannot be decomposed: {reason}")
        maps = [output_map(trunk, block) for block in range(len(trunk.blocks))]
        norm = trunk.ending.norm
        width = model.description.layout.width
        gain = torch.ones(width) if norm.weight is None else norm.weight
        bias = torch.zeros(width) if norm.bias is None else norm.bias
        return cls(
            torch.stack([one.weight for one in maps]).cpu(),
            torch.stack([one.bias for one in maps]).cpu(),
            gain.float().cpu(),
            bias.float().cpu(),
            torch.from_numpy(space.project),
            torch.from_numpy(space.bias),
            heads[0],
            model.description.layout.n_tokens,
        )

    @classmethod
    def _of_pooling(cls, pool: PoolingHead, space: JointSpace, n_tokens: int) -> Lens:
        weight = pool.output.weight.detach().float().cpu()
        nothing = torch.zeros(len(weight))
        return cls(
            weight[None],
            nothing[None],
            torch.ones(len(weight)),
            nothing,
            torch.from_numpy(space.project),
            torch.from_numpy(space.bias),
            pool.shape[0],
            n_tokens,
            is_pooling=True,
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything, for a file."""
        return {item.name: np.asarray(getattr(self, item.name)) for item in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Lens:
        """What `arrays` gave."""
        values = {item.name: arrays[item.name] for item in fields(cls) if item.name in arrays}
        tensors = {name: torch.from_numpy(value) for name, value in values.items() if value.ndim}
        return cls(
            **tensors,
            n_heads=int(values["n_heads"]),
            n_tokens=int(values["n_tokens"]),
            is_pooling=bool(values.get("is_pooling", False)),
        )

    @property
    def n_blocks(self) -> int:
        """L."""
        return len(self.output)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers with heads in a study: numbers of blocks, or final for an attention that pools."""
        return (POOLING,) if self.is_pooling else tuple(map(str, range(self.n_blocks)))

    @cached_property
    def terms(self) -> tuple[Term, ...]:
        """The terms in the order in which they are computed: heads by layer, then init, then MLPs."""
        blocks = range(self.n_blocks)
        heads = [Term("head", block, head) for block in blocks for head in range(self.n_heads)]
        return (*heads, Term("init", -1), *(Term("mlp", block) for block in blocks))

    @cached_property
    def _gained(self) -> Tensor:
        """[J W], gain and projection."""
        return self.project * self.gain

    @cached_property
    def _constant(self) -> Tensor:
        """[J], biases of norm and projection."""
        return self.project @ self.norm_bias + self.project_bias

    def _centred(self, split: Split) -> Tensor:
        """[J W]: of terms whose own mean is taken away first, the projection does so."""
        gained = self._gained
        is_centred = split == "own_mean" and not self.is_pooling
        return gained - gained.mean(1, keepdim=True) if is_centred else gained

    def head_basis(self, split: Split = "uniform") -> Float[Tensor, "block head joint coordinate"]:
        """What each of a head's coordinates (its D outputs, then the constants) adds to the embedding."""
        project, count = self._centred(split), 2 * self.n_blocks + 1
        weights = self.output.unflatten(2, (self.n_heads, -1))
        basis = torch.einsum("jw,lwhd->lhjd", project, weights)
        bias = (self.output_bias @ project.T / self.n_heads)[:, None, :, None].expand(-1, self.n_heads, -1, 1)
        share = count * self.n_heads
        mean = -self._gained.sum(1) * (split == "uniform") / share
        rest = torch.stack([mean, self._constant / share], dim=1).expand(*basis.shape[:2], -1, -1)
        return torch.cat([basis, bias, rest], dim=3)

    def coordinates(self, stored: Stored, outputs: Tensor) -> Float[Tensor, "image block head coordinate"]:
        """Coordinates of heads in their basis; a head's term is `head_basis @ coordinates`.

        Args:
            stored: the images.
            outputs: of the heads, [image block head D].
        """
        constants = torch.stack([stored.weight, stored.mean, stored.scale], dim=1)[:, None, None]
        whole = torch.cat([outputs, constants.expand(-1, *outputs.shape[1:3], -1)], dim=3)
        return whole / (stored.scale * stored.norm(self))[:, None, None, None]

    def of_heads(self, stored: Stored, split: Split = "uniform") -> Float[Tensor, "image block head joint"]:
        """Terms of the heads."""
        return torch.einsum("nlhd,lhjd->nlhj", self.coordinates(stored, stored.heads), self.head_basis(split))

    def of_mlps(self, stored: Stored, split: Split = "uniform") -> Float[Tensor, "image term joint"]:
        """Terms of what enters the first block, then of the MLPs."""
        count = 2 * self.n_blocks + 1
        found = stored.mlps @ self._centred(split).T
        if split == "uniform":
            found = found - stored.mean[:, None, None] * self._gained.sum(1) / count
        found = found / stored.scale[:, None, None] + self._constant / count
        return found / stored.norm(self)[:, None, None]

    def all_terms(self, stored: Stored, split: Split = "uniform") -> Float[Tensor, "image term joint"]:
        """All terms in the order of `terms`; they sum to the embedding divided by its length."""
        return torch.cat([self.of_heads(stored, split).flatten(1, 2), self.of_mlps(stored, split)], dim=1)

    def from_first(self, stored: Stored, split: Split = "uniform") -> Float[Tensor, "image block joint"]:
        """What all heads of a layer read from the first token: a part of the terms of its heads."""
        basis = self.head_basis(split).clone()
        basis[..., -_EXTRA:] /= self.n_tokens
        return torch.einsum("nlhd,lhjd->nlj", self.coordinates(stored, stored.from_first), basis)

    def of_tokens(
        self, stored: Stored, token_map: Tensor, layers: Sequence[int] | None = None
    ) -> Float[Tensor, "image token joint"]:
        """What heads read from each token; for all layers the MLPs' terms and these sum to the embedding.

        Args:
            stored: the images.
            token_map: [image token W], what the heads of some layers wrote.
            layers: these layers; None for all.
        """
        layers = list(range(self.n_blocks)) if layers is None else list(layers)
        n_tokens = token_map.shape[1]
        share = len(layers) / (2 * self.n_blocks + 1) / n_tokens
        bias = self.output_bias[layers].sum(0) / n_tokens
        wrote = token_map + stored.weight[:, None, None] * bias - (stored.mean * share)[:, None, None]
        found = wrote @ self._gained.T / stored.scale[:, None, None] + self._constant * share
        return found / stored.norm(self)[:, None, None]

    def of_head_tokens(self, stored: Stored, outputs: Tensor, layer: int, head: int) -> Tensor:
        """What one head read from each token, [image token joint]; a head's term is the sum over tokens.

        Args:
            stored: the images.
            outputs: [image token D], the head's output by the token it was read from.
            layer: number of the block.
            head: number of the head.
        """
        basis = self.head_basis()[layer, head].clone()
        basis[:, -_EXTRA:] /= outputs.shape[1]
        return self.coordinates(stored, outputs[:, :, None])[:, :, 0] @ basis.T

    def embeddings(self, stored: Stored) -> Float[Tensor, "image joint"]:
        """The model's own embeddings in the joint space, divided by their length."""
        found = stored.embedding @ self.project.T + self.project_bias
        return found / found.norm(dim=1, keepdim=True)


@dataclass(frozen=True, eq=False)
class Stored:
    """Some images as `ImageTerms` keeps them, float32."""

    heads: Float[Tensor, "image block head dim"]
    from_first: Float[Tensor, "image block head dim"]
    mlps: Float[Tensor, "image term width"]
    mean: Float[Tensor, " image"]
    scale: Float[Tensor, " image"]
    weight: Float[Tensor, " image"]
    embedding: Float[Tensor, "image width"]

    @classmethod
    def of(cls, columns: Mapping[str, ArrayRows], rows: slice = slice(None)) -> Stored:
        """Some rows of a capture."""
        return cls(
            **{item.name: torch.from_numpy(np.array(columns[item.name][rows], np.float32)) for item in fields(cls)}
        )

    def norm(self, lens: Lens) -> Float[Tensor, " image"]:
        """Length of the embedding in the joint space."""
        return (self.embedding @ lens.project.T + lens.project_bias).norm(dim=1)


def chunks(columns: Mapping[str, ArrayRows], size: int = CHUNK) -> Iterator[tuple[slice, Stored]]:
    """A capture in parts, so that terms of many images are never in memory at once."""
    total = len(columns["mean"])
    for start in range(0, total, size):
        rows = slice(start, min(start + size, total))
        yield rows, Stored.of(columns, rows)


def pack(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Arrays as the bytes of a product."""
    file = BytesIO()
    np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]
    return file.getvalue()


def unpack(content: bytes) -> dict[str, np.ndarray]:
    """What `pack` packed."""
    with np.load(BytesIO(content), allow_pickle=False) as file:
        return dict(file)
