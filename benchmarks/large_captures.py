"""A large capture through the store, and through a whole run: files, bytes, processor time, memory of every process.

    python benchmarks/large_captures.py                     # the store alone: 300,000 rows x 1024, half a minute
    python benchmarks/large_captures.py --run               # a run with its actors, over files of activations
    python benchmarks/large_captures.py --save large_captures

The rows are noise in half precision, in blocks of 512 as extractors give them. write: the store's actor keeps the
blocks, joins them to parts and publishes the entry. check: what a run does with an entry that is there. gather:
batches of 512 random rows; read: all rows, 4096 at a time, both with one thread of torch. Memory is the largest
anonymous memory of a process over what it had before; mapped pages of the store are cache that the kernel takes back.
A run reads its activations from a file instead of a model, so that the rows come as fast as they can: what is left is
the engine's own.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from measuring import machine, save

from frozen.allocator import keep_freed_memory
from sweep.engine.passes import BLOCK_SAMPLES
from sweep.store.actor import ActivationStore
from sweep.store.disk import DiskStore, Rows, store_key, to_table

KEY = store_key(benchmark="large captures")
BATCHES = 200


def anonymous_mb(process: int | str = "self") -> float:
    """Memory of a process that no file backs; 0 of one that has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon")), 0.0)


@contextmanager
def peak_mb() -> Iterator[Callable[[], float]]:
    """Largest anonymous memory of this process so far, over what it had when the block began."""
    before, largest, is_over = anonymous_mb(), 0.0, threading.Event()

    def watch() -> None:
        nonlocal largest
        while not is_over.wait(0.005):
            largest = max(largest, anonymous_mb() - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield lambda: largest
    finally:
        is_over.set()
        watcher.join()


def seconds(work: Callable[[], object]) -> float:
    """Processor time of this process."""
    start = time.process_time()
    work()
    return time.process_time() - start


def drop(arrays: Iterator[np.ndarray]) -> None:
    """Make arrays and keep none."""
    for _ in arrays:
        pass


def of_store(rows: int, width: int) -> dict[str, object]:
    """One entry through the store's actor, called without Ray."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((BLOCK_SAMPLES, width), dtype=np.float32).astype(np.float16)
    n_blocks = -(-rows // BLOCK_SAMPLES)
    with tempfile.TemporaryDirectory(prefix="large-captures-") as folder, peak_mb() as peak:
        store = ActivationStore(folder, 0)

        def write() -> None:
            for block in range(n_blocks):
                n = min(BLOCK_SAMPLES, rows - block * BLOCK_SAMPLES)
                store.append(block, {KEY: to_table({"activations": values[:n]})})
            store.publish({KEY: {"kind": "benchmark"}}, n_blocks)

        write_s = seconds(write)
        write_mb = peak()
        disk = DiskStore(Path(folder))
        check_s = seconds(lambda: disk.damage(KEY))
        read = Rows.of(disk.open(KEY), "activations")
        picks = rng.integers(0, rows, (BATCHES, 512))
        gather_s = seconds(lambda: drop(read[pick] for pick in picks))
        read_s = seconds(lambda: drop(read[start : start + 4096] for start in range(0, rows, 4096)))
        size = disk.size_bytes(KEY)
        files = len(list(Path(folder).rglob("*.arrow")))
    return {
        "rows": rows,
        "width": width,
        "files": files,
        "mb": round(size / 1e6),
        "write_s": round(write_s, 2),
        "write_peak_mb": round(write_mb),
        "check_mb_a_s": round(size / 1e6 / check_s),
        "gather_mb_a_s": round(BATCHES * 512 * width * 2 / 1e6 / gather_s),
        "read_mb_a_s": round(size / 1e6 / read_s),
        "peak_mb": round(peak()),
    }


STUDY = """\
name: large
datasets:
  - {{name: rows, scene: colorshape, n_colors: 2, n_shapes: 2, max_objects: 3, image_size: 64, object_size: 12,
     split: {{policy: independent, train: {rows}, validation: 2000, test: 2000}}}}
backbones: ["activations:given/{{split}}.npz"]
layers: [final]
modes: [cls]
controls: []
probes: [{{family: linear}}]
search: {{suggestions: 1}}
fit: {{epochs: 1}}
seeds: 1
"""
PROCESSES = ("sweep.run", "ray::ActivationStore", "ray::Extractor", "ray::ImplicitFunc", "ray::Ledger")


def of_run(rows: int, width: int) -> dict[str, object]:
    """A run over a file of activations: largest anonymous memory of each kind of process, in MB."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(prefix="large-captures-") as folder:
        given = Path(folder) / "given"
        given.mkdir()
        for split, n in (("train", rows), ("validation", 2000), ("test", 2000)):
            values = rng.standard_normal((n, width), dtype=np.float32).astype(np.float16)
            np.savez(given / f"{split}.npz", final=values)
            del values
        (Path(folder) / "large.yaml").write_text(STUDY.format(rows=rows), encoding="utf-8")
        command = [sys.executable, "-m", "sweep.run", "large.yaml", "--log", "none"]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        start = time.perf_counter()
        run = subprocess.Popen(command, cwd=folder, env=environment)
        largest = dict.fromkeys(PROCESSES, 0.0)
        while run.poll() is None:
            for process, line in below(run.pid):
                for name in PROCESSES:
                    if name in line:
                        largest[name] = max(largest[name], anonymous_mb(process))
            time.sleep(0.2)
        if run.returncode:
            raise SystemExit(f"the run ended with {run.returncode}")
        wall_s = time.perf_counter() - start
    return {
        "rows": rows,
        "width": width,
        "wall_s": round(wall_s),
        **{name: round(mb) for name, mb in largest.items()},
    }


def below(root: int) -> Iterator[tuple[str, str]]:
    """A process and those that came from it, each with its command line."""
    parents: dict[str, str] = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parents[path.name] = path.joinpath("stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1]
        except OSError:
            continue
    for process in parents:
        ancestor = process
        while ancestor in parents and ancestor != str(root):
            ancestor = parents[ancestor]
        if ancestor == str(root):
            try:
                line = Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ")
            except OSError:
                continue
            yield process, line.decode(errors="replace")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--run", action="store_true", help="measure a whole run")
    parser.add_argument("--save", metavar="NAME", help="write results/NAME.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    found = (of_run if arguments.run else of_store)(arguments.rows, arguments.width)
    print(found)
    if arguments.save:
        save(arguments.save, machine(torch.device("cpu")), [found])


if __name__ == "__main__":
    main()
