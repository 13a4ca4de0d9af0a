"""An epoch of shuffled minibatches against torch's DataLoader and against a bare torch index_select.

    python benchmarks/data.py [--rows 40000] [--dim 1024] [--batch 512] [--rounds 3] [--save data]

Half-precision rows, gathered in a random order. Ours: rows of the store as they are (`stored`), the same
with conversion to float32 and standardising (`read anew`, what larger cells do), and rows converted once (`held`,
float32, what others do). The bare select copies rows of the same type.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from measuring import CLOCKS, in_turns, machine, save
from torch.utils.data import DataLoader, TensorDataset

from frozen.allocator import keep_freed_memory
from frozen.rows import Rows, Standardizer
from sweep.store.disk import Rows as StoredRows
from sweep.store.disk import to_table

CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--save", metavar="NAME", help="write results/NAME.json")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    rng = np.random.default_rng(0)
    half = rng.standard_normal((arguments.rows, arguments.dim), dtype=np.float32).astype(np.float16)
    stored = StoredRows.of([to_table({"activations": half})], "activations")
    statistics = Standardizer.of(half)
    read = Rows(stored, statistics, CPU, budget_bytes=0)
    held = Rows(stored, statistics, CPU, budget_bytes=2**40)
    halves = torch.from_numpy(half)
    floats = held.gather(torch.arange(arguments.rows))
    order = torch.randperm(arguments.rows, generator=torch.Generator().manual_seed(0)).split(arguments.batch)
    loader = DataLoader(TensorDataset(halves), batch_size=arguments.batch, shuffle=True)
    epochs = {
        "DataLoader over a TensorDataset (half)": lambda: [batch[0] for batch in loader],
        "bare index_select (half)": lambda: [None for i in order if len(halves.index_select(0, i)) < 0],
        "store, rows as stored (half)": lambda: [None for i in order if len(stored[i.numpy()]) < 0],
        "Rows, read anew, standardised (float32)": lambda: [None for i in order if len(read.gather(i)) < 0],
        "bare index_select (float32)": lambda: [None for i in order if len(floats.index_select(0, i)) < 0],
        "Rows, held, standardised (float32)": lambda: [None for i in order if len(held.gather(i)) < 0],
    }
    seconds = in_turns(list(epochs.values()), arguments.rounds, arguments.clock)
    sizes = [half.nbytes] * 3 + [2 * half.nbytes] * 3
    rows = [
        {"epoch": name, "seconds": time, "gb_per_s": size / time / 1e9, "times_the_data_loader": seconds[0] / time}
        for name, time, size in zip(epochs, seconds, sizes, strict=True)
    ]
    where = machine(CPU) | {"rows": arguments.rows, "dim": arguments.dim, "batch": arguments.batch}
    print(where)
    for row in rows:
        speed = f"{row['gb_per_s']:6.2f} GB/s  x{row['times_the_data_loader']:.1f}"
        print(f"{row['epoch']:42} {row['seconds']:8.3f} s  {speed}")
    print(f"of a bare select: stored {seconds[1] / seconds[2]:.0%}, held {seconds[4] / seconds[5]:.0%}")
    if arguments.save:
        save(arguments.save, where, rows)


if __name__ == "__main__":
    main()
