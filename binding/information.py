"""The measures of binding information and their intervals, from per-sample losses (paper, section 2.3).

All quantities are in bits, float64. With CE the test losses of the probes for objects, features and,
given the features, objects (direct):

    B_O = H(O) - CE_O                            information about objects
    B_F = H(F) - CE_F                            information about features
    B*  = H(O|F) - (CE_O - CE_F)                 binding information, difference form (the paper's)
    B*_direct = H(O|F) - CE(O|Z,F)               a lower bound of I(O;Z|F)
    V   = CE(O|F) - CE(O|Z,F)                    V-information of the same probe family
    B*_cautious = B*_direct, or min(B*_direct, V) where the prior is not known to be exact

B* = I(O;Z|F) - excess(O probe) + excess(F probe): a bad F probe inflates it. B*_direct has no such term.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from frozen.data.scenes import Entropies
from frozen.data.scenes.priors import PriorSource
from frozen.intervals import Estimate, IntervalConfig, Losses, Means, Resampled, interval, resample, spread

__all__ = ["FLAGS", "Estimate", "IntervalConfig", "Measures", "TestLosses", "measures", "resampled_losses"]

_NEGLIGIBLE_SHARE, _NEGLIGIBLE_BITS = 0.01, 0.01
"""Standard errors between seeds below this share of H(O|F), or this many bits, matter to nobody."""

_NOISE_BITS = 1e-4
"""Mean losses that differ by less are equal: this is the rounding of sums of logarithms in float32."""

_NO_ENTROPY_BITS = 1e-9
"""An entropy of 0 that was summed from probabilities."""

_EXCEEDS = "B* exceeds the direct bound by more than the interval of their paired difference"
_ADVICE = "Trust B*_direct: it is a lower bound, whatever its probe loses."
FLAGS = {
    "prior_mismatch": "A probe that sees the features alone, CE(O|F), loses less than the declared prior says is the "
    "least, H(O|F), by more than their paired interval: the prior is not the true one, and B*, B*_direct and their "
    "ratios are too high even where nothing binds. Use V-information, or `prior: estimated` where there is one.",
    "features_probe_excess": f"{_EXCEEDS}, and the features probe provably loses more than a probe needs, which "
    f"inflates B*. {_ADVICE}",
    "direct_probe_excess": f"{_EXCEEDS}, and the direct probe provably loses more than a probe needs, which lowers "
    f"B*_direct. {_ADVICE}",
    "excess_unexplained": f"{_EXCEEDS}, and neither the features probe nor the direct probe provably loses more than "
    f"a probe needs. {_ADVICE}",
    "objects_probe_excess": "B* lies below the direct bound by more than the interval of their paired difference: "
    f"the objects probe loses more than a probe needs, which deflates B*. {_ADVICE}",
    "seeds_disagree": "Trainings with other seeds differ by more than the test samples explain, and by more than a "
    "hundredth of H(O|F): the interval is wide, and with two or three seeds it covers less than it says. Use five "
    "seeds, or train longer.",
    "last_epoch": "The best epoch of a probe was its last, by more than a thousandth of H(O|F): it was not trained "
    "to its end. More epochs.",
    "still_falling": "The validation loss of a probe still fell, by more than 0.05 H(O|F) over half of the epochs "
    "before a cut of the learning rate or before the end: it was not trained to its end, even where its last epochs "
    "are flat. More epochs between cuts (schedule_step), or smaller batches.",
    "wide_gap": "The test loss of a probe is more than 0.05 H(O|F) above its training loss: it has learned its "
    "samples by heart, and more samples or a smaller probe would lower it.",
    "range_edge": "A tuned hyper-parameter ended within a twentieth of the edge of its range: a wider range may "
    "lower the loss.",
    "diverged": "A probe of some seed reached no finite validation or test loss and is left out, never averaged. "
    "A lower learning rate.",
}
"""What each flag of a row means."""

MILD_FLAGS = frozenset(
    {"excess_unexplained", "objects_probe_excess", "last_epoch", "still_falling", "wide_gap", "range_edge"}
)
"""Those that say how B* or a bound could be better; the others change how a number may be read."""


Derive = Callable[..., dict[str, np.ndarray | None]]
"""Makes columns of mean losses."""


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
    prior: PriorSource = "exact",
) -> Measures:
    """All measures with percentile intervals.

    Args:
        losses: test losses in bits, [seeds samples].
        conditional_entropy_bits: H(O | F = f_i) of every test sample.
        entropies: exact entropies of the split; None leaves B_O, B_F and β_O empty.
        config: level and number of resamples.
        seed: seed of the bootstrap.
        prior: how it is known that the entropies are those of the scenes.

    Returns:
        Estimates; a ratio whose entropy is 0 is None.
    """
    point = mean_losses(losses, conditional_entropy_bits)
    resampled = resampled_losses(losses, conditional_entropy_bits, resamples=config.resamples, seed=seed)

    def estimated(derive: Derive, bounds: dict[str, tuple[float, float]]) -> dict[str, Estimate | None]:
        return _estimates(partial(derive, entropies=entropies), point, resampled, bounds, config.level, seed)

    estimates = estimated(partial(derived, prior=prior), _bounds(resampled.both, entropies))
    difference, mismatch = estimates.pop("difference_bits"), estimates.pop("prior_excess_bits")
    flags = []
    if mismatch is not None and mismatch.high < 0 and mismatch.value < -_NEGLIGIBLE_BITS:
        flags = ["prior_mismatch"]  # whatever the others say of B*_direct rests on the prior
    elif difference is not None:
        flags = list(_flags(difference, estimated(_provable_excesses, {})))
    if _seeds_disagree(resampled):
        flags.append("seeds_disagree")
    return Measures(estimates, flags, _seed_spread(losses))


def mean_losses(losses: TestLosses, conditional_entropy_bits: Float64[np.ndarray, " samples"]) -> Means:
    """Mean of each loss and, as `entropy`, of the samples' entropies, one number each."""
    point: Means = {name: np.array([values.mean()]) for name, values in losses.named().items()}
    return point | {"entropy": np.array([conditional_entropy_bits.mean()])}


