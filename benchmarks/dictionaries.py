"""Rows a second of dictionary training: several dictionaries on one stream against as many runs.

python -m benchmarks.dictionaries [--width 256] [--expansion 4] [--steps 100] [--numbers 1 4 8]
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from readouts.concepts.settings import DictionaryConfig, TrainingConfig
from readouts.concepts.training import DictionaryRun, train


def seconds(rows: np.ndarray, members: list[DictionaryRun], training: TrainingConfig, device: torch.device) -> float:
    began = time.perf_counter()
    train(rows, members, training, seed=0, device=device)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--expansion", type=float, default=2)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--numbers", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--kind", default="topk")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rows = np.random.default_rng(0).standard_normal((20_000, given.width)).astype(np.float32)
    config = DictionaryConfig(kind=given.kind, expansion=given.expansion)
    training = TrainingConfig(steps=given.steps, batch_size=given.batch_size)
    for n in given.numbers:
        together, apart = [], []
        for _ in range(given.rounds):  # in turns: what else the machine does falls on both
            together.append(seconds(rows, [DictionaryRun(config, seed) for seed in range(n)], training, device))
            apart.append(sum(seconds(rows, [DictionaryRun(config, seed)], training, device) for seed in range(n)))
        rate = n * given.steps * given.batch_size / min(together)
        share = min(together) / min(apart)
        print(f"{given.kind} x {n}: {rate:,.0f} rows/s of all together, {share:.2f} of {n} runs")


if __name__ == "__main__":
    main()
