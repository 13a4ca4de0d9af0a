"""A binding cell of one head against one of the residual stream, in turns: what 144 heads cost beside 14 layers.

    python benchmarks/head_cells.py [--rounds 2] [--clock cpu] [--save head_cells]

Whole cells of `measure_samples` on random activations of the widths of a head and of a residual stream. `ratio` is
the time of a head's cell over that of a layer's; `heads_144_over_14` is what follows for 12 x 12 heads beside embed,
12 blocks and final, trainings alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import torch
from measuring import CLOCKS, in_turns, machine, save

from binding.fit import FitConfig
from binding.measurement import measure_samples
from binding.samples import MeasureConfig, Samples, SplitSamples
from binding.search import ProbeSpace, SearchConfig
from frozen.data.scenes import TwinShapes
from frozen.intervals import IntervalConfig

WIDTHS = {"shipped": (128, 32), "ViT-B": (768, 64)}
"""Of the residual stream, and of a head."""
SIZES = {"train": 2048, "validation": 512, "test": 1024}


def random_samples(width: int) -> SplitSamples:
    space, chance = TwinShapes().space, np.random.default_rng(0)
    splits = {}
    for name, n in SIZES.items():
        codes = chance.integers(2, size=(n, space.n_objects), dtype=np.uint8)
        activations = chance.standard_normal((n, width), dtype=np.float32)
        splits[name] = Samples(activations, codes, np.ones(n), np.zeros((n, space.n_objects)))
    return SplitSamples(space, **splits)


def cell(width: int, family: str) -> Callable[[], object]:
    samples = random_samples(width)
    settings = {"rank": 16} if family == "quadratic_concat" else {}
    config = MeasureConfig(
        fit=FitConfig(epochs=6, batch_size=128),
        search=SearchConfig(suggestions=4, ask=4),
        intervals=IntervalConfig(resamples=1000),
        n_seeds=2,
    )
    return lambda: measure_samples(samples, ProbeSpace.of(family, **settings), config)


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
            layer_s, head_s = in_turns(
                [cell(residual, family), cell(head, family)], arguments.rounds, arguments.clock
            )
            ratio = head_s / layer_s
            row = {"family": family, "widths": name, "layer_s": layer_s, "head_s": head_s, "ratio": ratio}
            rows.append({**row, "heads_144_over_14": 144 * ratio / 14})
            print(rows[-1], flush=True)
    if arguments.save:
        save(arguments.save, machine(torch.device("cpu")), rows)


if __name__ == "__main__":
    main()
