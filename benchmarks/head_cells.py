"""Binding cells of a block's heads, trained together, against one of the residual stream, in turns.

    python benchmarks/head_cells.py [--rounds 2] [--clock cpu] [--save head_cells]

Whole measurements on random activations of the widths of a head and of a residual stream. `alone` is the time of a
head's cell by itself over that of a layer's, `together` that of one of a block's; `heads_over_layers` is what follows
for the heads of all blocks beside embed, the blocks and final, trainings alone. `left_out` is what leave-one-out adds
to a block, in cells of a layer, and `with_left_out_over_layers` the same ratio with it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from measuring import CLOCKS, in_turns, machine, save

from binding import _together
from binding.fit import FitConfig
from binding.leave_one_out import Heads, left_out
from binding.measurement import measuring
from binding.samples import MeasureConfig, Samples, SplitSamples
from binding.search import ProbeSpace, SearchConfig
from frozen.data.scenes import TwinShapes
from frozen.intervals import IntervalConfig


class Model(NamedTuple):
    """Widths of the residual stream and of a head, heads a block, and blocks."""

    width: int
    head: int
    n_heads: int
    n_blocks: int


MODELS = {"shipped": Model(128, 32, 4, 6), "small": Model(384, 32, 12, 12), "ViT-B": Model(768, 64, 12, 12)}
SIZES = {"train": 2048, "validation": 512, "test": 1024}
CONFIG = MeasureConfig(
    fit=FitConfig(epochs=6, batch_size=128),
    search=SearchConfig(suggestions=4, ask=4),
    intervals=IntervalConfig(resamples=1000),
    n_seeds=2,
)


def random_samples(width: int, seed: int = 0) -> SplitSamples:
    """Random activations; the labels are the same for all seeds."""
    space, labels, chance = TwinShapes().space, np.random.default_rng(0), np.random.default_rng([1, seed])
    splits = {}
    for name, n in SIZES.items():
        codes = labels.integers(2, size=(n, space.n_objects), dtype=np.uint8)
        activations = chance.standard_normal((n, width), dtype=np.float32)
        splits[name] = Samples(activations, codes, np.ones(n), np.zeros((n, space.n_objects)))
    return SplitSamples(space, **splits)


def probe(family: str) -> ProbeSpace:
    """The family as it is measured here."""
    return ProbeSpace.of(family, **({"rank": 16} if family == "quadratic_concat" else {}))


def cells(width: int, family: str, n: int) -> Callable[[], object]:
    """Measures n cells together; what one process remembers of a data set is forgotten first."""
    samples = [random_samples(width, seed) for seed in range(n)]
    space = probe(family)

    def measure() -> object:
        _together._known.clear()
        return _together.together({i: measuring(one, space, CONFIG) for i, one in enumerate(samples)})

    return measure


def leaving_out(model: Model, family: str) -> Callable[[], object]:
    """Leaves out each head of a block in turn."""
    samples, heads = random_samples(model.n_heads * model.head), Heads(model.n_heads, model.head)
    return lambda: left_out(samples, heads, range(model.n_heads), probe(family), CONFIG, torch.device("cpu"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--save", metavar="NAME")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for family in ("linear", "quadratic_concat"):
        for name, model in MODELS.items():
            works = [
                cells(model.width, family, 1),
                cells(model.head, family, 1),
                cells(model.head, family, model.n_heads),
                leaving_out(model, family),
            ]
            layer_s, alone_s, block_s, left_out_s = in_turns(works, arguments.rounds, arguments.clock)
            blocks_a_layer = model.n_blocks / ((model.n_blocks + 2) * layer_s)
            row = {"family": family, "model": name, "layer_s": layer_s, "alone": alone_s / layer_s}
            row |= {"together": block_s / model.n_heads / layer_s, "heads_over_layers": block_s * blocks_a_layer}
            row |= {"left_out": left_out_s / layer_s}
            row |= {"with_left_out_over_layers": (block_s + left_out_s) * blocks_a_layer}
            rows.append(row)
            print(rows[-1], flush=True)
    if arguments.save:
        save(arguments.save, machine(torch.device("cpu")), rows)


if __name__ == "__main__":
    main()
