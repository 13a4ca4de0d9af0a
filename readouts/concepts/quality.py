"""How well a dictionary models activations that it was not trained on."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float64, Int64

from frozen.rows import ArrayRows
from readouts.concepts.dictionary import Dictionary
from readouts.concepts.stream import statistics

_BLOCK_NUMBERS = 2**23
DENSE = 0.1
"""Share of rows above which an atom counts as dense."""


class Quality(NamedTuple):
    """Of every sample; where a sample has several tokens, their mean.

    Attributes:
        error: ‖x − x̂‖².
        power: ‖x − μ‖² about the mean of the same samples.
        cosine: of x and x̂, both about the dictionary's centre: what all activations share would make it 1.
        l0: active atoms.
        fires: rows in which each atom is active [latents].
        n_rows: rows behind `fires`.
    """

    error: Float64[np.ndarray, " samples"]
    power: Float64[np.ndarray, " samples"]
    cosine: Float64[np.ndarray, " samples"]
    l0: Float64[np.ndarray, " samples"]
    fires: Int64[np.ndarray, " latents"]
    n_rows: int

    @property
    def explained_variance(self) -> float:
        """1 − Σ‖x − x̂‖² / Σ‖x − μ‖²."""
        return 1 - float(self.error.sum() / self.power.sum())

    @property
    def dead(self) -> float:
        """Share of atoms that are never active."""
        return float((self.fires == 0).mean())

    @property
    def dense(self) -> float:
        """Share of atoms that are active in more than a tenth of the rows."""
        return float((self.fires > DENSE * self.n_rows).mean())


@torch.inference_mode()
def quality(dictionary: Dictionary, array: ArrayRows, device: torch.device) -> Quality:
    """Held-out numbers of a dictionary, block by block.

    Args:
        dictionary: on any device.
        array: activations [samples dim] or [samples token dim].
        device: where it is computed.
    """
    own = dictionary.to(device)
    mean = torch.from_numpy(statistics(array).mean).float().to(device)
    tokens = math.prod(array.shape[1:-1])
    samples = max(1, _BLOCK_NUMBERS // (tokens * max(own.n_atoms, own.width)))
    fires = torch.zeros(own.n_atoms, dtype=torch.long, device=device)
    parts: list[list[np.ndarray]] = [[], [], [], []]
    for start in range(0, len(array), samples):
        x = torch.from_numpy(np.array(array[start : start + samples], dtype=np.float32)).to(device)
        x = x.reshape(-1, own.width)
        f = own.encode(x)
        found = own.decode(f)
        fires += (f > 0).sum(0)
        numbers = (
            (x - found).square().sum(1),
            (x - mean).square().sum(1),
            torch.cosine_similarity(x - own.centre, found - own.centre, dim=1),
            (f > 0).float().sum(1),
        )
        for part, values in zip(parts, numbers, strict=True):
            part.append(values.double().view(-1, tokens).mean(1).cpu().numpy())
    error, power, cosine, l0 = (np.concatenate(part) for part in parts)
    return Quality(error, power, cosine, l0, fires.cpu().numpy(), len(array) * tokens)


def match(one: Dictionary, other: Dictionary, alive: np.ndarray, other_alive: np.ndarray) -> np.ndarray:
    """Of each living atom of one dictionary, the cosine of the nearest living atom of another: their mean is MMCS."""
    if not alive.any() or not other_alive.any():
        return np.zeros(0)
    nearest = one.directions[torch.from_numpy(alive)] @ other.directions[torch.from_numpy(other_alive)].T
    return nearest.max(1).values.double().numpy()
