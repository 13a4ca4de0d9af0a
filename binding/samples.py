"""What is measured, and how: the splits of one set of activations, and the settings of a measurement."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, UInt8

from binding.extras import Extra
from binding.fit import FitConfig
from binding.search import SearchConfig
from frozen.data.scenes import Entropies
from frozen.data.scenes.codes import FeatureSpace
from frozen.data.scenes.priors import PriorSource
from frozen.intervals import IntervalConfig
from frozen.rows import ArrayRows


class Samples(NamedTuple):
    """One split: activations and what is known of its scenes."""

    activations: ArrayRows
    """[samples dim], or [samples token dim] for attention probes."""
    object_codes: UInt8[np.ndarray, "samples objects"]
    conditional_entropy_bits: Float64[np.ndarray, " samples"]
    """H(O | F = f_i) of every sample."""
    prior_log_odds: Float64[np.ndarray, "samples objects"] | None = None
    """Exact prior log-odds (nats) of o_k given o_<k and F; None where the prior is unknown."""


class SplitSamples(NamedTuple):
    """The three splits of a data set, seen through one layer and mode."""

    space: FeatureSpace
    train: Samples
    validation: Samples
    test: Samples
    entropies: Entropies | None = None
    """Exact entropies of the test split; None leaves B_O, B_F and β_O empty."""
    prior: PriorSource = "declared"
    """How it is known that the samples' entropies and odds are true."""
    has_cls: bool = True
    """Whether token 0 is a CLS token, where activations have tokens."""


@dataclass(frozen=True, kw_only=True)
class MeasureConfig:
    """How a measurement is made: training, tuning, seeds and intervals."""

    fit: FitConfig = field(default_factory=FitConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    intervals: IntervalConfig = field(default_factory=IntervalConfig)
    seed: int = 0
    """Seed of the search and of the first refit; the others count up from it."""
    n_seeds: int = 2
    """How many times the tuned probe of each target is trained."""
    extras: tuple[Extra, ...] = ()
    """What is measured beside: `selectivity`, `mdl` and `orders`, see `binding.extras`; `leave_one_out` is of cells
    of heads alone."""
