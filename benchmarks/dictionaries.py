"""Rows a second of dictionary training: several dictionaries in one stream, as many runs, and sae-lens.

python -m benchmarks.dictionaries [--width 256] [--kinds topk relu_l1] [--numbers 1 4 8] [--sae-lens] [--cpu-time]

sae-lens is no dependency: pip install sae-lens. Both make as many steps of as many rows of the same array, in turns.
With OMP_NUM_THREADS=1, --cpu-time counts what this process alone computed, whatever else the machine does.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import time
import warnings
from typing import Any

import numpy as np
import torch

from frozen.models._torchvision_ops import declare_missing_operators
from readouts.concepts.settings import DictionaryConfig, TrainingConfig
from readouts.concepts.stream import Stream
from readouts.concepts.training import DictionaryRun, train

clock = time.perf_counter
THEIR_NAMES = {
    "relu_l1": ("Standard", {"l1_coefficient": 0.3}),
    "topk": ("TopK", {}),
    "batchtopk": ("BatchTopK", {}),
    "jumprelu": ("JumpReLU", {"l0_coefficient": 0.05}),
    "gated": ("Gated", {"l1_coefficient": 0.3}),
    "matryoshka": ("MatryoshkaBatchTopK", {}),
}
PREFIXES = (0.25, 0.5, 1.0)
"""Shares of the atoms that matryoshka's nested reconstructions use, in ours too."""


def seconds(rows: np.ndarray, members: list[DictionaryRun], training: TrainingConfig, device: torch.device) -> float:
    began = clock()
    train(rows, members, training, seed=0, device=device)
    return clock() - began


def their_seconds(
    rows: np.ndarray, config: DictionaryConfig, training: TrainingConfig, device: torch.device
) -> float:
    """The same steps by sae-lens, with the same batches."""
    sae_lens: Any = _sae_lens()
    width = rows.shape[1]
    name, own = THEIR_NAMES[config.kind]
    own = {"k": config.k} if config.is_topk else own
    if config.kind == "matryoshka":
        own = {**own, "matryoshka_widths": [round(share * config.n_atoms(width)) for share in PREFIXES]}
    common = {"d_in": width, "d_sae": config.n_atoms(width), "dtype": "float32", "device": str(device)}
    began = clock()
    sae = getattr(sae_lens, f"{name}TrainingSAE")(getattr(sae_lens, f"{name}TrainingSAEConfig")(**common, **own))
    plan = sae_lens.config.SAETrainerConfig(
        total_training_samples=training.steps * training.batch_size,
        train_batch_size_samples=training.batch_size,
        lr=config.learning_rate,
        lr_end=config.learning_rate / 10,
        lr_decay_steps=training.steps // 5,
        device=str(device),
    )
    batches = Stream(rows, training.batch_size, seed=0).batches()
    with contextlib.redirect_stderr(io.StringIO()):
        sae_lens.training.sae_trainer.SAETrainer(plan, sae, batches).fit()
    return clock() - began


def _sae_lens() -> Any:
    declare_missing_operators()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import sae_lens  # pyright: ignore[reportMissingImports], no dependency
        import sae_lens.config  # pyright: ignore[reportMissingImports]
        import sae_lens.training.sae_trainer  # pyright: ignore[reportMissingImports]
    return sae_lens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--expansion", type=float, default=2)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--numbers", type=int, nargs="*", default=[1, 4, 8])
    parser.add_argument("--kinds", nargs="+", default=["topk"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sae-lens", action="store_true")
    parser.add_argument("--cpu-time", action="store_true")
    given = parser.parse_args()
    global clock
    clock = time.process_time if given.cpu_time else time.perf_counter
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rows = np.random.default_rng(0).standard_normal((20_000, given.width)).astype(np.float32)
    training = TrainingConfig(steps=given.steps, batch_size=given.batch_size)
    print(
        f"{given.width} dimensions, {given.expansion:g} atoms each, {given.batch_size} rows a step; load",
        *os.getloadavg(),
    )
    for kind in given.kinds:
        config = DictionaryConfig(kind=kind, expansion=given.expansion)
        for n in given.numbers:
            together, apart = [], []
            for _ in range(given.rounds):  # in turns: what else the machine does falls on both
                together.append(seconds(rows, [DictionaryRun(config, seed) for seed in range(n)], training, device))
                apart.append(sum(seconds(rows, [DictionaryRun(config, seed)], training, device) for seed in range(n)))
            rate = n * given.steps * given.batch_size / min(together)
            share = min(together) / min(apart)
            print(f"{kind} x {n}: {rate:,.0f} rows/s of all together, {share:.2f} of {n} runs", flush=True)
        if given.sae_lens:
            ours, other = [], []
            for _ in range(given.rounds):
                ours.append(seconds(rows, [DictionaryRun(config, 0)], training, device))
                other.append(their_seconds(rows, config, training, device))
            rates = (given.steps * given.batch_size / min(values) for values in (ours, other))
            print(
                f"{kind}: {{:,.0f}} rows/s, sae-lens {{:,.0f}}, {min(other) / min(ours):.2f} times".format(*rates),
                flush=True,
            )


if __name__ == "__main__":
    main()
