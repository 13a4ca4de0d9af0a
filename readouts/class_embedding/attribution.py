"""Exact attribution of the logits to everything that was added to the residual stream.

With the standard deviation sigma of the final norm held at its value, the norm is linear, and the logits are a sum:
logits = sum over the embedding, every attention and every MLP of E (gamma (x - mean x) / sigma), plus E beta + bias.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from frozen.capture.conditions import Condition
from frozen.capture.reductions import Column, ForwardPass, Reducer, Values
from frozen.capture.sites import Site
from frozen.models import Description, Head
from readouts.class_embedding.ranks import LABEL, true_classes

TOLERANCE = 1e-3
"""Largest difference of the sum and the logits, in shares of the largest logit; float32 leaves about 1e-5."""


def added_sites(n_blocks: int) -> tuple[Site, ...]:
    """All that is added to the residual stream: the embedding, then attention and MLP of every block."""
    blocks = (Site(str(block), part) for block in range(n_blocks) for part in ("attention", "mlp"))
    return (Site("embed"), *blocks)


@dataclass(frozen=True)
class Attribution:
    """What every site adds to the logit of the true class, beyond what it adds to the mean over classes.

    Columns, samples first: `attribution` float32 [site], in the order of `added_sites`, and `rest` float32, the part
    of the biases. Their sum is the true class's logit minus the mean logit.

    Attributes:
        n_blocks: of the model.
        label: name of the label that says the class.
    """

    n_blocks: int
    label: str = LABEL

    needs_head = True
    needs_gradient = False

    @property
    def sites(self) -> tuple[Site, ...]:
        """All that is added, what the last block leaves, and the logits."""
        return (*added_sites(self.n_blocks), Site(str(self.n_blocks - 1)), Site.parse("logits"))

    @property
    def labels(self) -> tuple[str, ...]:
        """The class."""
        return (self.label,)

    def key(self) -> dict[str, Any]:
        """Its name and settings."""
        return {"reduction": "attribution", "blocks": self.n_blocks, "label": self.label}

    def columns(self, description: Description, condition: Condition) -> tuple[Column, ...]:
        """One number a site, and the rest."""
        del description, condition
        return (Column("attribution", (2 * self.n_blocks + 1,), "float32"), Column("rest", (), "float32"))

    def begin(self, forward: ForwardPass) -> Reducer:
        """A reducer for one batch."""
        return _AttributionReducer(self, forward)


class _AttributionReducer:
    def __init__(self, reduction: Attribution, forward: ForwardPass) -> None:
        assert forward.model.head is not None
        self._reduction, self._forward, self._head = reduction, forward, forward.model.head
        self._pool = forward.shared("pooling", lambda: pooling(self._head, forward))
        self._tokens: dict[Site, Tensor] = {}

    def take(self, site: Site, value: Tensor) -> None:
        """Keep what is pooled: of a mean behind which the norm stands, the mean alone."""
        if not site.has_tokens or self._pool == "cls":
            self._tokens[site] = value[:, :1] if site.has_tokens else value
            return
        spatial = value[:, self._forward.layout.n_prefix :]
        is_linear = not isinstance(self._head.norms[0], nn.LayerNorm)
        self._tokens[site] = spatial.mean(1, keepdim=True) if is_linear else spatial

    def finish(self) -> Mapping[str, Values]:
        *added, last, output = self._reduction.sites
        logits = self._tokens[output]
        parts = [frozen_logits(self._head, self._tokens[site], self._tokens[last]) for site in added]
        shares, rest = torch.stack(parts, dim=1), _constant(self._head)
        gap = (shares.sum(1) + rest - logits).abs().max() / logits.abs().max().clamp(min=1e-6)
        if float(gap) > TOLERANCE:
            raise ValueError(
                f"{self._forward.model.identity}: what its blocks add does not sum to its logits (off by {gap:.2g} "
                "of the largest one), so that they cannot be shared out; leave out `attribution`"
            )
        classes = true_classes(self._forward, self._reduction.label, logits.shape[-1])
        index = classes[:, None, None].expand(-1, shares.shape[1], 1)
        centred = shares - shares.mean(-1, keepdim=True)
        return {
            "attribution": centred.gather(-1, index)[..., 0],
            "rest": (rest - rest.mean())[classes],
        }


def pooling(head: Head, forward: ForwardPass) -> str:
    """Cls or mean: what the classifier reads of the tokens after the final norm, tried on random ones.

    Raises:
        ValueError: neither.
    """
    layout, weight = forward.layout, head.linear.weight
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(2, layout.n_tokens, layout.width, generator=generator).to(weight.device, weight.dtype)
    found = head.pooled(tokens)
    for name, pooled in (("cls", tokens[:, 0]), ("mean", tokens[:, layout.n_prefix :].mean(1))):
        if torch.allclose(head.linear(head.norms[1](pooled)), found, rtol=1e-4, atol=1e-4):
            return name
    raise ValueError(
        f"{forward.model.identity} reads neither its CLS token nor the mean of its image tokens, so that its logits "
        "cannot be shared out; leave out `attribution`"
    )


def frozen_logits(
    head: Head, added: Float[Tensor, "batch tokens width"], last: Float[Tensor, "batch tokens width"]
) -> Float[Tensor, "batch classes"]:
    """What something that was added to the tokens adds to the logits, with the final norm's scale held fixed.

    Args:
        head: the classifier.
        added: to every token that is pooled.
        last: those tokens as the last block leaves them.
    """
    before, after = head.norms
    part = _scaled(before, added, last).mean(1)
    whole = (_scaled(before, last, last) + _shift(before)).mean(1)
    return nn.functional.linear(_scaled(after, part, whole), head.linear.weight)


def _scaled(norm: nn.Module, part: Tensor, whole: Tensor) -> Tensor:
    """The linear part of a layer norm, with the scale of `whole`."""
    if not isinstance(norm, nn.LayerNorm):
        return part
    sigma = (whole.var(-1, unbiased=False, keepdim=True) + norm.eps).sqrt()
    centred = (part - part.mean(-1, keepdim=True)) / sigma
    return centred if norm.weight is None else centred * norm.weight


def _shift(norm: nn.Module) -> Tensor | float:
    bias = getattr(norm, "bias", None) if isinstance(norm, nn.LayerNorm) else None
    return 0.0 if bias is None else bias


def _constant(head: Head) -> Float[Tensor, " classes"]:
    """The part of the logits that no token has: biases of the norm, of which a model has one, and the classifier."""
    shift = torch.zeros(head.linear.in_features, device=head.linear.weight.device, dtype=head.linear.weight.dtype)
    for norm in head.norms:
        shift = shift + _shift(norm)
    return head.linear(shift)
