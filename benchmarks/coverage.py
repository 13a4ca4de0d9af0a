"""How often nominal 95% intervals hold what they are about, by simulation: the figures of docs/measures.md.

    python benchmarks/coverage.py [--simulations 2000] [--save coverage]

Z is O + normal noise, of which all is known. *Own loss*: linear probes are trained with 60 seeds on 400 samples
and tested on 40,000; a simulation draws some of the trainings and 500 of the test samples, and the truth is what all
trainings lose on all samples (with one seed: what that training loses). *Information*: the exact posterior stands in
the probe's place, and the truth is the information, by numerical integration. *Seeds that disagree*: skewed losses of
200 samples to which each seed adds a normal number of its own, so many times the standard error of the samples.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache

import numpy as np
import torch
from measuring import machine, save

from binding.fit import FitConfig
from binding.information import TestLosses, derived, mean_losses, measures
from binding.measurement import Measurement, measure_samples
from binding.samples import MeasureConfig
from binding.search import ProbeSpace, SearchConfig
from binding.testing import GaussianCode, known_codes
from binding.testing._known_codes import PRIOR, SPACE, entropies
from frozen.intervals import IntervalConfig, interval, resample, spread

COLUMNS = {
    "object_loss_bits": "CE_O",
    "object_information_bits": "B_O",
    "feature_information_bits": "B_F",
    "binding_information_bits": "B*",
    "binding_ratio": "β*",
    "direct_binding_information_bits": "B*_direct",
    "direct_binding_ratio": "B*_direct / H(O|F)",
    "v_information_bits": "V",
}
N_TRAININGS, N_POOL, N_SAMPLES, DEVIATION = 60, 40_000, 500, 0.6
RATIOS = (0.0, 0.5, 1.0, 2.0)
INTERVALS = IntervalConfig(level=0.95, resamples=1000)
Truth = Mapping[str, float]


@cache
def trained() -> Measurement:
    """The trainings whose losses are drawn from."""
    code = next(code for code in known_codes() if code.name == "gaussian")
    config = MeasureConfig(
        fit=FitConfig(epochs=6, batch_size=64, schedule_step=3),
        search=SearchConfig(suggestions=1),
        intervals=IntervalConfig(resamples=100),
        n_seeds=N_TRAININGS,
    )
    samples = code.samples(train=400, validation=200, test=N_POOL)
    return measure_samples(samples, ProbeSpace.of("linear", learning_rate=0.1), config)


def own_loss(n_seeds: int, rng: np.random.Generator) -> tuple[TestLosses, np.ndarray, Truth]:
    """Some trainings on some samples of the pool, and what they would show on all of it."""
    whole = trained()
    seeds = rng.integers(N_TRAININGS, size=n_seeds)
    drawn = rng.integers(N_POOL, size=N_SAMPLES)
    entropy = whole.sample_entropies_bits
    every = TestLosses(**{name: bits[seeds] if n_seeds == 1 else bits for name, bits in whole.losses.named().items()})
    losses = TestLosses(**{name: bits[seeds][:, drawn] for name, bits in whole.losses.named().items()})
    truth = derived(mean_losses(every, entropy), entropies())
    return losses, entropy[drawn], {name: float(bits[0]) for name, bits in truth.items() if bits is not None}


def information(rng: np.random.Generator) -> tuple[TestLosses, np.ndarray, Truth]:
    """The best possible predictor on new samples, and the true information."""
    code, exact, truth = GaussianCode(DEVIATION), entropies(), _integrated()
    codes = rng.integers(2, size=(N_SAMPLES, SPACE.n_objects), dtype=np.uint8)
    objects, features, direct = (loss[None] for loss in code.bayes_losses(codes, code.draw(codes, rng)))
    entropy = PRIOR.conditional_entropy_bits(SPACE.feature_codes(codes))
    expected = {
        "object_loss_bits": exact.object_bits - truth.objects,
        "object_information_bits": truth.objects,
        "feature_information_bits": truth.features,
        "binding_information_bits": truth.binding,
        "binding_ratio": truth.binding / exact.conditional_bits,
        "direct_binding_information_bits": truth.binding,
        "direct_binding_ratio": truth.binding / exact.conditional_bits,
        "v_information_bits": truth.binding,
    }
    return TestLosses(objects, features, direct, entropy[None]), entropy, expected


_integrated = cache(lambda: GaussianCode(DEVIATION).truth(order=11))


def coverage(simulations: int, n_seeds: int | None) -> dict[str, float]:
    """Share of simulations whose interval holds the truth, by column; of the information where seeds are None."""
    rng, held = np.random.default_rng(0), Counter[str]()
    for simulation in range(simulations):
        losses, entropy, truth = information(rng) if n_seeds is None else own_loss(n_seeds, rng)
        found = measures(losses, entropy, entropies(), INTERVALS, seed=simulation).estimates
        for column in COLUMNS:
            estimate = found[column]
            assert estimate is not None
            held[column] += estimate.low <= truth[column] <= estimate.high
    return {column: held[column] / simulations for column in COLUMNS}


def coverage_where_seeds_disagree(simulations: int, n_seeds: int, ratio: float) -> float:
    """Share of simulations whose interval holds the expected loss of 3 bits.

    Args:
        simulations: how many.
        n_seeds: trainings.
        ratio: standard error that comes from the seeds over that from the samples.
    """
    rng, held, size = np.random.default_rng([n_seeds, round(100 * ratio)]), 0, 200
    standard_error = 1.5 * math.sqrt(2 / size)
    for simulation in range(simulations):
        of_seeds = rng.standard_normal((n_seeds, 1)) * ratio * standard_error * math.sqrt(n_seeds)
        losses = rng.gamma(2.0, 1.5, size) + of_seeds + 0.3 * rng.standard_normal((n_seeds, size))
        drawn = resample({"loss": losses}, resamples=INTERVALS.resamples, seed=simulation)
        value = float(losses.mean())
        found = spread(value, drawn.both["loss"], [(drawn.seeds["loss"], n_seeds)], size, seed=simulation)
        estimate = interval(value, found, INTERVALS.level)
        held += estimate.low <= 3.0 <= estimate.high
    return held / simulations


def cases() -> Iterator[tuple[str, int | None]]:
    """What is simulated."""
    yield from ((f"own loss, {count} seed{'s' * (count > 1)}", count) for count in (1, 2, 3, 5))
    yield "information", None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument("--save", metavar="NAME", help="keep the figures as results/NAME.json")
    asked = parser.parse_args()
    error = math.sqrt(0.95 * 0.05 / asked.simulations)
    print(f"{asked.simulations} simulations each; a standard deviation of a share is {100 * error:.1f}%")
    print(" " * 20 + "".join(f"{label:>20}" for label in COLUMNS.values()))
    rows = []
    for name, n_seeds in cases():
        found = coverage(asked.simulations, n_seeds)
        print(f"{name:20}" + "".join(f"{100 * share:19.1f}%" for share in found.values()), flush=True)
        rows.append({"case": name, "simulations": asked.simulations, **found})
    print(f"{'seeds disagree':20}" + "".join(f"{f'{ratio} x':>20}" for ratio in RATIOS))
    for n_seeds in (2, 3, 5):
        shares = {ratio: coverage_where_seeds_disagree(asked.simulations, n_seeds, ratio) for ratio in RATIOS}
        print(f"{f'{n_seeds} seeds':20}" + "".join(f"{100 * share:19.1f}%" for share in shares.values()), flush=True)
        by_ratio = {f"ratio_{ratio}": share for ratio, share in shares.items()}
        rows.append({"case": f"seeds disagree, {n_seeds} seeds", "simulations": asked.simulations, **by_ratio})
    if asked.save:
        save(asked.save, machine(torch.device("cpu")), rows)


if __name__ == "__main__":
    main()
