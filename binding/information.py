"""The measures of binding information and their intervals, from per-sample losses (paper, section 2.3).

All quantities are in bits, float64. With CE the test losses of the probes for objects, features and,
given the features, objects (direct):

    B_O = H(O) - CE_O                            information about objects
    B_F = H(F) - CE_F                            information about features
    B*  = H(O|F) - (CE_O - CE_F)                 binding information, difference form (the paper's)
    B*_direct = H(O|F) - CE(O|Z,F)               a lower bound of I(O;Z|F)
    V   = CE(O|F) - CE(O|Z,F)                    V-information of the same probe family

B* = I(O;Z|F) - excess(O probe) + excess(F probe): a bad F probe inflates it. B*_direct has no such term.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from binding._problems import Problem, at_least, refuse
from binding.scenes import Entropies

_RESAMPLES_AT_ONCE = 250

FLAGS = {
    "features_probe_excess": "B* exceeds the direct bound by more than the interval of their paired difference, and "
    "the features probe is to blame: it loses more than a probe needs, which inflates B*. Trust B*_direct.",
    "direct_probe_excess": "B* exceeds the direct bound by more than the interval of their paired difference, and "
    "the direct probe is to blame: it loses more than a probe needs, so B*_direct is too low.",
    "excess_unexplained": "B* exceeds the direct bound by more than the interval of their paired difference, and "
    "neither probe shows a loss that is provably too high.",
    "objects_probe_excess": "B* lies below the direct bound by more than the interval of their paired difference: "
    "the objects probe loses more than a probe needs, which deflates B*. Trust B*_direct.",
    "last_epoch": "The validation loss of a probe was still falling at its last epoch: more epochs would lower it.",
    "range_edge": "A tuned hyper-parameter ended at the edge of its range: a wider range may lower the loss.",
    "diverged": "A probe of some seed reached no finite validation loss and is left out.",
}
"""What each flag of a row means."""


class Estimate(NamedTuple):
    """A value with the bounds of its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class IntervalConfig:
    """How intervals are made: a hierarchical bootstrap over seeds, then test samples."""

    level: float = 0.95
    """Coverage the interval aims at."""
    resamples: int = 2000
    """Bootstrap resamples."""

    def __post_init__(self) -> None:
        refuse("intervals", self.problems())

    def problems(self) -> Iterator[Problem]:
        """Every broken rule."""
        if not 0 < self.level < 1:
            yield Problem("level", f"must lie strictly between 0 and 1, got {self.level}")
        yield from at_least("resamples", self.resamples, 100)


Losses = Float64[np.ndarray, "seeds samples"]


