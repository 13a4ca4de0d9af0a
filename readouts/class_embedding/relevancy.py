"""Relevancy of image tokens for a class, from gradients of every block's class projection (section 6 of the paper).

For block b: z = P(a_b) at CLS, the class projection of what attention adds; l = cross-entropy of z and the class. The
relevancy of token j is the sum over blocks and heads of -dl / dA[h, CLS, j]. Since what a head reads at CLS is
K[h] = sum_j A[h, CLS, j] V[h, j], that derivative is <dl / dK[h], V[h, j]>: no attention weights are needed, and one
small backward pass a block through the output projection, the norm and the classifier, for a whole batch.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from frozen.capture.reductions import ForwardPass
from frozen.capture.sites import Site
from frozen.models import Backbone, BackboneError, Head
from readouts.class_embedding.sublayers import check_contribution, contribution

Softmax = Literal["single", "double"]
Loss = Literal["single", "double", "logit"]
CHUNK = 16
"""Images that the baseline of Chefer et al. differentiates at once: it holds all attention weights."""


def class_loss(
    logits: Float[Tensor, "batch classes"], classes: Int[Tensor, " batch"], loss: Loss
) -> Float[Tensor, " batch"]:
    """What relevancy differentiates: a cross-entropy, or minus the class's logit.

    With the softmax taken twice, as the paper's programs have it, later blocks weigh more.
    """
    if loss == "logit":
        return -logits.gather(-1, classes[:, None])[:, 0]
    scores = logits.softmax(-1) if loss == "double" else logits
    return nn.functional.cross_entropy(scores, classes, reduction="none")


def block_relevancy(
    head: Head,
    contribution: Callable[[Tensor], Tensor],
    keys: Float[Tensor, "batch heads width"],
    values: Float[Tensor, "batch tokens heads width"],
    classes: Int[Tensor, " batch"],
    loss: Loss,
) -> Float[Tensor, "batch heads tokens"]:
    """Minus the derivative of one block's loss by the attention weights from CLS to every token.

    Args:
        head: the classifier.
        contribution: what the heads' outputs at one token [batch heads * width] add to it [batch width].
        keys: outputs of the heads at CLS.
        values: of all tokens.
        classes: for which the tokens are relevant.
        loss: cross-entropy with one softmax or two, or minus the logit.
    """
    with torch.inference_mode(mode=False), torch.enable_grad():
        leaf = keys.clone().requires_grad_()
        losses = class_loss(head.project(contribution(leaf.flatten(1))), classes.clone(), loss)
        (slope,) = torch.autograd.grad(losses.sum(), leaf)
    return -torch.einsum("bhd,bthd->bht", slope, values)


class Read(NamedTuple):
    """What CLS reads in a block.

    Attributes:
        block: its number.
        contribution: what the heads' outputs at one token [batch heads * width] add to it [batch width].
        keys: float [batch heads width], outputs of the heads at CLS.
        values: float [batch tokens heads width].
    """

    block: int
    contribution: Callable[[Tensor], Tensor]
    keys: Tensor
    values: Tensor

    def relevancy(
        self, head: Head, classes: Int[Tensor, " batch"], loss: Loss
    ) -> Float[Tensor, "batch heads tokens"]:
        """See `block_relevancy`."""
        return block_relevancy(head, self.contribution, self.keys, self.values, classes, loss)


class Reads:
    """Puts together what CLS reads in each block, from the sites `values`, `heads` and `attention` in this order."""

    def __init__(self, model: Backbone) -> None:
        self._model = model
        self._values = self._keys = torch.empty(0)

    def take(self, site: Site, value: Tensor) -> Read | None:
        """The whole of a block with its last site.

        Raises:
            BackboneError: a block whose heads reach the residual stream in another way than is known.
        """
        if site.part == "values":
            self._values = value
        elif site.part == "heads":
            self._keys = value[:, 0]
        elif site.part == "attention":
            block = int(site.layer)
            adds = contribution(self._model, block)
            check_contribution(self._model, block, adds(self._keys.flatten(1)), value[:, 0])
            return Read(block, adds, self._keys, self._values)
        return None


def chefer_relevancy(forward: ForwardPass, classes: Int[Tensor, " batch"]) -> Float[Tensor, "batch spatial"]:
    """Relevancy by Chefer et al. (2021): R += mean_h relu(A dz / dA) R over the blocks, from CLS to image tokens.

    Raises:
        BackboneError: a model that does not show its attention weights.
    """
    images, model = forward.batch.images, forward.model
    starts = range(0, len(images), CHUNK)
    with torch.inference_mode(mode=False), torch.enable_grad():
        parts = [_chefer(model, images[at : at + CHUNK], classes[at : at + CHUNK].clone()) for at in starts]
    return torch.cat(parts)


def _chefer(model: Backbone, images: np.ndarray, classes: Tensor) -> Tensor:
    trunk, head = model.trunk, model.head
    assert trunk is not None
    assert head is not None
    seen: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: Any, weights: Tensor) -> Tensor:
        seen.append(weights if weights.requires_grad else weights.detach().requires_grad_())
        return seen[-1]

    with ExitStack() as stack:
        for parts in trunk.parts:
            attention: Any = parts.attention
            if attention is None:
                raise BackboneError(f"{model.identity} does not show its attention weights; leave out chefer")
            stack.callback(setattr, attention, "fused_attn", attention.fused_attn)
            attention.fused_attn = False
            stack.callback(attention.attn_drop.register_forward_hook(keep).remove)
        logits = head.pooled(trunk.run(images))
        score = logits.gather(1, classes[:, None]).sum()
        slopes = torch.autograd.grad(score, seen)
    n_tokens = seen[0].shape[-1]
    relevancy = torch.eye(n_tokens, device=logits.device).expand(len(images), -1, -1)
    for weights, slope in zip(seen, slopes, strict=True):
        relevancy = relevancy + (weights * slope).clamp(min=0).mean(1).detach() @ relevancy
    return relevancy[:, 0, model.description.layout.n_prefix :]
