"""Binding cells of a block's heads, trained together, against one of the residual stream, in turns.

    python benchmarks/head_cells.py [--rounds 2] [--clock cpu] [--save head_cells]

Whole measurements on random activations of the widths of a head and of a residual stream. `alone` is the time of a
head's cell by itself over that of a layer's, `together` that of one of a block's twelve; `heads_144_over_14` is what
follows for 12 x 12 heads beside embed, 12 blocks and final, trainings alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import torch
from measuring import CLOCKS, in_turns, machine, save

from binding import _together
from binding.fit import FitConfig
from binding.measurement import measuring
from binding.samples import MeasureConfig, Samples, SplitSamples
from binding.search import ProbeSpace, SearchConfig
from frozen.data.scenes import TwinShapes
from frozen.intervals import IntervalConfig

WIDTHS = {"shipped": (128, 32), "ViT-B": (768, 64)}
"""Of the residual stream, and of a head."""
HEADS = 12
SIZES = {"train": 2048, "validation": 512, "test": 1024}


def random_samples(width: int, seed: int = 0) -> SplitSamples:
    """Random activations; the labels are the same for all seeds."""
    space, labels, chance = TwinShapes().space, np.random.default_rng(0), np.random.default_rng([1, seed])
    splits = {}
    for name, n in SIZES.items():
        codes = labels.integers(2, size=(n, space.n_objects), dtype=np.uint8)
        activations = chance.standard_normal((n, width), dtype=np.float32)
        splits[name] = Samples(activations, codes, np.ones(n), np.zeros((n, space.n_objects)))
    return SplitSamples(space, **splits)


def cells(width: int, family: str, n: int) -> Callable[[], object]:
    """Measures n cells together; what one process remembers of a data set is forgotten first."""
    samples = [random_samples(width, seed) for seed in range(n)]
    space = ProbeSpace.of(family, **({"rank": 16} if family == "quadratic_concat" else {}))
    config = MeasureConfig(
        fit=FitConfig(epochs=6, batch_size=128),
        search=SearchConfig(suggestions=4, ask=4),
        intervals=IntervalConfig(resamples=1000),
        n_seeds=2,
    )

    def measure() -> object:
        _together._known.clear()
        return _together.together({i: measuring(one, space, config) for i, one in enumerate(samples)})

    return measure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--save", metavar="NAME")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for family in ("linear", "quadratic_concat"):
        for name, (residual, head) in WIDTHS.items():
            works = [cells(residual, family, 1), cells(head, family, 1), cells(head, family, HEADS)]
            layer_s, alone_s, block_s = in_turns(works, arguments.rounds, arguments.clock)
            row = {"family": family, "widths": name, "layer_s": layer_s, "alone": alone_s / layer_s}
            row |= {"together": block_s / HEADS / layer_s, "heads_144_over_14": HEADS * block_s / (14 * layer_s)}
            rows.append(row)
            print(rows[-1], flush=True)
    if arguments.save:
        save(arguments.save, machine(torch.device("cpu")), rows)


if __name__ == "__main__":
    main()
