"""The blocks of the online code, by which O is described to somebody who knows Z.

Voita & Titov (2020), "Information-theoretic probing with minimum description length", section 3.2: the first block is
sent with the uniform code, each later one with the probe trained on all blocks before it.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

_DOUBLINGS = 7
_FEWEST_SAMPLES = 8
_FEWEST_SAMPLES_A_BATCH = 32


def coding_blocks(n_samples: int, seed: int) -> list[Int[np.ndarray, " block"]]:
    """Indices of the training samples of each block, in the order in which they are coded.

    Blocks end at 1/128, 1/64, ... 1/2 and all of the samples, which are shuffled first; ends that would leave fewer
    than 8 samples in the first block are left out.
    """
    ends = [-(-n_samples // 2**power) for power in range(_DOUBLINGS, 0, -1)]
    order = np.random.default_rng(seed).permutation(n_samples)
    return np.split(order, sorted({end for end in ends if _FEWEST_SAMPLES <= end < n_samples}))


def block_batch_size(batch_size: int, n_known: int, n_samples: int) -> int:
    """Samples a batch when only some samples are known: a short training gets about as many steps as a long one."""
    return min(batch_size, max(_FEWEST_SAMPLES_A_BATCH, -(-batch_size * n_known // n_samples)))
