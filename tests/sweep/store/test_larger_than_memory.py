"""A stored cell of all tokens, four times larger than the memory it may use, trains in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sweep.store.disk import DiskStore, to_table

ALLOWED_BYTES = 192 * 2**20
SAMPLES, PARTS, TOKENS, WIDTH = 6300, 42, 65, 1024
PROGRAM = """
import json, sys, threading, time
from pathlib import Path
import numpy as np
import torch
from binding import fit as fitting
from frozen.rows import Rows, Standardizer
from binding.probes import AttentionQuadratic, HeadShape
from sweep.store import disk as store

torch.set_num_threads(1)

def anonymous_bytes():
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("RssAnon")).split()[1])

peak, busy = 0, True

def watch():
    global peak
    while busy:
        peak = max(peak, anonymous_bytes())
        time.sleep(0.005)

probe, shape, cpu = AttentionQuadratic(rank=2), HeadShape(1024, 4, group_sizes=(2, 2)), torch.device("cpu")

def train(array):
    standardizer = Standardizer.of(array)
    rows = Rows(array, standardizer, cpu, budget_bytes=BUDGET)
    bits = (np.arange(len(array))[:, None] >> np.arange(4) & 1).astype(np.uint8)
    examples = fitting.Examples.of(rows, bits, None, cpu)
    return fitting.fit([probe], shape, examples, examples, fitting.FitConfig(epochs=1, batch_size=32), seed=0)

BUDGET = json.loads(sys.argv[2])
array = store.Rows.of(store.DiskStore(Path(sys.argv[1])).open("tokens"), "activations")
train(array[:128])  # code, thread pools and buffers that do not grow with the data
before = anonymous_bytes()
watcher = threading.Thread(target=watch)
watcher.start()
[fitted] = train(array)
busy = False
watcher.join()
print(json.dumps({"peak": peak - before, "bits": fitted.validation_bits, "epoch": fitted.best_epoch}))
"""


def trained(store: Path, budget_bytes: int) -> dict[str, float]:
    command = [sys.executable, "-c", PROGRAM, str(store), json.dumps(budget_bytes)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_cell_four_times_larger_than_its_memory_trains(tmp_path: Path) -> None:
    """Anonymous memory counts: mapped pages of the store are cache that the kernel takes back when it needs to."""
    store, rng = DiskStore(tmp_path), np.random.default_rng(0)
    for part in range(PARTS):
        tokens = rng.standard_normal((SAMPLES // PARTS, TOKENS, WIDTH), dtype=np.float32).astype(np.float16)
        store.write_block("tokens", part, to_table({"activations": tokens}))
    store.publish("tokens", {})
    assert store.size_bytes("tokens") > 4 * ALLOWED_BYTES
    streamed = trained(tmp_path, 0)
    assert streamed["peak"] < ALLOWED_BYTES
    held = trained(tmp_path, 2**40)
    assert held["peak"] > 2 * store.size_bytes("tokens")  # the measurement sees memory that is held
    assert streamed["bits"] == pytest.approx(held["bits"], rel=1e-5)
    assert streamed["epoch"] == 1
