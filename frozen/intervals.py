"""Confidence intervals: a hierarchical bootstrap over seeds, then test samples, that is honest with few seeds.

Samples are drawn with replacement, the same ones for everything that was measured on them. Drawing S
seeds with replacement would give (S-1)/S of their variance, half of it for two seeds. So the weights of
the seeds are 1/S plus normal contrasts with the unbiased variance, and what S seeds leave unknown of that
variance widens the interval as in Student's t, with the degrees of freedom of Welch and Satterthwaite.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from frozen.problems import Problem, at_least, refuse

_RESAMPLES_AT_ONCE = 250
_ROUNDING = 1e-12
"""Of a value: deviations of equal samples are this small."""

Losses = Float64[np.ndarray, "_seeds samples"]  # a target whose training diverged has fewer seeds
Means = dict[str, Float64[np.ndarray, " resamples"]]


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


class Resampled(NamedTuple):
    """Means over bootstrap resamples.

    Attributes:
        both: seeds and samples drawn.
        seeds: only the seeds drawn, all samples kept: what the choice of seeds contributes.
        n_seeds: seeds behind the seeds' contribution; 1 where there is none.
        n_samples: test samples.
    """

    both: Means
    seeds: Means
    n_seeds: int
    n_samples: int


def resample(losses: Mapping[str, Losses], *, resamples: int, seed: int) -> Resampled:
    """Means over resamples of seeds and samples, the same draw for every entry.

    Args:
        losses: values of the same samples in the same order; numbers of seeds may differ.
        resamples: number of resamples.
        seed: seed of the resampling.
    """
    rng = np.random.default_rng(seed)
    n_samples = next(iter(losses.values())).shape[1]
    counts = sorted({len(values) for values in losses.values()})
    weights = {count: _seed_weights(rng, count, resamples) for count in counts}
    by_seed: dict[str, list[np.ndarray]] = {name: [] for name in losses}
    for start in range(0, resamples, _RESAMPLES_AT_ONCE):
        size = min(_RESAMPLES_AT_ONCE, resamples - start)
        drawn = rng.multinomial(n_samples, np.full(n_samples, 1 / n_samples), size=size) / n_samples
        for name, values in losses.items():
            by_seed[name].append(drawn @ values.T)
    return Resampled(
        both={name: (np.concatenate(by_seed[name]) * weights[len(v)]).sum(axis=1) for name, v in losses.items()},
        seeds={name: weights[len(values)] @ values.mean(axis=1) for name, values in losses.items()},
        n_seeds=min([count for count in counts if count > 1], default=1),
        n_samples=n_samples,
    )


def _seed_weights(rng: np.random.Generator, n_seeds: int, resamples: int) -> Float64[np.ndarray, "resamples seeds"]:
    """Weights that sum to 1; a weighted mean of independent values varies as their mean does, without bias."""
    if n_seeds == 1:
        return np.ones((resamples, 1))
    normal = rng.standard_normal((resamples, n_seeds))
    contrasts = normal - normal.mean(axis=1, keepdims=True)
    return 1 / n_seeds + contrasts / math.sqrt(n_seeds * (n_seeds - 1))


class Spread(NamedTuple):
    """A quantity over resamples: deviations from its value, widened for few seeds, and their deviation and ν."""

    deviations: Float64[np.ndarray, " resamples"]
    standard_error: float
    degrees: float


def spread(
    value: float,
    both: Float64[np.ndarray, " resamples"],
    seeds: Sequence[tuple[Float64[np.ndarray, " resamples"], int]],
    n_samples: int,
    *,
    seed: int,
) -> Spread:
    """Deviations of a resampled quantity, each divided by sqrt(χ²_ν / ν), which makes them Student's t.

    Args:
        value: the quantity on all seeds and samples.
        both: the quantity over resamples of seeds and samples.
        seeds: for each independent set of trainings, the quantity over resamples of its seeds alone, and
            the number of seeds.
        n_samples: test samples.
        seed: seed of the χ² numbers.
    """
    total = float(np.var(both))
    from_seeds = [(float(np.var(values)), count - 1) for values, count in seeds if count > 1]
    degrees = _degrees(total, from_seeds, max(n_samples - 1, 1))
    scale = np.sqrt(degrees / np.random.default_rng([seed, 1]).chisquare(degrees, size=len(both)))
    return Spread((both - value) * scale, math.sqrt(total), degrees)


def _degrees(total: float, from_seeds: list[tuple[float, int]], sample_degrees: int) -> float:
    """Welch and Satterthwaite: (Σ V_i)² / Σ (V_i² / ν_i)."""
    parts = [(variance, degrees) for variance, degrees in from_seeds if variance > 0]
    rest = max(total - sum(variance for variance, _ in parts), 0.0)
    parts.append((rest, sample_degrees))
    whole = sum(variance for variance, _ in parts)
    # variances of numbers that are equal to rounding are no evidence of anything
    if whole <= 1e-24:
        return float(sample_degrees)
    return whole**2 / sum(variance**2 / degrees for variance, degrees in parts)


def interval(
    value: float, found: Spread, level: float, bounds: tuple[float, float] = (-math.inf, math.inf)
) -> Estimate:
    """Percentile interval; it stays within what the quantity can be.

    Deviations that are nothing but rounding are 0. Of a biased quantity, such as the worst of many groups, the
    interval may lie beside the value.
    """
    deviations = np.quantile(found.deviations, [(1 - level) / 2, (1 + level) / 2])
    deviations[np.abs(deviations) <= _ROUNDING * abs(value)] = 0
    low, high = value + deviations
    return Estimate(value, max(float(low), min(bounds[0], value)), min(float(high), max(bounds[1], value)))


def student_interval(value: float, found: Spread, level: float) -> Estimate:
    """Interval under Student's t; it leaves out 0 exactly where `p_value` is below 1 - level."""
    from scipy.special import stdtrit  # an eighth of a second that a plan does without

    reach = float(-stdtrit(found.degrees, (1 - level) / 2)) * found.standard_error
    return Estimate(value, value - reach, value + reach)


def p_value(value: float, found: Spread) -> float:
    """Two-sided probability, under Student's t, of a value at least as far from 0; 1 where nothing varies at 0."""
    if found.standard_error <= 1e-12:
        return 1.0 if abs(value) <= 1e-12 else 0.0
    from scipy.special import stdtr

    return float(2 * stdtr(found.degrees, -abs(value) / found.standard_error))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values that hold for all of them together (Holm, 1979)."""
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(
        1.0, np.maximum.accumulate(np.asarray(p_values)[order] * np.arange(len(p_values), 0, -1))
    )
    return adjusted.tolist()
