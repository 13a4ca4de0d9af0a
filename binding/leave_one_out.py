"""What one attention head holds of binding that the other heads of its block do not.

All heads of a block are one vector, the heads side by side. The direct probe reads it whole, and once a head with
that head held at its mean over the training images; both are trained anew, so that what another head holds too is no
loss: of two heads with the same binding, neither is missed. All these trainings have one shape and go together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool

from binding._together import finished, together
from binding._trainer import Trainer
from binding.paired import ALL_HEADS, WITHOUT_HEAD
from binding.samples import MeasureConfig, SplitSamples
from binding.search import ProbeSpace
from binding.tuning import NothingTrainedError
from frozen.intervals import Losses


class Heads(NamedTuple):
    """How the heads of a block lie in the vector that holds them all.

    Attributes:
        number: of heads.
        width: of one of them.
    """

    number: int
    width: int

    def without(self, head: int, z_dim: int) -> Bool[np.ndarray, " dim"]:
        """True at the channels of the other heads; a vector of CLS and mean has each head twice."""
        return np.arange(z_dim) // self.width % self.number != head


def left_out(
    samples: SplitSamples,
    heads: Heads,
    which: Sequence[int],
    probe: ProbeSpace,
    config: MeasureConfig,
    device: torch.device,
) -> Mapping[int, dict[str, Losses]]:
    """Direct test losses with all heads and without some, each by itself.

    The hyper-parameters are tuned on all heads together and serve every training. Each B*_direct is found as in every
    cell, so that that of all heads is the one of the block's own cell.

    Args:
        samples: of all heads of the block.
        heads: of the block.
        which: the heads that are left out in turn.
        probe: the family with its settings and ranges.
        config: training, tuning and seeds.
        device: where to train.

    Returns:
        By head the targets `all_heads` and `without_head`, bits [seeds samples]; without heads whose training
        diverged, and empty where that of all heads did.
    """
    trainer = Trainer(samples, config, device)
    try:
        objects = finished(trainer.tuned("objects", probe))
        direct = finished(trainer.direct(probe, objects))
    except NothingTrainedError:
        return {}
    z_dim = samples.train.activations.shape[-1]
    kept = {None: np.ones(z_dim, dtype=bool)} | {head: heads.without(head, z_dim) for head in which}
    found = together(
        {head: trainer.holding(channels).direct_again(direct.tuned, objects.tuned) for head, channels in kept.items()}
    )
    for one in found.values():
        if isinstance(one, Exception) and not isinstance(one, NothingTrainedError):
            raise one
    trained = {head: one.test_bits for head, one in found.items() if not isinstance(one, Exception)}
    whole = trained.pop(None, None)
    if whole is None:
        return {}
    return {head: {ALL_HEADS: whole, WITHOUT_HEAD: bits} for head, bits in trained.items() if head is not None}
