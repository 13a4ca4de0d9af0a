"""The typed parts of a model: its trunk of blocks, and the classifier behind it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor, nn

from frozen.models._parts import BlockParts
from frozen.models._pooling import PoolingHead


class Head(NamedTuple):
    """A classifier, as it reads one token and as it reads an image.

    Attributes:
        linear: the last layer; its weight [class dim] holds the class embeddings.
        norms: what a token goes through before it: the final norm, and the norm after pooling; one is the identity.
        pooled: the model's own logits [batch class] from the tokens after the final norm.
        names: of the modules in the model that are the classifier's alone.
    """

    linear: nn.Linear
    norms: tuple[nn.Module, nn.Module]
    pooled: Callable[[Tensor], Tensor]
    names: tuple[str, ...]

    @property
    def n_classes(self) -> int:
        """Number of classes C."""
        return self.linear.out_features

    @property
    def weights_digest(self) -> str:
        """sha256 of the last layer's weights; those of the norms are the trunk's."""
        return digest(self.linear.state_dict())

    def project(self, tokens: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch class"]:
        """The class projection of tokens of the residual stream, or of what is added to it: bias and norms included.

        Of models that pool the CLS token, that of the last block's CLS token is the model's output.
        """
        with torch.autocast(tokens.device.type, enabled=False):
            before, after = self.norms
            return self.linear(after(before(tokens)))


class Ending(NamedTuple):
    """What comes after the last block, where that is a layer norm and the pooling of tokens, in either order.

    Attributes:
        norm: its gain, bias and eps.
        is_pooled_first: whether the norm sees the pooled token (fc_norm) or every token.
        pooling: token (the first one) or avg.
        first_pooled: the first token of the mean; 0 for `token`.
    """

    norm: nn.LayerNorm
    is_pooled_first: bool
    pooling: Literal["token", "avg"]
    first_pooled: int


class Trunk(NamedTuple):
    """Blocks that can be read and changed while they run.

    Attributes:
        blocks: in order.
        parts: of each block; empty where only what enters and leaves the blocks is known.
        run: images [batch height width 3], bytes, to the tokens after the final norm [batch token dim].
        pool: those tokens to the image's embedding [batch width]; None where the model has none.
        is_compiled: whether hooks within the blocks would go unheard.
        device: where it runs.
        ending: what comes after the blocks: a layer norm and pooling, or an attention that pools the tokens after
            the final norm; None where it is something else.
    """

    blocks: Sequence[nn.Module]
    parts: Sequence[BlockParts]
    run: Callable[[UInt8[ndarray, "batch height width 3"]], Tensor]
    pool: Callable[[Tensor], Tensor] | None
    is_compiled: bool
    device: torch.device
    ending: Ending | PoolingHead | None = None


def digest(weights: Mapping[str, Tensor]) -> str:
    """sha256 of all weights, by name."""
    total = hashlib.sha256()
    for name, value in sorted(weights.items()):
        total.update(name.encode())
        total.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()
