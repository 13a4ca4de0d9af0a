"""What a probe is trained or evaluated on: batches of activations, codes and prior log-odds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from frozen.rows import HeldRows, Rows, StackedRows

_CERTAIN = 1e4  # stands for infinite prior odds: such a head has no loss and no gradient


class Examples(NamedTuple):
    """What one split of one target is trained or evaluated on."""

    z: Rows | StackedRows | HeldRows
    codes: Float[Tensor, "samples codes"]
    """True bits minus 0.5, then given bits minus 0.5."""
    offset: Float[Tensor, "samples heads"] | None
    """Prior log-odds added to the logits, ±infinity replaced by a large number; None for no prior."""
    chosen: Int[Tensor, " samples"] | None = None
    """Rows of z that the samples are; None for all of them in order."""

    @classmethod
    def of(
        cls,
        z: Rows | HeldRows,
        bits: np.ndarray,
        log_odds: Float64[np.ndarray, "samples heads"] | None,
        device: torch.device,
    ) -> Examples:
        """From uint8 bits [samples codes] and exact log-odds in nats."""
        codes = torch.from_numpy(bits.astype(np.float32) - 0.5).to(device)
        if log_odds is None:
            return cls(z, codes, None)
        offset = torch.from_numpy(np.clip(log_odds, -_CERTAIN, _CERTAIN).astype(np.float32))
        return cls(z, codes, offset.to(device))

    def batch(self, indices: Int[Tensor, " batch"]) -> tuple[Tensor, Tensor, Tensor | None]:
        """Activations, codes and offset of some samples."""
        offset = None if self.offset is None else self.offset[indices]
        rows = indices if self.chosen is None else self.chosen[indices]
        return self.z.gather(rows), self.codes[indices], offset

    def some(self, indices: Int[np.ndarray, " some"]) -> Examples:
        """Some of the samples of a whole split; no activations are copied."""
        chosen = torch.from_numpy(indices)
        offset = None if self.offset is None else self.offset[chosen]
        return Examples(self.z, self.codes[chosen], offset, chosen)

    def read(self, batches: Sequence[Int[Tensor, " _"]]) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """Batch after batch; while one is used, the next is read, unless all lie in memory anyway."""
        if not self.z.reads:
            yield from map(self.batch, batches)
            return
        with ThreadPoolExecutor(max_workers=1) as reader:
            coming = reader.submit(self.batch, batches[0])
            for indices in batches[1:]:
                ready, coming = coming.result(), reader.submit(self.batch, indices)
                yield ready
            yield coming.result()