def resampled_losses(
    losses: TestLosses, conditional_entropy_bits: Float64[np.ndarray, " samples"], *, resamples: int, seed: int
) -> Resampled:
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
    return resample(losses.named() | {"entropy": conditional_entropy_bits[None]}, resamples=resamples, seed=seed)


def _estimates(
    derive: Derive,
    point: Means,
    resampled: Resampled,
    bounds: dict[str, tuple[float, float]],
    level: float,
    seed: int,
) -> dict[str, Estimate | None]:
    both, seeds = derive(resampled.both), derive(resampled.seeds)
    estimates: dict[str, Estimate | None] = {}
    for name, value in derive(point).items():
        drawn, between = both[name], seeds[name]
        if value is None or drawn is None or between is None:
            estimates[name] = None
            continue
        at = float(value[0])
        found = spread(at, drawn, [(between, resampled.n_seeds)], resampled.n_samples, seed=seed)
        estimates[name] = interval(at, found, level, bounds.get(name, (-math.inf, math.inf)))
    return estimates


def _bounds(means: Means, entropies: Entropies | None) -> dict[str, tuple[float, float]]:
    """What losses and information can be: no loss is below 0, no information above its entropy."""
    losses = ("object_loss_bits", "feature_loss_bits", "direct_loss_bits", "given_loss_bits")
    ratios = ("object_information_ratio", "direct_binding_ratio", "cautious_binding_ratio")
    bounds: dict[str, tuple[float, float]] = {
        **dict.fromkeys(losses, (0.0, math.inf)),
        **dict.fromkeys(ratios, (-math.inf, 1.0)),
    }
    if _defined(means["entropy"]) is not None:
        most = (-math.inf, float(means["entropy"].max()))
        bounds |= {"direct_binding_information_bits": most, "cautious_binding_information_bits": most}
    if entropies is not None:
        bounds["object_information_bits"] = (-math.inf, entropies.object_bits)
        bounds["feature_information_bits"] = (-math.inf, entropies.feature_bits)
    return bounds


