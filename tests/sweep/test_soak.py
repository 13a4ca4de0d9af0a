"""Two thousand cells in one run: memory stays flat, files are as many as they should be, nothing is left behind."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

from tests.sweep.conftest import STUDY, Project, finish

pytestmark = [pytest.mark.slow, pytest.mark.starts_ray]

N_LAYERS = int(os.environ.get("SOAK_LAYERS", "100"))
RANKS = range(1, 21)
MB = 1e6
MOST_GROWTH_BYTES = 100 * MB


def study(project: Project) -> int:
    """Layers of two numbers, read by many probes; returns the number of cells."""
    rng = np.random.default_rng(0)
    layers = [str(number) for number in range(N_LAYERS)]
    for split, n in (("train", 64), ("validation", 32), ("test", 32)):
        content = {layer: rng.standard_normal((n, 2)).astype(np.float32) for layer in layers}
        np.savez(project.folder / f"tiny_{split}.npz", **content)  # pyright: ignore[reportArgumentType]
    text = STUDY[: STUDY.index("layers:")].replace("shipped:shapes_vit_objects", "activations:tiny_{split}.npz")
    text = text.replace("train: 600, validation: 150, test: 200", "train: 64, validation: 32, test: 32")
    probes = "".join(f"  - {{family: quadratic_concat, rank: {rank}}}\n" for rank in RANKS)
    project.write(
        f"{text}layers: all\nmodes: [cls]\nprobes:\n{probes}fit: {{epochs: 1, batch_size: 64}}\n"
        "search: {suggestions: 1, ask: 1}\nseeds: 1\nintervals: {resamples: 100}\n"
    )
    return N_LAYERS * len(RANKS)


def memory_bytes(family: list[psutil.Process]) -> dict[str, float]:
    """Memory of the driver and of the largest worker of each kind that belongs to it alone, by its title."""
    found: dict[str, float] = {}
    for number, member in enumerate(family):
        with contextlib.suppress(psutil.Error):
            title = member.cmdline()[0].partition(".")[0] if number else "driver"
            if title == "driver" or title.startswith("ray::"):
                own = member.memory_info()
                found[title] = max(found.get(title, 0), own.rss - own.shared)
    return found


def test_two_thousand_cells_in_one_run(project: Project) -> None:
    n_cells = study(project)
    process = project.start("--log", "none")
    seen: list[tuple[int, dict[str, float]]] = []
    family: list[psutil.Process] = []
    shared_before = set(Path("/dev/shm").iterdir())
    rows = project.results / "rows"
    while process.poll() is None:
        with contextlib.suppress(psutil.NoSuchProcess):
            family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        n_rows = len(list(rows.glob("*.json")))
        if n_rows >= (seen[-1][0] if seen else 0) + n_cells // 10:
            seen.append((n_rows, memory_bytes(family)))
        with contextlib.suppress(psutil.TimeoutExpired):
            psutil.Process(process.pid).wait(1)
    code, output = finish(process)
    assert code == 0, output
    frame = project.table()
    assert len(frame) == n_cells
    assert set(frame.status) == {"done"}
    files = [path for path in project.results.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    wall = pd.read_parquet(project.results / "results.parquet").wall_s
    print(f"{len(files)} files, {size / n_cells:,.0f} bytes a cell, {wall.median():.3f} s a cell")
    for n_rows, memory in seen:
        print(n_rows, {name: f"{value / MB:.0f} MB" for name, value in sorted(memory.items())})
    (_, early), (_, late) = seen[2], seen[-1]
    for name in early.keys() & late.keys():
        assert late[name] - early[name] < MOST_GROWTH_BYTES, name
    assert not psutil.wait_procs(family[1:], timeout=60)[1]
    assert set(Path("/dev/shm").iterdir()) <= shared_before