@dataclass(frozen=True)
class TestLosses:
    """Test losses in bits, [seeds samples] each; the same samples in the same order everywhere."""

    objects: Losses
    features: Losses
    direct: Losses
    given: Losses

    __test__ = False  # not a test class

    def named(self) -> dict[str, Losses]:
        """The four losses by target."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


Means = dict[str, Float64[np.ndarray, " resamples"]]


def resampled_means(
    losses: TestLosses,
    conditional_entropy_bits: Float64[np.ndarray, " samples"],
    *,
    resamples: int,
    seed: int,
) -> Means:
    """Means of losses and entropies over bootstrap resamples of seeds, then of samples.

    One resample draws the same seeds and the same samples for every loss and for the samples' own
    entropies: they vary together, and resampling only some of them would give wrong intervals.

    Args:
        losses: test losses in bits.
        conditional_entropy_bits: H(O | F = f_i) of every test sample.
        resamples: number of resamples.
        seed: seed of the resampling.

    Returns:
        For each target, and for `entropy`, one mean a resample.
    """
    rng = np.random.default_rng(seed)
    by_seed = losses.named() | {"entropy": conditional_entropy_bits[None]}
    means: dict[str, list[np.ndarray]] = {name: [] for name in by_seed}
    n_samples = len(conditional_entropy_bits)
    n_seeds = {len(values) for name, values in by_seed.items() if name != "entropy"}
    for start in range(0, resamples, _RESAMPLES_AT_ONCE):
        count = min(_RESAMPLES_AT_ONCE, resamples - start)
        samples = rng.multinomial(n_samples, np.full(n_samples, 1 / n_samples), size=count) / n_samples
        seeds = {n: rng.multinomial(n, np.full(n, 1 / n), size=count) / n for n in sorted(n_seeds)}
        seeds[1] = np.ones((count, 1))
        for name, values in by_seed.items():
            means[name].append(((samples @ values.T) * seeds[len(values)]).sum(axis=1))
    return {name: np.concatenate(parts) for name, parts in means.items()}


class Measures(NamedTuple):
    """Estimates by column name, flags of the difference form, and the spread between seeds."""

    estimates: dict[str, Estimate | None]
    flags: list[str]
    seed_spread_bits: float | None


def measures(
    losses: TestLosses,
    conditional_entropy_bits: Float64[np.ndarray, " samples"],
    entropies: Entropies | None,
    config: IntervalConfig,
    *,
    seed: int,
) -> Measures:
    """All measures with percentile intervals.

    Args:
        losses: test losses in bits, [seeds samples].
        conditional_entropy_bits: H(O | F = f_i) of every test sample.
        entropies: exact entropies of the split; None leaves B_O, B_F and β_O empty.
        config: level and number of resamples.
        seed: seed of the bootstrap.

    Returns:
        Estimates; a ratio whose entropy is 0 is None.
    """
    point: Means = {name: np.array([values.mean()]) for name, values in losses.named().items()}
    point["entropy"] = np.array([conditional_entropy_bits.mean()])
    resampled = resampled_means(losses, conditional_entropy_bits, resamples=config.resamples, seed=seed)
    values, spreads = _derived(point, entropies), _derived(resampled, entropies)
    estimates = {name: _estimate(values[name], spreads[name], config.level) for name in values}
    difference = estimates.pop("difference_bits")
    flags = [] if difference is None else list(_flags(difference, point, entropies))
    return Measures(estimates, flags, _seed_spread(losses))


def _derived(means: Means, entropies: Entropies | None) -> dict[str, np.ndarray | None]:
    """Every column from the means of losses and entropies."""
    entropy = means["entropy"]
    binding = entropy - (means["objects"] - means["features"])
    direct = entropy - means["direct"]
    objects = None if entropies is None else entropies.object_bits - means["objects"]
    features = None if entropies is None else entropies.feature_bits - means["features"]
    return {
        "object_loss_bits": means["objects"],
        "feature_loss_bits": means["features"],
        "direct_loss_bits": means["direct"],
        "object_information_bits": objects,
        "object_information_ratio": None if entropies is None else _ratio(objects, entropies.object_bits),
        "feature_information_bits": features,
        "binding_information_bits": binding,
        "binding_ratio": _ratio(binding, entropy),
        "direct_binding_information_bits": direct,
        "direct_binding_ratio": _ratio(direct, entropy),
        "v_information_bits": means["given"] - means["direct"],
        "difference_bits": binding - direct,
    }


def _ratio(bits: np.ndarray | None, entropy: np.ndarray | float) -> np.ndarray | None:
    """Bits over an entropy; None where the entropy is 0, for nothing can be bound there."""
    if bits is None or np.min(entropy) <= 0:
        return None
    return bits / entropy


def _estimate(value: np.ndarray | None, resampled: np.ndarray | None, level: float) -> Estimate | None:
    if value is None or resampled is None:
        return None
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float(value[0]), float(low), float(high))


def _flags(difference: Estimate, means: Means, entropies: Entropies | None) -> Iterator[str]:
    """Whether B* contradicts the direct bound, and which probe's loss is provably too high.

    H(F|Z) ≤ min(CE_O, H(F)) because F is a function of O, and H(O|Z,F) ≤ min(CE_O, H(O|F)): a loss above
    such a bound is excess that the probe cannot blame on its activations.
    """
    if difference.high < 0:
        yield "objects_probe_excess"
    if difference.low <= 0:
        return
    feature_bound = means["objects"] if entropies is None else np.minimum(means["objects"], entropies.feature_bits)
    feature_excess = float((means["features"] - feature_bound)[0])
    direct_excess = float((means["direct"] - np.minimum(means["objects"], means["entropy"]))[0])
    if max(feature_excess, direct_excess) <= 0:
        yield "excess_unexplained"
    else:
        yield "features_probe_excess" if feature_excess >= direct_excess else "direct_probe_excess"


def _seed_spread(losses: TestLosses) -> float | None:
    """Standard deviation between seeds of B*, bits; None for one seed."""
    if len(losses.objects) < 2 or len(losses.objects) != len(losses.features):
        return None
    return float(np.std((losses.features - losses.objects).mean(axis=1), ddof=1))
