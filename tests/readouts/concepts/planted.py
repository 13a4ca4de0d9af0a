"""Data with a known dictionary: sparse mixtures of unit atoms."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import normalize

from readouts.concepts.dictionary import Dictionary
from readouts.concepts.settings import DictionaryConfig, TrainingConfig
from readouts.concepts.training import DictionaryRun, train

CPU = torch.device("cpu")


def planted(
    seed: int, *, width: int = 32, n_atoms: int = 64, share: float = 0.05, n: int = 50_000, offset: float = 0.0
) -> tuple[torch.Tensor, np.ndarray]:
    """Atoms [n_atoms width] and rows: Bernoulli(share) x U(.75, 1.25), about a common offset."""
    generator = torch.Generator().manual_seed(seed)
    atoms = normalize(torch.randn(n_atoms, width, generator=generator), dim=1)
    present = torch.rand(n, n_atoms, generator=generator) < share
    codes = present * (0.75 + 0.5 * torch.rand(n, n_atoms, generator=generator))
    common = offset * normalize(torch.randn(1, width, generator=generator), dim=1)
    return atoms, (codes @ atoms + common).numpy()


def trained(rows: np.ndarray, config: DictionaryConfig, training: TrainingConfig, seed: int = 0) -> Dictionary:
    return train(rows, [DictionaryRun(config, seed)], training, seed=seed, device=CPU)[0].dictionary


def mmcs(atoms: torch.Tensor, dictionary: Dictionary, rows: np.ndarray) -> float:
    """Mean over true atoms of the largest cosine with a living one."""
    alive = (dictionary.encode(torch.from_numpy(rows)) > 0).any(0)
    return float((atoms @ dictionary.directions[alive].T).max(1).values.mean())