def derived(means: Means, entropies: Entropies | None, prior: PriorSource = "exact") -> dict[str, np.ndarray | None]:
    """Every column from the means of losses and entropies."""
    entropy = means["entropy"]
    binding = _defined(entropy - (means["objects"] - means["features"]))
    direct = _defined(entropy - means["direct"])
    v_information = means["given"] - means["direct"]
    cautious = v_information if direct is None else direct if prior == "exact" else np.minimum(direct, v_information)
    objects = None if entropies is None else entropies.object_bits - means["objects"]
    features = None if entropies is None else entropies.feature_bits - means["features"]
    return {
        "object_loss_bits": means["objects"],
        "feature_loss_bits": means["features"],
        "direct_loss_bits": means["direct"],
        "given_loss_bits": means["given"],
        "object_information_bits": objects,
        "object_information_ratio": None if entropies is None else _ratio(objects, entropies.object_bits),
        "feature_information_bits": features,
        "binding_information_bits": binding,
        "binding_ratio": _ratio(binding, entropy),
        "direct_binding_information_bits": direct,
        "direct_binding_ratio": _ratio(direct, entropy),
        "v_information_bits": v_information,
        "cautious_binding_information_bits": cautious,
        "cautious_binding_ratio": _ratio(cautious, entropy),
        "prior_excess_bits": _defined(means["given"] - entropy),
        "difference_bits": None if binding is None or direct is None else binding - direct,
    }


def _defined(bits: np.ndarray) -> np.ndarray | None:
    """None where the prior, and with it H(O|F), is unknown."""
    return None if np.isnan(bits).any() else bits


def _ratio(bits: np.ndarray | None, entropy: np.ndarray | float) -> np.ndarray | None:
    """Bits over an entropy; None where the entropy is 0 or its rounding, for nothing can be bound there."""
    if bits is None or not np.min(entropy) > _NO_ENTROPY_BITS:
        return None
    return bits / entropy


def _provable_excesses(means: Means, entropies: Entropies | None) -> dict[str, np.ndarray | None]:
    """By how much losses exceed what no probe needs to exceed, by the flag that says so.

    H(F|Z) ≤ min(CE_O, H(F)) because F is a function of O, and H(O|Z,F) ≤ min(CE_O, H(O|F)): a loss above
    such a bound is excess that the probe cannot blame on its activations.
    """
    feature_bound = means["objects"] if entropies is None else np.minimum(means["objects"], entropies.feature_bits)
    return {
        "features_probe_excess": means["features"] - feature_bound,
        "direct_probe_excess": means["direct"] - np.minimum(means["objects"], means["entropy"]),
    }


def _flags(difference: Estimate, excesses: dict[str, Estimate | None]) -> Iterator[str]:
    """Whether B* contradicts the direct bound, and every probe whose loss is provably too high."""
    if difference.high < -_NOISE_BITS:
        yield "objects_probe_excess"
    if difference.low > _NOISE_BITS:
        blamed = [flag for flag, excess in excesses.items() if excess is not None and excess.low > _NOISE_BITS]
        yield from blamed or ["excess_unexplained"]


def _seeds_disagree(resampled: Resampled) -> bool:
    """Whether seeds vary B* or B*_direct more than samples do; there intervals of few seeds cover too little."""
    negligible_bits = max(_NEGLIGIBLE_SHARE * float(resampled.both["entropy"].mean()), _NEGLIGIBLE_BITS)
    both, seeds = derived(resampled.both, None), derived(resampled.seeds, None)
    for column in ("binding_information_bits", "direct_binding_information_bits"):
        drawn, between = both[column], seeds[column]
        if drawn is None or between is None:
            continue
        of_seeds, of_samples = between.var(), drawn.var() - between.var()
        if of_seeds > max(of_samples, negligible_bits**2):
            return True
    return False


def _seed_spread(losses: TestLosses) -> float | None:
    """Standard deviation between seeds of B*, bits; None for one seed."""
    if len(losses.objects) < 2 or len(losses.objects) != len(losses.features):
        return None
    return float(np.std((losses.features - losses.objects).mean(axis=1), ddof=1))
